"""Large ops as smaller ones that have good kernels.

In: a Relax module. Out: the same without these ops::

    attention(q, k, v, bias):   [B, S, H, D] each
        s = (q as [B, H, S, D]) @ (k as [B, H, D, T]) * scale + bias, masked
        y = softmax(s) @ (v as [B, H, T, E]), back to [B, S, H, E]

    softmax(s) @ v of float16: the shares stay float32 until the product has been summed; rounded in
        between, a row no longer sums to 1, and the error is that of the largest element of v.

    group_norm(x, g, b), instance_norm(x, g, b), layer_norm(x, g, b) over several axes:
        layer_norm of rows, each what is normalised together; then · g + b, where those go by
        channel. TOPI's kernels take E[x²] - E[x]² for the variance, which cancels where a row
        hardly varies.

    recurrent layers: a product for all steps, and a call that takes the steps
        (`byoc.host.legalize.recurrent`).

    suppression(boxes, scores, …): a kernel of loops (`byoc.host.legalize.boxes`).

    bitcast(x): a kernel that reads the bits of each element as the other dtype's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from math import sqrt
from typing import Any

import numpy as np
import tvm
from tvm import relax, te, tirx

from byoc.host.legalize.boxes import SUPPRESSION, emit_suppression
from byoc.host.legalize.op_rewriter import OpRewriter, rewrite_ops
from byoc.host.legalize.recurrent import RECURRENT, emit_recurrent
from byoc.host.legalize.sort_keys import SORTS, sorted_as
from byoc.host.legalize.wide_sums import WIDE_SUMS, summed_wide

__all__ = ["decompose"]

_BITCAST = "relax.byoc.bitcast"
_ATTENTION = ("relax.nn.attention", "relax.nn.attention_bias")
_NORMS = ("relax.nn.group_norm", "relax.nn.instance_norm", "relax.nn.layer_norm")
_OPS = (
    *_ATTENTION,
    *_NORMS,
    *SORTS,
    *WIDE_SUMS,
    "relax.nn.softmax",
    RECURRENT,
    SUPPRESSION,
    _BITCAST,
)


def decompose(mod: tvm.IRModule, *, pack: bool = True) -> tvm.IRModule:
    """Replace ops that have no good kernel by several that have one, wherever they stand.

    Attention becomes products and a softmax, norms become those of rows, shares of float16 stay
    float32, sums of float16 and bfloat16 are taken in float32 (`byoc.host.legalize.wide_sums`), and
    bfloat16 is sorted as float32 (`byoc.host.legalize.sort_keys`).

    Args:
        mod: The module.
        pack: Constant weights of recurrent layers are laid out anew.
    """
    return rewrite_ops(mod, partial(_Decompose, pack=pack), _OPS)


@relax.expr_functor.mutator
class _Decompose(OpRewriter):
    def __init__(self, mod: tvm.IRModule, pack: bool) -> None:
        super().__init__(mod)
        self.pack = pack

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        name = getattr(call.op, "name", "")
        if name in _NORMS:
            return self._norm(call)
        if name == "relax.matmul":
            shared = self._product_of_shares(call)
            return summed_wide(call, self.emit) if shared is call else shared
        if name in WIDE_SUMS:
            return summed_wide(call, self.emit)
        if name in SORTS:
            return sorted_as(call, self.emit)
        if name == RECURRENT:
            return emit_recurrent(self.builder_, call, self.emit, self.pack)
        if name == SUPPRESSION:
            return emit_suppression(self.builder_, call)
        if name == _BITCAST:
            return _bitcast(self.builder_, call)
        if name not in _ATTENTION or call.attrs.window_size is not None:
            return call
        return self._attention(call)

    def _attention(self, call: Any) -> Any:
        op, emit = relax.op, self.emit
        query, key, value, *bias = call.args
        attrs = call.attrs
        scale = attrs.scale
        depth = query.ty.shape.values[-1]
        if scale is None and not isinstance(depth, tirx.IntImm):
            return call
        factor = float(scale.value) if scale is not None else 1 / sqrt(int(depth))
        q = emit(op.permute_dims(query, [0, 2, 1, 3]))
        k = emit(op.permute_dims(key, [0, 2, 3, 1]))
        v = emit(op.permute_dims(value, [0, 2, 1, 3]))
        score = emit(op.matmul(q, k))
        score = emit(op.multiply(score, relax.const(factor, str(score.ty.dtype))))
        if bias:
            score = emit(op.add(score, bias[0]))
        if attrs.causal_mask is not None:
            bottom = str(attrs.causal_mask) == "BottomRight"
            mask = lambda s: _causal(s, bottom)  # noqa: E731
            score = emit(self.builder_.call_te(mask, score, primfunc_name_hint="causal_mask"))
        weights = emit(op.nn.softmax(score, -1))
        y = emit(self._product_of_shares(op.matmul(weights, v)))
        return op.permute_dims(y, [0, 2, 1, 3])

    def _product_of_shares(self, call: Any) -> Any:
        """softmax(s) @ v without a rounding of the softmax, for float16."""
        op, emit = relax.op, self.emit
        shares, v = call.args
        made: Any = self.lookup_binding(shares) if isinstance(shares, relax.Var) else None
        if getattr(getattr(made, "op", None), "name", "") != "relax.nn.softmax" or any(
            str(a.ty.dtype) != "float16" for a in call.args
        ):
            return call
        score = emit(op.astype(made.args[0], "float32"))
        wide = emit(op.nn.softmax(score, made.attrs.axis))
        y = emit(op.matmul(wide, emit(op.astype(v, "float32"))))
        return op.astype(y, str(self.builder_.normalize(call).ty.dtype))

    def _norm(self, call: Any) -> Any:
        op, emit, attrs = relax.op, self.emit, call.attrs
        x, *weights = call.args
        dims, dtype = list(x.ty.shape.values), str(x.ty.dtype)
        axes = sorted(int(axis) % len(dims) for axis in attrs.axes)
        own = call.op.name == "relax.nn.layer_norm"
        first = len(dims) - len(axes)
        double = dtype == "float64"  # byoc's kernel of rows is of float32, and TVM has none
        floats = ("float64", "float32", "float16", "bfloat16")
        if dtype not in floats or axes != list(range(first, len(dims))):
            return call
        if own and not (attrs.center and attrs.scale):
            return call
        if own and len(axes) == 1 < len(dims) and not double:
            return call
        channel = 1 if own or "instance" in call.op.name else int(attrs.channel_axis) % len(dims)
        if not own and not (channel == 1 and first == 2):
            return call
        length, lead = _product(dims[first:]), dims[:first]
        if own:
            row = [emit(op.reshape(w, [length])) for w in weights]
        else:
            groups = dims[1] if "instance" in call.op.name else int(attrs.num_groups)
            length, lead = dims[1] // groups * length, [dims[0], groups]
            row = [_filled(value, length, dtype) for value in (1, 0)]
        rows = emit(op.reshape(x, [*lead, length] if lead else [1, length]))
        if double:
            y = self._norm_of_rows(rows, *row, epsilon=float(attrs.epsilon))
        else:
            y = emit(op.nn.layer_norm(rows, *row, axes=[-1], epsilon=float(attrs.epsilon)))
        y = emit(op.reshape(y, dims))
        if own:
            return y
        shape = [1, dims[1], *[1] * (len(dims) - 2)]
        scale, shift = (emit(op.reshape(w, shape)) for w in weights)
        if getattr(attrs, "scale", True):
            y = emit(op.multiply(y, scale))
        return op.add(y, shift) if getattr(attrs, "center", True) else y

    def _norm_of_rows(self, x: Any, scale: Any, shift: Any, *, epsilon: float) -> Any:
        """layer_norm over the last axis, spelled out."""
        op, emit, dtype = relax.op, self.emit, str(x.ty.dtype)
        apart = emit(op.subtract(x, emit(op.mean(x, [-1], keepdims=True))))
        spread = emit(op.mean(emit(op.square(apart)), [-1], keepdims=True))
        root = emit(op.sqrt(emit(op.add(spread, relax.const(epsilon, dtype)))))
        y = emit(op.multiply(emit(op.divide(apart, root)), scale))
        return emit(op.add(y, shift))


def _bitcast(builder: Any, call: Any) -> Any:
    x, dtype = call.args[0].fields[0], str(call.ty.dtype)

    def read(data: Any) -> Any:
        return te.compute(data.shape, lambda *i: tirx.reinterpret(dtype, data(*i)), name="bitcast")

    return builder.call_te(read, x, primfunc_name_hint="bitcast")


def _product(dims: Sequence[Any]) -> Any:
    """The number of elements; an int where it is known."""
    known = [int(d) if isinstance(d, tirx.IntImm) else d for d in dims]
    return reduce(lambda a, b: a * b, known, 1)


def _filled(value: int, length: Any, dtype: str) -> Any:
    if isinstance(length, tirx.IntImm):
        length = int(length)
    if isinstance(length, int) and dtype != "bfloat16":
        return relax.const(np.full(length, value, dtype), dtype)
    return relax.op.full([length], relax.const(value, "float32"), dtype)


def _causal(score: te.Tensor, bottom_right: bool) -> te.Tensor:
    """Scores of keys after the query become the least number there is."""
    rows, columns = score.shape[-2:]
    shift = columns - rows if bottom_right else 0
    least = te.min_value(str(score.dtype))
    return te.compute(
        score.shape,
        lambda b, h, i, j: tirx.Select(j <= i + shift, score(b, h, i, j), least),
        name="causal_mask",
    )
