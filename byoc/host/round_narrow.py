"""bfloat16 rounded where the model rounds: kernels that compute it are fused with no other.

In: kernels, one for each op. Out: those that compute numbers of bfloat16 marked so that TVM leaves
them alone. TVM 0.27 computes bfloat16 in float32 and rounds what it stores: between ops that share
a kernel nothing is stored, so that a cast there and back is no cast there, and chains keep bits
that they should not have.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call

__all__ = ["keep_roundings"]

_NARROW = "bfloat16"
_OPAQUE = 8
_ARITHMETIC = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Cast)


def keep_roundings(mod: tvm.IRModule) -> tvm.IRModule:
    """Mark kernels that compute bfloat16 as such that no other is fused with.

    Args:
        mod: Legalised, the patterns of its kernels known.
    """
    functions = {
        gv: func.with_attr("op_pattern", _OPAQUE)
        if isinstance(func, tirx.PrimFunc) and _computes_narrow(func)
        else func
        for gv, func in mod.functions_items()
    }
    return tvm.IRModule(functions, attrs=mod.attrs)


def _computes_narrow(func: tirx.PrimFunc) -> bool:
    if all(str(getattr(param, "dtype", "")) != _NARROW for param in func.params):
        return False
    found: list[Any] = []

    def function(call: Any) -> None:  # choices and memory are calls, too, of a condition or a place
        if _is_narrow(call) and call.args and all(map(_is_narrow, call.args)):
            found.append(call)

    rules: list[Any] = [
        (kind, lambda node: found.append(node) if _is_narrow(node) else None)
        for kind in _ARITHMETIC
    ]
    tvm_ffi.structural_walk(func.body, [*rules, (Call, function)])
    return bool(found)


def _is_narrow(expr: Any) -> bool:
    return str(getattr(expr, "ty", "")) == _NARROW
