"""Words for rules: what is this value, seen through the ways exporters spell it."""

from __future__ import annotations

from typing import Any, TypeGuard

from byoc.frontends.normalise.graph import Const, GraphNode, Value

__all__ = [
    "affine",
    "close",
    "factors",
    "is_op",
    "number",
    "other",
    "polynomial",
    "tensors",
]


def is_op(value: Any, *ops: str) -> TypeGuard[GraphNode]:
    """True for a node of one of the ops."""
    return isinstance(value, GraphNode) and value.op in ops


def number(value: Any) -> float | None:
    """The number when the value is a constant of one element, or of a few equal ones."""
    return value.number if isinstance(value, Const) else None


def close(a: float | None, b: float, tolerance: float = 1e-4) -> bool:
    """Tell whether two numbers are the same constant, up to what exporters round away.

    Args:
        a: The number found; None (no number) is close to nothing.
        b: The number expected.
        tolerance: Largest difference, relative to `b`.
    """
    return a is not None and abs(a - b) <= tolerance * max(abs(b), 1e-6)


def tensors(node: GraphNode) -> tuple[Any, Any]:
    """Both operands of a binary op."""
    a, b = node.args[:2]
    return a, b


def other(node: GraphNode, value: Value) -> Any:
    """Return the operand of a binary op that is not the given one.

    Args:
        node: The binary op.
        value: One of its operands.

    Returns:
        The other operand, `value` itself for op(value, value), or None when `value` is no operand.
    """
    a, b = tensors(node)
    if a is value:
        return b
    return a if b is value else None


_DEPTH = 5  # no exporter spells one function deeper; bounds the walk in long chains


def factors(value: Value, depth: int = _DEPTH) -> tuple[float, list[Value]]:
    """Read a value as a product, number · value · value …, through multiply and divide by numbers.

    ``x * (0.5 * y) / 3`` is ``(0.1666, [x, y])``.

    Args:
        value: The value.
        depth: How many ops deep to look.

    Returns:
        The number, and the values that are multiplied.
    """
    if depth and is_op(value, "multiply"):
        ca, fa = factors(tensors(value)[0], depth - 1)
        cb, fb = factors(tensors(value)[1], depth - 1)
        return ca * cb, fa + fb
    if depth and is_op(value, "divide"):
        below = number(tensors(value)[1])
        if below:
            c, f = factors(tensors(value)[0], depth - 1)
            return c / below, f
    if depth and is_op(value, "negative"):
        c, f = factors(value.args[0], depth - 1)
        return -c, f
    constant = number(value)
    return (1.0, [value]) if constant is None else (constant, [])


def affine(value: Value, depth: int = _DEPTH) -> tuple[float, Value | None, float]:
    """Read a value as ``a · x + b`` with numbers a and b.

    Args:
        value: The value.
        depth: How many ops deep to look.

    Returns:
        (a, x, b); x is None for a number, and (1, value, 0) when nothing is found.
    """
    constant = number(value)
    if constant is not None:
        return 0.0, None, constant
    if depth and is_op(value, "add", "subtract"):
        left, right = tensors(value)
        sign = 1.0 if value.op == "add" else -1.0
        shift = number(right)
        if shift is not None:
            a, x, b = affine(left, depth - 1)
            return a, x, b + sign * shift
        shift = number(left)
        if shift is not None:
            a, x, b = affine(right, depth - 1)
            return sign * a, x, sign * b + shift
    if depth and is_op(value, "multiply", "divide", "negative"):
        scale, parts = factors(value)
        if len(parts) == 1 and parts[0] is not value:
            a, x, b = affine(parts[0], depth - 1)
            return scale * a, x, scale * b
    return 1.0, value, 0.0


def polynomial(value: Value, x: Value, depth: int = _DEPTH) -> dict[int, float] | None:
    """Read a value as a polynomial in x.

    Args:
        value: The value.
        x: The variable of the polynomial.
        depth: How many ops deep to look.

    Returns:
        Power → coefficient, or None when the value is no polynomial.
    """
    if value is x:
        return {1: 1.0}
    constant = number(value)
    if constant is not None:
        return {0: constant}
    if depth == 0 or not isinstance(value, GraphNode):
        return None
    parts = [
        polynomial(a, x, depth - 1)
        for a in value.args
        if isinstance(a, Value) and value.op in _POLYNOMIAL
    ]
    if not parts or any(p is None for p in parts):
        return None
    done = [p for p in parts if p is not None]
    if value.op in ("add", "subtract"):
        return _sum(done[0], done[1], 1.0 if value.op == "add" else -1.0)
    if value.op == "negative":
        return {k: -c for k, c in done[0].items()}
    if value.op == "multiply":
        return _product(done[0], done[1])
    if value.op == "square":
        return _product(done[0], done[0])
    divisor = done[1].get(0) if set(done[1]) <= {0} else None
    if value.op == "divide" and divisor:
        return {k: c / divisor for k, c in done[0].items()}
    if value.op == "power" and divisor in (1.0, 2.0, 3.0):
        result = done[0]
        for _ in range(int(divisor) - 1):
            result = _product(result, done[0])
        return result
    return None


_POLYNOMIAL = {"add", "subtract", "negative", "multiply", "square", "divide", "power"}


def _sum(a: dict[int, float], b: dict[int, float], sign: float) -> dict[int, float]:
    return {k: a.get(k, 0.0) + sign * b.get(k, 0.0) for k in {*a, *b}}


def _product(a: dict[int, float], b: dict[int, float]) -> dict[int, float]:
    result: dict[int, float] = {}
    for i, c in a.items():
        for j, d in b.items():
            result[i + j] = result.get(i + j, 0.0) + c * d
    return result
