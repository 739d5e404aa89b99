"""Turn calls of segment functions into destination-passing calls by name.

In: a partitioned module. Out: one that knows segments by name only. ``y = dnnl_0(a, b)`` becomes
``y = R.call_dps_packed("dnnl_0", (a, b), out_ty=…)``: at run time the segment is a function that
writes its preallocated outputs, whatever made it.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

__all__ = ["externalize_segments", "is_segment"]


def is_segment(func: Any) -> bool:
    """Return whether a function of a module is one that a vendor compiles."""
    attrs = getattr(func, "attrs", None)
    return isinstance(func, relax.Function) and attrs is not None and "Codegen" in attrs


@relax.expr_functor.mutator
class _Externalize(relax.PyExprMutator):  # type: ignore[misc]
    def __init__(self, mod: tvm.IRModule, symbols: dict[Any, str]) -> None:
        super().__init__(mod)
        self.symbols = symbols

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        symbol = self.symbols.get(call.op)
        if symbol is None:
            return call
        ty = call.ty
        out = list(ty.fields) if isinstance(ty, relax.TupleType) else ty
        return relax.call_dps_packed(symbol, relax.Tuple(list(call.args)), out_ty=out)


def externalize_segments(mod: tvm.IRModule) -> tvm.IRModule:
    """Replace every call of a segment by one by name, and drop the segment functions."""
    symbols = {
        gv: str(func.attrs["global_symbol"])
        for gv, func in mod.functions_items()
        if is_segment(func)
    }
    if not symbols:
        return mod
    mutator = _Externalize(mod, symbols)
    functions = {
        gv: mutator.visit_expr(func) if isinstance(func, relax.Function) else func
        for gv, func in mod.functions_items()
        if gv not in symbols
    }
    return tvm.IRModule(functions, attrs=mod.attrs)
