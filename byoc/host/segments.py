"""Turn calls of segment functions into destination-passing calls by name.

In: a partitioned module. Out: one that knows segments by name only. ``y = dnnl_0(a, b)`` becomes
``y = R.call_dps_packed("dnnl_0", (a, b), out_ty=…)``: at run time the segment is a function that
writes its preallocated outputs, whatever made it. Where the vendor gave kernels, they are called
instead (`byoc.host.given`).
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from byoc.host.given import Given, GivenCalls, Label

__all__ = ["externalize_segments", "is_segment"]


def is_segment(func: Any) -> bool:
    """Return whether a function of a module is one that a vendor compiles."""
    attrs = getattr(func, "attrs", None)
    return isinstance(func, relax.Function) and attrs is not None and "Codegen" in attrs


@relax.expr_functor.mutator
class _Externalize(relax.PyExprMutator):  # type: ignore[misc]
    def __init__(self, mod: tvm.IRModule, symbols: dict[Any, str], calls: GivenCalls) -> None:
        super().__init__(mod)
        self.symbols, self.calls = symbols, calls

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        symbol = self.symbols.get(call.op)
        if symbol is None:
            return call
        if symbol in self.calls.given:
            results = self.calls.write(self.builder_, symbol, list(call.args))
            many = isinstance(call.ty, relax.TupleType)
            return relax.Tuple(results) if many else results[0]
        ty = call.ty
        out = list(ty.fields) if isinstance(ty, relax.TupleType) else ty
        return relax.call_dps_packed(symbol, relax.Tuple(list(call.args)), out_ty=out)


def externalize_segments(
    mod: tvm.IRModule, given: Given | None = None
) -> tuple[tvm.IRModule, dict[str, Label]]:
    """Replace every call of a segment, and drop the segment functions.

    Args:
        mod: A partitioned module.
        given: The segments whose kernels are called in their place.

    Returns:
        The module, and what calls of given kernels stand for, by the names of their variables.
    """
    symbols = {
        gv: str(func.attrs["global_symbol"])
        for gv, func in mod.functions_items()
        if is_segment(func)
    }
    if not symbols:
        return mod, {}
    calls = GivenCalls(given or {})
    mutator = _Externalize(mod, symbols, calls)
    functions = {
        gv: mutator.visit_expr(func) if isinstance(func, relax.Function) else func
        for gv, func in mod.functions_items()
        if gv not in symbols
    }
    known = set(mod.get_global_vars())
    functions.update(
        (gv, func) for gv, func in mutator.builder_.get().functions_items() if gv not in known
    )
    return tvm.IRModule(functions, attrs=mod.attrs), calls.labels
