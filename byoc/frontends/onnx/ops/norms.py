"""Normalisations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.fitting.dims import proved_equal
from byoc.frontends.helpers import const, dtype_of, is_int, scalar_like
from byoc.frontends.onnx.context import OnnxContext

__all__ = ["NORMS", "statistics"]


def batch_norm(c: OnnxContext) -> Any:
    """BatchNormalization 1 to 15; `training_mode` of 14 and 15 takes the batch's statistics."""
    if c.attrs.get("spatial", 1) != 1:
        raise ValueError("spatial=0 is not supported")
    if c.opset >= 14 and c.attrs.get("training_mode", 0):
        return _of_the_batch(c)
    if c.outputs > 1 and c.opset >= 14:
        raise ValueError("its running statistics are read; export the model for inference")
    c.attrs.pop("training_mode", None)
    return c.reading(c.inputs, opset=15).stock("BatchNormalization").fields[0]


def _of_the_batch(c: OnnxContext) -> Any:
    """The data by its own mean and variance, and the running ones moved towards these."""
    data, op, rank = c[0], relax.op, c[0].ty.ndim
    axes, shape = [a for a in range(rank) if a != 1], [1, -1, *[1] * (rank - 2)]
    mean = c.emit(op.mean(data, axes, keepdims=True))
    variance = c.emit(op.variance(data, axes, keepdims=True))
    epsilon = scalar_like(c.attrs.get("epsilon", 1e-5), data)
    inverse = c.emit(op.rsqrt(c.emit(op.add(variance, epsilon))))
    scale, shift = (c.emit(op.reshape(v, shape)) for v in c.inputs[1:3])
    if dtype_of(scale) != dtype_of(data):
        scale, shift = (c.emit(op.astype(v, dtype_of(data))) for v in (scale, shift))
    y = c.emit(op.multiply(c.emit(op.subtract(data, mean)), c.emit(op.multiply(inverse, scale))))
    results = [op.add(y, shift)]
    momentum = float(c.attrs.get("momentum", 0.9))
    for before, now in zip(c.inputs[3:5], (mean, variance), strict=True):
        flat = c.emit(op.astype(c.emit(op.reshape(now, [-1])), dtype_of(before)))
        old = c.emit(op.multiply(before, scalar_like(momentum, before)))
        results.append(op.add(old, c.emit(op.multiply(flat, scalar_like(1 - momentum, before)))))
    return results[: c.outputs]


def instance_norm(c: OnnxContext) -> Any:
    """InstanceNormalization 6, 22."""
    axes = list(range(2, c[0].ty.ndim))
    return relax.op.nn.instance_norm(
        c[0], c[1], c[2], channel_axis=1, axes=axes, epsilon=c.attrs.get("epsilon", 1e-5)
    )


def layer_norm(c: OnnxContext) -> Any:
    """LayerNormalization 17: the mean and the inverse deviation are computed when read."""
    data, rank = c[0], c[0].ty.ndim
    axis = c.axis(-1)
    axes = list(range(axis - rank, 0))
    epsilon = c.attrs.get("epsilon", 1e-5)
    dtype = str(data.ty.dtype)
    full = [data.ty.shape[a] for a in axes]
    gamma = c[1]
    beta = c[2] if c[2] is not None else _zeros(c, gamma, dtype)
    gamma, beta = (v if _is_row(v, full) else relax.op.broadcast_to(v, full) for v in (gamma, beta))
    result = relax.op.nn.layer_norm(data, gamma, beta, axes, epsilon)
    if c.outputs == 1:
        return result
    return [result, *statistics(c, data, axes, epsilon)]


def _zeros(c: OnnxContext, like: Any, dtype: str) -> Any:
    dims = list(like.ty.shape.values)
    if all(map(is_int, dims)):
        return const(np.zeros([int(d) for d in dims]), dtype)
    return c.emit(relax.op.zeros(relax.ShapeExpr(dims), dtype))


def _is_row(parameter: Any, full: list[Any]) -> bool:
    """Whether a parameter has the shape of a row; `broadcast_to` checks or repeats another."""
    dims = list(parameter.ty.shape.values)
    return len(dims) == len(full) and all(map(proved_equal, dims, full))


def statistics(c: OnnxContext, data: Any, axes: list[int], epsilon: float) -> tuple[Any, Any]:
    """The mean over some axes, which stay, and the inverse of the deviation.

    Args:
        c: The operator's context.
        data: The tensor.
        axes: The axes.
        epsilon: What is added to the variance.
    """
    average = c.typed(relax.op.mean(data, axes, keepdims=True))
    spread = c.typed(relax.op.variance(data, axes, keepdims=True))
    inverse = c.typed(relax.op.rsqrt(c.typed(relax.op.add(spread, scalar_like(epsilon, data)))))
    return average, inverse


def rms_norm(c: OnnxContext) -> Any:
    """RMSNormalization 23; over all axes it is spelled out, TVM's kernel cannot."""
    rank = c[0].ty.ndim
    axis = c.axis(-1)
    if axis:
        return c.stock("RMSNormalization")
    mean = relax.op.mean(relax.op.square(c[0]), list(range(rank)), keepdims=True)
    inverse = relax.op.rsqrt(relax.op.add(mean, scalar_like(c.attrs.get("epsilon", 1e-5), c[0])))
    return relax.op.multiply(relax.op.multiply(c[0], inverse), c[1])


def lrn(c: OnnxContext) -> Any:
    """LRN 1, 13: x / (bias + alpha · mean of x² over the channels around) ^ beta, as TVM spells it.

    An even number of channels reaches one further up. Squares of halves are taken in float32.
    """
    data, op = c[0], relax.op
    size, rank = int(c.attrs["size"]), data.ty.ndim
    if rank not in (3, 4):
        raise ValueError(f"of {rank} dimensions; 3 and 4 are supported")
    dtype = dtype_of(data)
    wide = c.emit(op.astype(data, "float32")) if dtype in ("float16", "bfloat16") else data
    below = (size - 1) // 2
    pads = [[below, *[0] * (rank - 2)], [size - 1 - below, *[0] * (rank - 2)]]
    pool = op.nn.avg_pool2d if rank == 3 else op.nn.avg_pool3d
    squares = c.emit(op.expand_dims(c.emit(op.multiply(wide, wide)), 1))
    window = (size, *[1] * (rank - 2))
    mean = pool(squares, window, padding=[*pads[0], *pads[1]], count_include_pad=True)
    mean = c.emit(op.squeeze(c.emit(mean), 1))
    alpha, beta, bias = (
        scalar_like(c.attrs.get(n, d), wide)
        for n, d in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    scale = c.emit(op.add(c.emit(op.multiply(mean, alpha)), bias))
    result = op.divide(wide, c.emit(op.power(scale, beta)))
    return result if wide is data else op.astype(c.emit(result), dtype)


NORMS: Mapping[tuple[str, str], Converter] = {
    ("", "BatchNormalization"): batch_norm,
    ("", "InstanceNormalization"): instance_norm,
    ("", "LRN"): lrn,
    ("", "LayerNormalization"): layer_norm,
    ("", "RMSNormalization"): rms_norm,
}
"""(domain, operator) → converter."""
