"""Arguments of the wrong kind are refused by name, before anything is made of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from math import isnan
from numbers import Real

from byoc.errors import ByocError, OptionError, choices

__all__ = ["check_kind", "check_number", "check_path", "check_sizes"]


def check_kind(
    name: str,
    value: object,
    kinds: type | tuple[type, ...],
    words: str,
    error: type[ByocError] = OptionError,
) -> None:
    """Refuse an argument that is no instance of what is taken.

    Args:
        name: the argument, as the user writes it.
        value: what was given.
        kinds: the classes that are taken.
        words: the same for people, "a byoc.specialise.Specialise, or True".
        error: the class to raise.

    Raises:
        ByocError: of the class `error`: the value is something else.
    """
    if not isinstance(value, kinds):
        raise error(f"{name} must be {words}, found {type(value).__name__} {value!r:.60}")


def check_number(name: str, value: object, error: type[ByocError] = OptionError) -> None:
    """Refuse what is no real number; infinity is one.

    Args:
        name: the argument, as the user writes it.
        value: what was given.
        error: the class to raise.

    Raises:
        ByocError: of the class `error`: the value is something else.
    """
    check_kind(name, value, Real, "a number", error)  # numpy's scalars are some
    if isinstance(value, float) and isnan(value):
        raise error(f"{name} must be a number, found nan")


def check_path(name: str, value: object) -> None:
    """Refuse what names no file.

    Args:
        name: the argument, as the user writes it.
        value: what was given.

    Raises:
        OptionError: it is neither text nor an `os.PathLike`.
    """
    check_kind(name, value, (str, os.PathLike), "the path of a file")


def check_sizes(dims: Mapping[str, int], legal: Iterable[str]) -> None:
    """Refuse a size of a symbolic dimension that there is not, or one that is no size.

    Args:
        dims: symbolic dimension → size, as the user gave them.
        legal: the symbolic dimensions of the model.

    Raises:
        OptionError: a dimension is unknown, or its size is no whole number above 0.
    """
    known = set(legal)
    for name, size in dims.items():
        check_kind("a dimension in dims", name, str, "its name")
        if name not in known:
            told = choices(name, known) if known else "the model has none"
            raise OptionError(f"dims: no symbolic dimension {name!r}: {told}")
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise OptionError(f"dims: {name!r} must be a whole number above 0, found {size!r}")
