"""Dimension expressions: read, print, name and compute the sizes of tensors.

In: a `Dim` as a `byoc.segment.TensorType` holds it. Out: its value for given sizes, the names it
depends on, or one spelling of it. A size known at compile time is an int; any other is a text, so
that a program, a file and a vendor in another process can hold it::

    text      "max(n, 4) * 2 - m"              what types and artifacts hold
                 │ parse      ▲ show
    tree      - ( * ( max(n, 4), 2), m)        ints, names and `Operation`s
                 │ evaluate, names
    value     n=3, m=1: 7      names: n, m

A text is made of integers, names, ``+ - * // %``, unary ``-``, parentheses, ``max`` and ``min``
(of one or more arguments), with Python's precedence; ``/`` is read as ``//``, because sizes are
whole numbers. `UNKNOWN` is the text of a size that nothing determines at compile time.

Texts come from model files and artifacts, which may be hostile: nothing here is executed, length,
depth and number of operations are bounded, and every failure is a `DimensionError`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeGuard

from byoc.errors import ByocError

__all__ = [
    "UNKNOWN",
    "Dim",
    "DimensionError",
    "Expr",
    "Operation",
    "canonical",
    "evaluate",
    "is_legal",
    "is_name",
    "names",
    "parse",
    "show",
    "size_of",
]

Dim = int | str
"""A dimension: an int, or an expression over named variables such as ``"n"`` or ``"n * 12"``."""

UNKNOWN = "?"
"""The text of a dimension that is not known at compile time, nor computable from others."""

_LONGEST = 4096
_MOST_OPERATIONS = 256  # bounds the height of a tree, and so every recursion over one
_DEEPEST = 64  # nested parentheses; dimensions that models hold nest two or three deep

_NAME = re.compile(r"[^\W\d]\w*")
_TOKEN = re.compile(r"\s*(?:(?P<number>[0-9]+)(?!\w)|(?P<name>[^\W\d]\w*)|(?P<sign>//|[-+*/%(),]))")
_FUNCTIONS: Mapping[str, Callable[[int, int], int]] = {"max": max, "min": min}
_OPERATORS: Mapping[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    **_FUNCTIONS,
}
_LEVELS: Mapping[str, int] = {"+": 1, "-": 1, "*": 2, "//": 2, "%": 2}
_ATOM = 3


class DimensionError(ByocError, ValueError):
    """A dimension is not a valid expression, or has no value for the given sizes."""


class Operation(NamedTuple):
    """One operation of a parsed expression; it always has two operands.

    ``-x`` is stored as ``0 - x``, and ``max(a, b, c)`` as ``max(max(a, b), c)``.

    Attributes:
        sign: "+", "-", "*", "//", "%", "max" or "min".
        left: The first operand.
        right: The second operand.
    """

    sign: str
    left: Expr
    right: Expr


Expr = int | str | Operation
"""A parsed dimension: a number, the name of a variable, or an `Operation` on two of these."""


def names(dim: Dim) -> frozenset[str]:
    """Return the names of the variables that a dimension depends on.

    ``"max(n, 4) * m"`` has ``{"n", "m"}``. The text need not be a valid expression: a dimension
    that is known in part, such as ``"n + ?"``, still yields the variables of its known part.

    Args:
        dim: The dimension.

    Returns:
        The names, without the functions "max" and "min"; empty for an int.
    """
    if isinstance(dim, int):
        return frozenset()
    return frozenset(_NAME.findall(dim)) - _FUNCTIONS.keys()


def is_name(dim: Dim) -> TypeGuard[str]:
    """Return whether a dimension is a single variable, whose size can be read off a tensor's shape.

    Args:
        dim: The dimension, legal or not.
    """
    return isinstance(dim, str) and dim.isidentifier() and dim not in _FUNCTIONS


def is_legal(dim: Dim) -> bool:
    """Return whether a dimension is an int or a valid expression, which `evaluate` can compute.

    Args:
        dim: The dimension.
    """
    try:
        parse(dim)
    except DimensionError:
        return False
    return True


def canonical(dim: Dim) -> Dim:
    """Return a dimension in a uniform spelling, so that dimensions can be compared.

    ``"(n*12)"`` becomes ``"n * 12"``. Operands are not reordered: ``"12 * n"`` stays as it is, and
    does not compare equal.

    Args:
        dim: The dimension.

    Returns:
        The dimension as `show` prints it; an int stays an int.

    Raises:
        DimensionError: The text is not a valid expression.
    """
    return show(parse(dim))


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """Compute the value of a dimension for given sizes of its variables.

    Args:
        dim: The dimension.
        sizes: Name of a variable → its size, in elements.

    Returns:
        The size, in elements. It may be negative (``"n - 4"`` for n = 3); the caller checks.

    Raises:
        DimensionError: The text is not a valid expression, divides by zero, or depends on a
            variable that `sizes` lacks.
    """
    try:
        return _value(parse(dim), sizes)
    except KeyError as error:
        raise DimensionError(
            f"dimension {_short(dim)} depends on {error.args[0]!r}, whose size is not given"
        ) from None
    except ZeroDivisionError:
        raise DimensionError(f"dimension {_short(dim)} divides by zero") from None


def size_of(dim: Dim, sizes: Mapping[str, int]) -> int | None:
    """Compute a dimension as `evaluate` does, but return None where it cannot be computed.

    Args:
        dim: The dimension.
        sizes: Name of a variable → its size, in elements.

    Returns:
        The size, in elements, or None where `evaluate` raises DimensionError.
    """
    try:
        return evaluate(dim, sizes)
    except DimensionError:
        return None


def _value(expr: Expr, sizes: Mapping[str, int]) -> int:
    if isinstance(expr, Operation):
        return _OPERATORS[expr.sign](_value(expr.left, sizes), _value(expr.right, sizes))
    return sizes[expr] if isinstance(expr, str) else expr


# -- printing ----------------------------------------------------------------------------------


def show(expr: Expr) -> Dim:
    """Print an expression with no more parentheses than needed.

    Args:
        expr: A parsed expression.

    Returns:
        The text, which `parse` reads back as the same expression; a number is returned as an int.
    """
    return expr if isinstance(expr, int) else _text(expr)[0]


def _text(expr: Expr) -> tuple[str, int]:
    """The text of an expression and how tightly it binds, from 0 to `_ATOM`."""
    if isinstance(expr, int):
        return str(expr), _ATOM if expr >= 0 else 0
    if isinstance(expr, str):
        return expr, _ATOM
    (left, left_at), (right, right_at) = _text(expr.left), _text(expr.right)
    level = _LEVELS.get(expr.sign)
    if level is None:
        return f"{expr.sign}({left}, {right})", _ATOM
    left = left if left_at >= level else f"({left})"
    right = right if right_at > level else f"({right})"
    return f"{left} {expr.sign} {right}", level


# -- reading -----------------------------------------------------------------------------------


def parse(dim: Dim) -> Expr:
    """Read a dimension into a tree of operations.

    Args:
        dim: The dimension.

    Returns:
        The tree; an int is returned as it is.

    Raises:
        DimensionError: The text is not a valid expression, or is much longer or deeper than the
            dimensions of real models.
    """
    if isinstance(dim, int):
        return dim
    found = _parsed(dim)
    if isinstance(found, DimensionError):
        raise DimensionError(*found.args)
    return found


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Expr | DimensionError:
    """The expression, or why there is none; both are asked for again and again."""
    try:
        return _Parser(text).expression()
    except DimensionError as error:
        return error.with_traceback(None)


class _Parser:
    """Recursive descent over two levels of precedence.

    sum = product (("+" | "-") product)*      product = unary (("*" | "//" | "/" | "%") unary)*
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._operations = 0
        self._depth = 0
        if len(text) > _LONGEST:
            raise self._fault(f"it is longer than {_LONGEST} characters")
        self._tokens = self._split()
        self._at = 0

    def expression(self) -> Expr:
        found = self._chain(1)
        if self._next:
            raise self._fault(f"{self._next!r} is not expected there")
        return found

    def _fault(self, why: str) -> DimensionError:
        return DimensionError(
            f"dimension {_short(self._text)} is not an expression over + - * // % max min: {why}"
        )

    def _split(self) -> list[str]:
        text = self._text.rstrip()
        tokens, at = [], 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._fault(f"column {at + 1} is no number, name or operator")
            at = match.end()
            token = match[0].lstrip()
            tokens.append("//" if token == "/" else token)
        return tokens

    @property
    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next
        self._at += 1
        return token

    def _expect(self, sign: str) -> None:
        if self._take() != sign:
            raise self._fault(f"a {sign!r} is missing")

    def _operation(self, sign: str, left: Expr, right: Expr) -> Operation:
        self._operations += 1
        if self._operations > _MOST_OPERATIONS:
            raise self._fault(f"it has more than {_MOST_OPERATIONS} operations")
        return Operation(sign, left, right)

    def _chain(self, level: int) -> Expr:
        """Operands of one level of precedence, joined from the left."""
        found = self._operand(level)
        while _LEVELS.get(self._next) == level:
            found = self._operation(self._take(), found, self._operand(level))
        return found

    def _operand(self, level: int) -> Expr:
        return self._chain(level + 1) if level + 1 < _ATOM else self._unary()

    def _unary(self) -> Expr:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._fault(f"it is nested more than {_DEEPEST} deep")
        try:
            if self._next != "-":
                return self._atom()
            self._take()
            operand = self._unary()
            return -operand if isinstance(operand, int) else self._operation("-", 0, operand)
        finally:
            self._depth -= 1

    def _atom(self) -> Expr:
        token = self._take()
        if token == "(":
            found = self._chain(1)
            self._expect(")")
            return found
        if token in _FUNCTIONS and self._next == "(":
            return self._call(token)
        if token.isdecimal():
            return int(token)
        if _NAME.match(token):
            return token
        where = f"before {token!r}" if token else "at the end"
        raise self._fault(f"a number or a name is missing {where}")

    def _call(self, function: str) -> Expr:
        self._expect("(")
        found = self._chain(1)
        while self._next == ",":
            self._take()
            found = self._operation(function, found, self._chain(1))
        self._expect(")")
        return found


def _short(dim: Dim) -> str:
    text = repr(dim)
    return text if len(text) <= 200 else f"{text[:200]}…"
