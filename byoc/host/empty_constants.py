"""Constants without elements, in a form that TVM can load again.

In: a lowered module for the VM. Out: the same, where such constants are one-dimensional::

    f(const float32[3, 0])    →    f(reshape(const float32[0], (3, 0)))

TVM 0.27 writes any constant of a VM program to the file, but reading one whose first dimension is
not 0 and that has no elements fails ("Invalid DLTensor file format").
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.ir import GenericConst

__all__ = ["flatten_empty_constants"]


def flatten_empty_constants(mod: tvm.IRModule) -> tvm.IRModule:
    """Make every constant without elements one-dimensional, and give it its shape at run time.

    Args:
        mod: A module whose ops are lowered: the reshape is the VM's own.
    """
    for name, func in mod.functions.items():
        if isinstance(func, relax.Function) and _has_some(func):
            mod.update_func(name, _Flatten(mod).visit_expr(func))
    return mod


def _is_one(expr: Any) -> bool:
    return isinstance(expr, GenericConst) and 0 in _shape(expr)[1:] and _shape(expr)[0] != 0


def _shape(constant: Any) -> tuple[int, ...]:
    return tuple(getattr(constant.value, "shape", ()))  # a number has none


def _has_some(func: relax.Function) -> bool:
    found = []
    relax.analysis.post_order_visit(func, lambda expr: found.append(1) if _is_one(expr) else None)
    return bool(found)


@relax.expr_functor.mutator
class _Flatten(relax.PyExprMutator):  # type: ignore[misc]
    def visit_seq_expr_(self, seq: Any) -> Any:
        """Bind what stands as a result itself, so that it has a place to be reshaped at."""
        if not _is_one(seq.body):
            return super().visit_seq_expr_(seq)
        result = relax.Var("empty", seq.body.ty)
        block = relax.BindingBlock([relax.VarBinding(result, seq.body)])
        return super().visit_seq_expr_(relax.SeqExpr([*seq.blocks, block], result))

    def visit_generic_const_(self, constant: Any) -> Any:
        if not _is_one(constant):
            return constant
        flat = relax.const(tvm.runtime.empty((0,), str(constant.ty.dtype)))
        shape = relax.ShapeExpr(_shape(constant))
        return self.builder_.emit(
            relax.call_pure_packed("vm.builtin.reshape", flat, shape, ty_args=constant.ty)
        )
