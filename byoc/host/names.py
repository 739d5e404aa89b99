"""Source names across fusion.

Before fusion every binding's variable carries the name of its op in the model. `FuseOps` keeps
the spans of the calls it gathers but invents variables for what they return, so the names ride
in the spans: `tag` writes them, `restore` reads them and renames the variables::

    conv:  c = call_tir(conv2d, x)          lv = fused_conv2d_relu(x)       relu = fused_…(x)
    relu:  r = call_tir(relu, c)      ──▶      c = … span "conv"      ──▶   sources["relu"] =
                                               gv = … span "relu"              ("conv", "relu")
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import tvm
from tvm import relax
from tvm.ir import Call, SourceName, Span

__all__ = ["restore", "tag"]


def _map_bindings(func: relax.Function, change: Any) -> relax.Function:
    """Rebuild the blocks of a straight-line function with each binding changed."""
    if not isinstance(func.body, relax.SeqExpr):
        return func
    blocks = []
    for block in func.body.blocks:
        bindings = [change(binding) for binding in block.bindings]
        dataflow = isinstance(block, relax.DataflowBlock)
        blocks.append(relax.DataflowBlock(bindings) if dataflow else relax.BindingBlock(bindings))
    body = relax.SeqExpr(blocks, func.body.body)
    return relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs)


def tag(mod: tvm.IRModule, keep: Collection[str] = ()) -> tvm.IRModule:
    """Write the name of every kernel call's variable into the span of the call.

    Args:
        mod: The module.
        keep: Names in spans that stay.
    """

    def change(binding: Any) -> Any:
        call = binding.value
        if not isinstance(call, Call) or getattr(call.op, "name", "") != "relax.call_tir":
            return binding
        if call.span is not None and call.span.source_name.name in keep:
            return binding
        span = Span(SourceName(binding.var.name), 1, 1, 1, 1)
        tagged = Call(call.op, call.args, call.attrs, call.ty_args, span=span)
        return relax.VarBinding(binding.var, tagged)

    return _functions(mod, lambda func: _map_bindings(func, change))


def restore(mod: tvm.IRModule) -> tuple[tvm.IRModule, dict[str, tuple[str, ...]]]:
    """Name the variables of fused calls after their last op.

    Args:
        mod: A module that `tag` has seen, fused since.

    Returns:
        The module; and for every variable of a fused call, the names of all its ops.

    """
    groups = {
        gv: tuple(
            dict.fromkeys(
                str(binding.value.span.source_name.name)
                for block in func.body.blocks
                for binding in block.bindings
                if getattr(binding.value, "span", None) is not None
            )
        )
        for gv, func in mod.functions_items()
        if isinstance(func, relax.Function) and func.attrs and "Primitive" in func.attrs
    }
    sources: dict[str, tuple[str, ...]] = {}

    def rename(func: relax.Function) -> relax.Function:
        if func.attrs and "Primitive" in func.attrs:
            return func
        renaming = _Rename(groups)
        renamed = renaming.visit_expr(func)
        sources.update(renaming.sources)
        return renamed

    return _functions(mod, rename), sources


def _functions(mod: tvm.IRModule, change: Any) -> tvm.IRModule:
    functions = {
        gv: change(func) if isinstance(func, relax.Function) else func
        for gv, func in mod.functions_items()
    }
    return tvm.IRModule(functions, attrs=mod.attrs)


@relax.expr_functor.mutator
class _Rename(relax.PyExprMutator):  # type: ignore[misc]
    def __init__(self, groups: dict[Any, tuple[str, ...]]) -> None:
        super().__init__()
        self.groups = groups
        self.sources: dict[str, tuple[str, ...]] = {}

    def visit_var_binding_(self, binding: Any) -> None:
        value = binding.value
        names = self.groups.get(value.op) if isinstance(value, Call) else None
        if not names:
            super().visit_var_binding_(binding)
            return
        old = binding.var
        self.sources[names[-1]] = names
        new = type(old)(names[-1], old.ty)
        self.set_var_remap(old, new)
        self.builder_.emit_normalized(relax.VarBinding(new, self.visit_expr(value)))
