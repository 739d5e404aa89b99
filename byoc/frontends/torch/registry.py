"""Where converters register: ``@op("add.Tensor", "add.Scalar")``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["TABLE", "Converter", "op"]

Converter = Callable[..., Any]
"""``convert(c, **arguments)``: c is a `Context`; arguments are those of the operator's schema, by
name, with defaults filled in, nodes replaced by Relax expressions. One that a converter does not
take is refused by Python itself. The result is an expression, or a tuple of them."""

TABLE: dict[str, Converter] = {}
"""ATen operator, as "name.overload", → its converter."""


def op(*names: str) -> Callable[[Converter], Converter]:
    """Register a converter for these operators of ATen."""

    def register(convert: Converter) -> Converter:
        for name in names:
            assert name not in TABLE, name
            TABLE[name] = convert
        return convert

    return register
