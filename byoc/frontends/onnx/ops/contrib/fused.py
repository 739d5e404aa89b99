"""What ONNX Runtime's optimiser fuses: norms with sums, products with activations, GELUs.

Each is written as the ops that it was made of, which vendors know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const, dtype_of, is_int, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.contrib.signature import taking
from byoc.frontends.onnx.ops.helpers import text_of
from byoc.frontends.onnx.ops.norms import NORMS, statistics
from byoc.frontends.onnx.ops.products import gemm
from byoc.frontends.onnx.ops.windows import conv

__all__ = ["FUSED"]

op = relax.op

_MICROSOFT = "com.microsoft"
_EPSILON = 1e-12


def skip_layer_norm(c: OnnxContext) -> Any:
    """SkipLayerNormalization 1: the norm of input + skip + bias, and that sum."""
    total = _sum(c, c[0], c[1], c[4])
    epsilon = c.attrs.get("epsilon", _EPSILON)
    beta = c[3] if c[3] is not None else _zeros_like(c[2])
    result = op.nn.layer_norm(total, c[2], beta, [-1], epsilon)
    mean, inverse = statistics(c, total, [-1], epsilon)
    return [result, mean, inverse, total][: c.outputs]


def skip_rms_norm(c: OnnxContext) -> Any:
    """SkipSimplifiedLayerNormalization 1: as SkipLayerNormalization, without mean and beta."""
    total = _sum(c, c[0], c[1], c[3])
    epsilon = c.attrs.get("epsilon", _EPSILON)
    result = op.nn.rms_norm(total, c[2], [-1], epsilon)
    return [result, None, _inverse_root(c, total, [-1], epsilon), total][: c.outputs]


def rms_norm(c: OnnxContext) -> Any:
    """SimplifiedLayerNormalization 1: RMSNormalization and, when read, the inverse root."""
    axes = list(range(c.axis(-1) - c[0].ty.ndim, 0))
    epsilon = c.attrs.get("epsilon", 1e-5)
    result = NORMS["", "RMSNormalization"](c)
    return [result, _inverse_root(c, c[0], axes, epsilon)][: c.outputs]


def _inverse_root(c: OnnxContext, data: Any, axes: list[int], epsilon: float) -> Any:
    mean = c.typed(op.mean(c.typed(op.square(data)), axes, keepdims=True))
    return c.typed(op.rsqrt(c.typed(op.add(mean, scalar_like(epsilon, data)))))


def _sum(c: OnnxContext, *values: Any) -> Any:
    """The sum of those that are there."""
    total = values[0]
    for value in values[1:]:
        total = total if value is None else c.emit(op.add(total, value))
    return total


def _zeros_like(value: Any) -> Any:
    return const(np.zeros([int(d) for d in value.ty.shape.values]), dtype_of(value))


def embed_layer_norm(c: OnnxContext) -> Any:
    """EmbedLayerNormalization 1: the norm of the sum of three lookups; how many words a row has."""
    ids, segments, places = c[0], c[1], c[8]
    if (segments is None) != (c[4] is None):
        raise RefusedError("it has one of segment_ids and segment_embedding")
    batch, length = ids.ty.shape.values
    if places is None:
        place = const(np.arange(int(length))) if is_int(length) else op.arange(length)
        where = op.take(c[3], c.emit(place), axis=0, mode="fast")
    else:
        where = op.take(c[3], places, axis=0, mode="fast")
    total = _sum(
        c,
        c.emit(op.take(c[2], ids, axis=0, mode="fast")),
        c.emit(where),
        None if segments is None else c.emit(op.take(c[4], segments, axis=0, mode="fast")),
    )
    result = op.nn.layer_norm(total, c[5], c[6], [-1], c.attrs.get("epsilon", _EPSILON))
    counted = c[7] is not None and c.attrs.get("mask_index_type", 1)
    if counted:
        words = op.astype(c.emit(op.equal(c[7], scalar_like(1, c[7]))), "int32")
        count = op.sum(c.emit(words), 1)
    else:
        count = op.zeros([batch], "int32")
    return [result, count, total][: c.outputs]


def bias_gelu(c: OnnxContext) -> Any:
    """BiasGelu 1."""
    return op.nn.gelu(c.emit(op.add(c[0], c[1])))


def fast_gelu(c: OnnxContext) -> Any:
    """FastGelu 1: by tanh."""
    return op.nn.gelu_tanh(_sum(c, c[0], c[1]))


def quick_gelu(c: OnnxContext) -> Any:
    """QuickGelu 1: x · sigmoid(alpha · x)."""
    alpha = c.attrs.get("alpha", 1.702)
    if alpha == 1:
        return op.nn.silu(c[0])
    gate = c.emit(op.sigmoid(c.emit(op.multiply(c[0], scalar_like(alpha, c[0])))))
    return op.multiply(c[0], gate)


def fused_matmul(c: OnnxContext) -> Any:
    """FusedMatMul 1: alpha · A · B; with `transBatch` the batch lies before the last axis."""
    operands = []
    for value, side in zip(c.inputs, "AB", strict=True):
        rank = value.ty.ndim
        axes = list(range(rank))
        if c.attrs.get(f"transBatch{side}", 0) and rank > 2:
            axes = [*axes[1:-1], 0, axes[-1]]
        if c.attrs.get(f"trans{side}", 0) and rank > 1:
            axes[-2:] = axes[:-3:-1]
        plain = axes == sorted(axes)
        operands.append(value if plain else c.emit(op.permute_dims(value, axes)))
    result = op.matmul(*operands)
    alpha = c.attrs.get("alpha", 1.0)
    return result if alpha == 1 else op.multiply(c.emit(result), scalar_like(alpha, c[0]))


def fused_conv(c: OnnxContext) -> Any:
    """FusedConv 1: activation(convolution + Z)."""
    kind = text_of(c.attrs.pop("activation", None), "")
    params = c.attrs.pop("activation_params", ())
    result = c.emit(conv(c.reading(c.inputs[:3], opset=11, outputs=1)))
    return _activated(c, _sum(c, result, c[3]), kind, params)


def fused_gemm(c: OnnxContext) -> Any:
    """FusedGemm 1: activation(Gemm)."""
    kind = text_of(c.attrs.pop("activation", None), "")
    given = {n: c.attrs.pop(f"activation_{n}", None) for n in ("alpha", "beta", "gamma")}
    params = [v for v in given.values() if v is not None]
    return _activated(c, c.emit(gemm(c)), kind, params)


def _activated(c: OnnxContext, x: Any, kind: str, params: Any) -> Any:
    """The function of that name, as ONNX Runtime spells it, with its parameters in order."""
    if kind not in _ACTIVATIONS:
        raise ValueError(f"its activation {kind!r} is not one of {', '.join(_ACTIVATIONS)}")
    defaults, apply = _ACTIVATIONS[kind]
    if len(params) > len(defaults):
        raise ValueError(f"its activation {kind!r} has {len(params)} parameters")
    return apply(c, x, *params, *defaults[len(params) :])


def _hard_sigmoid(c: OnnxContext, x: Any, alpha: float, beta: float) -> Any:
    scaled = c.emit(op.multiply(x, scalar_like(alpha, x)))
    return op.clip(c.emit(op.add(scaled, scalar_like(beta, x))), 0, 1)


_ACTIVATIONS: Mapping[str, tuple[tuple[float, ...], Callable[..., Any]]] = {
    "": ((), lambda c, x: x),
    "Clip": ((-3.4028234663852886e38, 3.4028234663852886e38), lambda c, x, a, b: op.clip(x, a, b)),
    "HardSigmoid": ((0.2, 0.5), _hard_sigmoid),
    "LeakyRelu": ((0.01,), lambda c, x, a: op.nn.leakyrelu(x, a)),
    "Relu": ((), lambda c, x: op.nn.relu(x)),
    "Sigmoid": ((), lambda c, x: op.sigmoid(x)),
    "Tanh": ((), lambda c, x: op.tanh(x)),
}
"""Name → defaults of its parameters, and what makes it."""

_WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")

FUSED: Mapping[tuple[str, str], Converter] = {
    ("", "SimplifiedLayerNormalization"): taking(
        rms_norm, "X scale", ("axis", "epsilon"), {"stash_type": 1}, outputs=2
    ),
    (_MICROSOFT, "BiasGelu"): taking(bias_gelu, "A B"),
    (_MICROSOFT, "EmbedLayerNormalization"): taking(
        embed_layer_norm,
        "input_ids segment_ids? word_embedding position_embedding segment_embedding? gamma beta "
        "mask? position_ids?",
        ("epsilon", "mask_index_type"),
        outputs=3,
    ),
    (_MICROSOFT, "FastGelu"): taking(fast_gelu, "X bias?"),
    (_MICROSOFT, "FusedConv"): taking(
        fused_conv, "X W B? Z?", (*_WINDOW, "activation", "activation_params")
    ),
    (_MICROSOFT, "FusedGemm"): taking(
        fused_gemm,
        "A B C?",
        ("activation", "activation_alpha", "activation_beta", "activation_gamma", "alpha", "beta",
         "transA", "transB"),
    ),
    (_MICROSOFT, "FusedMatMul"): taking(
        fused_matmul, "A B", ("alpha", "transA", "transB", "transBatchA", "transBatchB")
    ),
    (_MICROSOFT, "Gelu"): taking(lambda c: op.nn.gelu(c[0]), "X"),
    (_MICROSOFT, "QuickGelu"): taking(quick_gelu, "X", ("alpha",)),
    (_MICROSOFT, "SkipLayerNormalization"): taking(
        skip_layer_norm, "input skip gamma beta? bias?", ("epsilon",), outputs=4
    ),
    (_MICROSOFT, "SkipSimplifiedLayerNormalization"): taking(
        skip_rms_norm, "input skip gamma bias?", ("epsilon",), outputs=4
    ),
}  # fmt: skip
"""(domain, operator) → converter."""
