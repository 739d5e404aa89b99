"""Large ops as smaller ones that have good kernels.

attention(q, k, v, bias):   [B, S, H, D] each
    s = (q as [B, H, S, D]) @ (k as [B, H, D, T]) * scale + bias, masked
    y = softmax(s) @ (v as [B, H, T, E]), back to [B, S, H, E]
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import tvm
from tvm import relax, te, tirx

__all__ = ["decompose"]

_ATTENTION = ("relax.nn.attention", "relax.nn.attention_bias")


def decompose(mod: tvm.IRModule) -> tvm.IRModule:
    """Replace attention by products and a softmax, wherever it stands."""
    mutator = _Decompose(mod)
    found = False
    for gv, func in mod.functions_items():
        if isinstance(func, relax.Function) and _has_attention(func):
            found = True
            mutator.builder_.update_func(gv, mutator.visit_expr(func))
    return mutator.builder_.finalize() if found else mod


def _has_attention(func: relax.Function) -> bool:
    found = False

    def visit(expr: Any) -> None:
        nonlocal found
        if isinstance(expr, tvm.ir.Call):
            found = found or getattr(expr.op, "name", "") in _ATTENTION

    relax.analysis.post_order_visit(func, visit)
    return found


@relax.expr_functor.mutator
class _Decompose(relax.PyExprMutator):  # type: ignore[misc]
    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if getattr(call.op, "name", "") not in _ATTENTION or call.attrs.window_size is not None:
            return call
        return self._attention(call)

    def _attention(self, call: Any) -> Any:
        op, emit = relax.op, self.builder_.emit
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
        y = emit(op.matmul(weights, v))
        return op.permute_dims(y, [0, 2, 1, 3])


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
