"""Floats as IEEE has them, where TVM takes them for real numbers.

In: a kernel. Out: the same kernel without nodes that TVM 0.27 gets wrong for NaN, infinities or
large numbers. LLVM makes the same instructions of what stands here, but for `max` of two unknowns.

LLVM gets ``max(a, b)`` as ``a > b ? a : b``, which is b where either is NaN: max(x, 0) of NaN is 0,
max(0, x) is NaN. So what is a number for sure stands first, and what may be NaN second::

    max(x, 0)  ──▶  max(0, x)                      one vmaxps, as before
    max(a, b)  ──▶  b == b ? max(b, a) : b         a vmaxps, a comparison, a blend

TVM's simplifier knows x - x = 0, (x + y) - y = x, x == x and not (a < b) = (a >= b), and "not
equal" is compiled to a comparison that NaN fails. A detour through bits hides an operand from it::

    a - b      ──▶  float(bits of a) - b                no code
    not c      ──▶  bool(int8(c) xor 1)                 the negation
    a != b     ──▶  not (a == b), so spelled
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isnan
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad

__all__ = ["nan_safe"]

_BITS = {"float16": "uint16", "float32": "uint32", "float64": "uint64"}
_NARROW = "bfloat16"  # computed in float32: TVM has no selections and no bits of it


def nan_safe(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Replace a kernel's maxima, minima, differences and negations by ones that TVM leaves alone.

    Args:
        func: The kernel, scheduled: schedules know reductions by their `max`.

    """
    return func.with_body(
        tvm_ffi.structural_map(
            func.body,
            [
                (tirx.Max, _of_floats(partial(_extreme, tirx.Max))),
                (tirx.Min, _of_floats(partial(_extreme, tirx.Min))),
                (tirx.Sub, _of_floats(_difference)),
                (tirx.EQ, _of_floats(_equal)),
                (tirx.NE, _of_floats(lambda a, b: _negated(_equal(a, b)))),
                (tirx.Not, _not),
            ],
        )
    )


def _of_floats(function: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """`function` of the two operands, where they are floats."""

    def rule(node: Any) -> Any:
        dtype = str(node.a.ty.dtype)
        if dtype in _BITS:
            return function(node.a, node.b)
        if dtype != _NARROW:
            return node
        result = function(tirx.Cast("float32", node.a), tirx.Cast("float32", node.b))
        return tirx.Cast(dtype, result) if str(node.ty.dtype) == dtype else result

    return rule


def _extreme(kind: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    if _is_number(a):
        return kind(a, b)
    if _is_number(b):
        return kind(b, a)
    # In a reduction a is the maximum so far: only what depends on it makes the loop wait.
    return _named(b, lambda b: tirx.Select(_equal(b, b), kind(b, a), b))


def _difference(a: Any, b: Any) -> Any:
    return tirx.Sub(a, _hidden(b)) if isinstance(a, tirx.FloatImm) else tirx.Sub(_hidden(a), b)


def _equal(a: Any, b: Any) -> Any:
    return tirx.EQ(_hidden(a), b)


def _not(node: Any) -> Any:
    return _negated(node.a) if _compares_floats(node.a) else node


def _negated(condition: Any) -> Any:
    return tirx.Cast("bool", tirx.Cast("int8", condition) ^ tirx.const(1, "int8"))


def _compares_floats(condition: Any) -> bool:
    if isinstance(condition, (tirx.And, tirx.Or)):
        return _compares_floats(condition.a) or _compares_floats(condition.b)
    if isinstance(condition, (tirx.EQ, tirx.LT, tirx.LE, tirx.GT, tirx.GE)):
        return str(condition.a.ty.dtype) in (*_BITS, _NARROW)
    return False


def _hidden(value: Any) -> Any:
    """The same number, for LLVM too, but a stranger to TVM's simplifier."""
    dtype = str(value.ty.dtype)
    if isinstance(value, tirx.FloatImm):
        return value
    return tirx.reinterpret(dtype, tirx.reinterpret(_BITS[dtype], value))


def _is_number(expr: Any) -> bool:
    """True for a constant that is not NaN, and for what was a whole number, such as a length."""
    if isinstance(expr, tirx.Cast):
        whole = str(expr.value.ty.dtype).startswith(("int", "uint", "bool"))
        return whole or _is_number(expr.value)
    return isinstance(expr, tirx.FloatImm) and not isnan(float(expr.value))


def _named(value: Any, body: Callable[[Any], Any]) -> Any:
    """``body(value)`` with the value computed once; LLVM joins loads by itself."""
    inner = value.value if isinstance(value, tirx.Cast) else value
    if isinstance(inner, (tirx.Var, tirx.FloatImm, TensorLoad)):
        return body(value)
    name = tirx.Var("m", str(value.ty.dtype))
    return tirx.Let(name, value, body(name))
