"""Storage of their own for tensors that TVM would plan by a bound instead of by their size.

In: a module whose kernels write into allocated tensors. Out: the same, where a tensor with a
dimension that is symbolic but bounded is allocated at run time, by what the dimension is then::

    alloc_tensor((n, min(t, 10**9)))    →    storage = alloc_storage(4 * n * min(t, 10**9))
                                             alloc_tensor(storage, (n, min(t, 10**9)))

TVM's memory planner takes the largest value that a dimension can have, so that `x[:, :10**9]` of a
dynamic axis asks for 4 GB per row of any x. Only tensors of `alloc_tensor` are planned.
"""

from __future__ import annotations

from functools import reduce
from operator import mul
from typing import Any

import tvm
from tvm import relax
from tvm.relax.op import memory

__all__ = ["give_own_storage"]

_UNBOUNDED = (1 << 63) - 1


def give_own_storage(mod: tvm.IRModule) -> tvm.IRModule:
    """Allocate each tensor with a symbolic, bounded dimension apart from what is planned.

    Args:
        mod: A module after `CallTIRRewrite`, before `StaticPlanBlockMemory`.
    """
    for name, func in mod.functions.items():
        if isinstance(func, relax.Function):
            mod.update_func(name, _Own(mod).visit_expr(func))
    return mod


@relax.expr_functor.mutator
class _Own(relax.PyExprMutator):  # type: ignore[misc]
    def visit_call_(self, call: Any) -> Any:
        if getattr(call.op, "name", None) != "relax.builtin.alloc_tensor":
            return super().visit_call_(call)
        shape, dtype, device, scope = call.args
        if not any(map(_bounded, shape.values)):
            return call
        itemsize = (int(dtype.value.bits) + 7) // 8
        size = relax.ShapeExpr([reduce(mul, shape.values, itemsize)])
        storage = self.builder_.emit(memory.alloc_storage(size, device, scope, "uint8"), "storage")
        return memory.alloc_tensor(storage, 0, shape, dtype, device)


def _bounded(dim: Any) -> bool:
    return not isinstance(dim, tvm.tirx.IntImm) and _most(dim) < _UNBOUNDED


def _most(dim: Any) -> int:
    return int(tvm.sym.Analyzer().const_int_bound(dim).max_value)
