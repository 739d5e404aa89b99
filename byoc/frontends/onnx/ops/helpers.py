"""What converters of ONNX operators share: optional constants, texts, known dimensions."""

from __future__ import annotations

from typing import Any

from byoc.frontends import helpers

__all__ = ["array_of", "number_of", "text_of"]


def array_of(value: Any, what: str) -> Any:
    """Return the array behind a constant, None for an absent input.

    Args:
        value: A Relax value, or None.
        what: What it is for the operator, for the message.

    Raises:
        ValueError: The model computes the value.
    """
    return None if value is None else helpers.array_of(value, what)


def number_of(value: Any, what: str) -> float | None:
    """Return the number behind a constant of one element, None for an absent input.

    Args:
        value: A Relax value, or None.
        what: What it is for the operator, for the message.

    Raises:
        ValueError: The model computes the value, or it has more than one element.
    """
    array = array_of(value, what)
    return None if array is None else array.item()


def text_of(value: Any, default: str) -> str:
    """Return a text attribute, which onnx gives as bytes.

    Args:
        value: The attribute, or None when it is absent.
        default: What an absent one stands for.
    """
    return default if value is None else value.decode() if isinstance(value, bytes) else str(value)
