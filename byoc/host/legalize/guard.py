"""Ops whose operands can be illegal, with those operands checked.

In: a Relax module. Out: one where what indexes or divides has been through a check
(`byoc.host.legalize.checks`), so that no data reads or writes outside a tensor, or ends the
process::

    take(x, i)                          take(x, checked i), from now on without a mode
    gather_elements, gather_nd, index_tensor, index_put, scatter_elements, scatter_nd, nll_loss,
    roi_align
    a // b, a % b, a / b of integers    the same by checked b; the least number by -1 gives itself

Modes of `take` that say what an illegal index gives ("clip", "nan") stay as they are. "wrap" is how
the front ends say that negative indices count from the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import tvm
from tvm import relax, te, tirx, topi
from tvm.ir import GenericConst

from byoc.host.legalize.checks import Axis, checked_divisor, checked_index, is_whole
from byoc.host.legalize.op_rewriter import OpRewriter, rewrite_ops

__all__ = ["guard"]


def guard(mod: tvm.IRModule) -> tvm.IRModule:
    """Check the indices and whole divisors of every op that does not do so itself."""
    return rewrite_ops(mod, _Guard, _RULES)


@relax.expr_functor.mutator
class _Guard(OpRewriter):
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        rule = _RULES.get(getattr(call.op, "name", ""))
        return call if rule is None else rule(self, call)

    def index(
        self,
        call: Any,
        indices: Any,
        axes: Sequence[tuple[int, Any] | None],
        *,
        from_end: bool,
        also: int | None = None,
    ) -> Any:
        """The checked copy of an index tensor that points into axes (number, size)."""
        return self._bound(
            checked_index(
                self.builder_,
                self.emit,
                _short(call),
                indices,
                [None if axis is None else Axis(*axis) for axis in axes],
                from_end=from_end,
                also=also,
            )
        )

    def divisor(self, call: Any, divisor: Any) -> Any:
        """The checked copy of a divisor."""
        return self._bound(checked_divisor(self.builder_, self.emit, _short(call), divisor))

    def tuple_fields(self, expr: Any) -> list[Any]:
        """The fields of a tuple, or of a variable of one."""
        made = self.lookup_binding(expr) if isinstance(expr, relax.Var) else expr
        if isinstance(made, relax.Tuple):
            return list(made.fields)
        return [self.emit(relax.TupleGetItem(expr, i)) for i in range(len(expr.ty.fields))]

    def _bound(self, expr: Any) -> Any:
        return expr if isinstance(expr, (relax.Var, GenericConst)) else self.emit(expr)


def _short(call: Any) -> str:
    return str(call.op.name).removeprefix("relax.").removeprefix("nn.").removeprefix("vision.")


def _dims(expr: Any) -> list[Any] | None:
    """The dimensions of a tensor, None where not even their number is known."""
    shape = getattr(expr.ty, "shape", None)
    return list(shape.values) if isinstance(shape, relax.ShapeExpr) else None


def _is_empty(expr: Any) -> bool:
    return any(isinstance(dim, tirx.IntImm) and int(dim) == 0 for dim in _dims(expr) or ())


def _with_args(call: Any, *args: Any) -> Any:
    return tvm.ir.Call(call.op, list(args), call.attrs, call.ty_args, span=call.span)


def _take(guard: _Guard, call: Any) -> Any:
    table, indices = call.args
    dims, mode, axis = _dims(table), str(call.attrs.mode), call.attrs.axis
    if dims is None or _dims(indices) is None or mode not in ("fast", "wrap"):
        return call
    if axis is None:
        number, size = 0, reduce(lambda a, b: a * b, dims, tirx.const(1, "int64"))
    else:
        number = int(axis) % len(dims)
        size = dims[number]
    legal = guard.index(call, indices, [(number, size)], from_end=mode == "wrap")

    def look_up(table: te.Tensor, indices: te.Tensor) -> te.Tensor:
        flat = topi.reshape(table, [size]) if axis is None else table
        after = number + len(indices.shape)

        def element(*at: Any) -> Any:
            index = indices(*at[number:after]).astype("int64")
            return flat(*at[:number], index, *at[after:])

        shape = [*flat.shape[:number], *indices.shape, *flat.shape[number + 1 :]]
        return te.compute(shape, element, name="T_take", tag="take")

    return guard.builder_.call_te(look_up, table, legal, primfunc_name_hint="take")


def _by_axis(guard: _Guard, call: Any) -> Any:
    data, indices, *rest = call.args
    dims = _dims(data)
    if dims is None or _dims(indices) is None:
        return call
    axis = int(call.attrs.axis) % len(dims)
    wraps = call.op.name == "relax.scatter_elements"  # as TVM's kernel does
    if _is_empty(indices):  # TVM has no kernel
        return data if wraps else relax.op.zeros(indices.ty.shape, str(data.ty.dtype))
    legal = guard.index(call, indices, [(axis, dims[axis])], from_end=wraps)
    return _with_args(call, data, legal, *rest)


def _by_rows(guard: _Guard, call: Any) -> Any:
    data, indices, *rest = call.args
    dims, places = _dims(data), _dims(indices)
    if dims is None or places is None or not isinstance(places[-1], tirx.IntImm):
        return call
    if rest and _is_empty(indices):  # nothing is scattered; TVM has no kernel
        return data
    first = int(getattr(call.attrs, "batch_dims", 0) or 0)
    axes = [(axis, dims[axis]) for axis in range(first, first + int(places[-1]))]
    return _with_args(call, data, guard.index(call, indices, axes, from_end=False), *rest)


def _by_tuple(guard: _Guard, call: Any) -> Any:
    data, indices, *rest = call.args
    dims = _dims(data)
    if dims is None or not isinstance(indices.ty, relax.TupleType):
        return call
    fields = guard.tuple_fields(indices)
    if any(_dims(field) is None or not is_whole(field) for field in fields):
        return call
    legal = [
        guard.index(call, field, [(axis, dims[axis])], from_end=True)
        for axis, field in enumerate(fields)
    ]
    return _with_args(call, data, relax.Tuple(legal), *rest)


def _regions(guard: _Guard, call: Any) -> Any:
    data, regions = call.args
    dims, places = _dims(data), _dims(regions)
    if dims is None or places is None or not isinstance(places[-1], tirx.IntImm):
        return call
    batch = 0 if str(call.attrs.layout).startswith("N") else None
    if batch is None or int(places[-1]) != 5:
        return call
    columns = [(batch, dims[batch]), None, None, None, None]  # the image, and its part
    return _with_args(call, data, guard.index(call, regions, columns, from_end=False))


def _loss(guard: _Guard, call: Any) -> Any:
    predictions, targets, *rest = call.args
    dims = _dims(predictions)
    if dims is None or _dims(targets) is None:
        return call
    axis = 1 if len(dims) > 1 else 0
    ignored = int(call.attrs.ignore_index)
    legal = guard.index(call, targets, [(axis, dims[axis])], from_end=False, also=ignored)
    return _with_args(call, predictions, legal, *rest)


def _strides(guard: _Guard, call: Any) -> Any:
    data, begin, end, strides = call.args
    if _dims(strides) is None:
        return call
    return _with_args(call, data, begin, end, guard.divisor(call, strides))


_DIVISIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "relax.divide": tirx.truncdiv,
    "relax.floor_divide": tirx.floordiv,
    "relax.floor_mod": tirx.floormod,
    "relax.mod": tirx.truncmod,
}


def _division(guard: _Guard, call: Any) -> Any:
    x, divisor = call.args
    shape = _dims(call)
    if not isinstance(divisor.ty, relax.TensorType) or not is_whole(divisor) or shape is None:
        return call
    if _dims(divisor) is None or _dims(x) is None:
        return call
    legal = guard.divisor(call, divisor)
    dtype = str(divisor.ty.dtype)
    if isinstance(legal, GenericConst) and (np.from_dlpack(legal.value) != -1).all():
        return _with_args(call, x, legal)
    if dtype.startswith("uint"):
        return _with_args(call, x, legal)
    divide = _DIVISIONS[call.op.name]
    least = te.min_value(dtype)
    zero, one = tirx.const(0, dtype), tirx.const(1, dtype)

    def compute(x: te.Tensor, y: te.Tensor) -> te.Tensor:
        x, y = topi.broadcast_to(x, shape), topi.broadcast_to(y, shape)

        def element(*at: Any) -> Any:
            # The least number by -1: the quotient would not fit, and the processor stops there as
            # for 0. Divide by 1 instead. TVM's simplifier takes `x == least` for false and draws a
            # select out of a division: bits and sums it leaves alone.
            large = tirx.all((x(*at) ^ least) == zero, y(*at) == -one)
            return divide(x(*at), y(*at) + tirx.Select(large, one + one, zero))

        return te.compute(shape, element, name="T_divide", tag="broadcast")

    return guard.builder_.call_te(compute, x, legal, primfunc_name_hint=_short(call))


_RULES: Mapping[str, Callable[[_Guard, Any], Any]] = {
    "relax.dynamic_strided_slice": _strides,
    "relax.gather_elements": _by_axis,
    "relax.gather_nd": _by_rows,
    "relax.index_put": _by_tuple,
    "relax.index_tensor": _by_tuple,
    "relax.nn.nll_loss": _loss,
    "relax.scatter_elements": _by_axis,
    "relax.scatter_nd": _by_rows,
    "relax.take": _take,
    "relax.vision.roi_align": _regions,
    **dict.fromkeys(_DIVISIONS, _division),
}
