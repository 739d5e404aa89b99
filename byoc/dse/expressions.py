"""Arithmetic in files of users, worked out without ever running it as Python.

In: ``"array.rows * array.columns <= 1024"``. Out: an `Expression`, which knows the names that it
reads and gives a value for values of these. Only whole numbers, words, comparisons and a handful of
functions exist; everything else of Python's grammar is refused by name, and numbers are kept small.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import TypeAlias

from byoc.errors import OptionError

__all__ = ["Expression", "parse_expression", "parse_number"]

Result: TypeAlias = "int | str | Fraction | bool"

_SCALES = {
    "": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9,
    "B": 1, "KB": 10**3, "MB": 10**6, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}  # fmt: skip
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_SIZE = re.compile(r"(?<![\w.])(\d+)\s*(KiB|MiB|GiB|KB|MB)\b")
_LARGEST = 1 << 64
_LONGEST = 500

_BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction | int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], Callable[[Result, Result], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Fraction | int]] = {
    "min": min, "max": max, "ceil": ceil, "floor": floor, "abs": abs,
}  # fmt: skip


def parse_number(text: str | int, what: str) -> int:
    """Return a whole number as users write it: ``200k``, ``"64KiB"``, ``900``.

    Args:
        text: The number.
        what: Where it stands, for the message.

    Raises:
        OptionError: It is none, or its unit is unknown.
    """
    found = _NUMBER.fullmatch(str(text)) if not isinstance(text, bool) else None
    if found is None:
        raise OptionError(f"{what}: {text!r} is no number; write 900, 200k or 64KiB")
    number, unit = found.groups()
    if unit not in _SCALES:
        legal = ", ".join(filter(None, _SCALES))
        raise OptionError(f"{what}: unknown unit {unit!r} in {text!r}; legal: {legal}")
    value = Fraction(number) * _SCALES[unit]
    if value.denominator != 1 or value > _LARGEST:
        raise OptionError(f"{what}: {text!r} is not a whole number of at most {_LARGEST}")
    return int(value)


@dataclass(frozen=True, slots=True)
class Expression:
    """Arithmetic over named values.

    Attributes:
        text: As the user wrote it.
        names: The names it reads.
        where: Where it stands, for messages.
        tree: Its checked syntax.
    """

    text: str
    names: frozenset[str]
    where: str
    tree: ast.expr

    def __call__(self, values: Mapping[str, int | str]) -> int | str | bool:
        """Return its value; fractions are kept exact until then, and must be whole in the end.

        Args:
            values: A value for each of `names`.

        Raises:
            OptionError: It has none: words in arithmetic, division by zero, a number too large.
        """
        try:
            result = _value(self.tree, values)
        except (ZeroDivisionError, TypeError, ValueError) as error:
            why = "division by zero" if isinstance(error, ZeroDivisionError) else error
            raise OptionError(f"{self.where}: {self.text!r} has no value: {why}") from error
        if isinstance(result, Fraction):
            if result.denominator != 1:
                raise OptionError(f"{self.where}: {self.text!r} is {result}, no whole number")
            return int(result)
        return result


def parse_expression(text: str, where: str) -> Expression:
    """Read arithmetic.

    Args:
        text: The expression, over names with dots.
        where: Where it stands, for messages.

    Raises:
        OptionError: It is none, or uses what is not allowed; the message names it.
    """
    if len(text) > _LONGEST:
        raise OptionError(f"{where}: an expression has {_LONGEST} characters at most")
    plain = _SIZE.sub(lambda m: str(parse_number(m[0], where)), text)
    try:
        tree = ast.parse(plain.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or error
        raise OptionError(f"{where}: {text!r} is no expression: {reason}") from error
    names: set[str] = set()
    _check(tree, names, where, text)
    return Expression(text, frozenset(names), where, tree)


def _dotted(node: ast.expr) -> str | None:
    """``a.b`` as text; None: it is no name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _check(node: ast.expr, names: set[str], where: str, text: str) -> None:
    """Walk a tree; collect names, refuse what is not arithmetic."""
    name = _dotted(node)
    below: list[ast.expr] = []
    legal = True
    if name is not None:
        names.add(name)
    elif isinstance(node, ast.Constant):
        legal = isinstance(node.value, (int, float, str)) and not isinstance(node.value, bool)
    elif isinstance(node, ast.BinOp):
        legal, below = type(node.op) in _BINARY, [node.left, node.right]
    elif isinstance(node, ast.UnaryOp):
        legal, below = isinstance(node.op, (ast.USub, ast.Not)), [node.operand]
    elif isinstance(node, ast.BoolOp):
        below = node.values
    elif isinstance(node, ast.Compare):
        legal = all(type(op) in _COMPARE for op in node.ops)
        below = [node.left, *node.comparators]
    elif isinstance(node, ast.IfExp):
        below = [node.test, node.body, node.orelse]
    elif isinstance(node, ast.Call):
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        legal, below = called in _FUNCTIONS and not node.keywords, node.args
    else:
        legal = False
    if not legal:
        raise OptionError(
            f"{where}: {ast.unparse(node)!r} is not allowed in {text!r}; legal: numbers, names of "
            f"parameters, + - * / // %, comparisons, and, or, not, if-else, {', '.join(_FUNCTIONS)}"
        )
    for part in below:
        _check(part, names, where, text)


def _value(node: ast.expr, values: Mapping[str, int | str]) -> Result:
    """The value of a checked tree."""
    name = _dotted(node)
    if name is not None:
        found = values[name]
        return found if isinstance(found, str) else Fraction(found)
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else Fraction(str(node.value))
    if isinstance(node, ast.BinOp):
        return _small(
            _BINARY[type(node.op)](_number(node.left, values), _number(node.right, values))
        )
    if isinstance(node, ast.UnaryOp):
        if isinstance(node.op, ast.Not):
            return not _value(node.operand, values)
        return -_number(node.operand, values)
    if isinstance(node, ast.BoolOp):
        parts = (bool(_value(part, values)) for part in node.values)
        return all(parts) if isinstance(node.op, ast.And) else any(parts)
    if isinstance(node, ast.Compare):
        return _compare(node, values)
    if isinstance(node, ast.IfExp):
        return _value(node.body if _value(node.test, values) else node.orelse, values)
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return _small(_FUNCTIONS[node.func.id](*(_number(part, values) for part in node.args)))


def _compare(node: ast.Compare, values: Mapping[str, int | str]) -> bool:
    left = _value(node.left, values)
    for op, other in zip(node.ops, node.comparators, strict=True):
        right = _value(other, values)
        if not _COMPARE[type(op)](left, right):
            return False
        left = right
    return True


def _number(node: ast.expr, values: Mapping[str, int | str]) -> Fraction:
    found = _value(node, values)
    if not isinstance(found, Fraction):
        raise TypeError(f"{ast.unparse(node)!r} is {found!r}, no number")
    return found


def _small(value: Fraction | int) -> Fraction:
    result = Fraction(value)
    if not -_LARGEST <= result <= _LARGEST:
        raise ValueError("a number is too large")
    return result
