"""Normalisations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.onnx.converters.tools import (
    Attributes,
    Converter,
    Inputs,
    axes_of,
    const,
    is_int,
    scalar_like,
    stock_converter,
)

__all__ = ["NORMS"]


def batch_norm(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """BatchNormalization 1 to 15 at inference."""
    if attrs.get("training_mode", 0) and outputs > 1:
        raise ValueError("it runs in training mode; export the model for inference")
    if attrs.get("spatial", 1) != 1:
        raise ValueError("spatial=0 is not supported")
    if outputs > 1 and opset >= 14:
        raise ValueError("its running statistics are read; export the model for inference")
    attrs.pop("training_mode", None)
    return stock_converter("BatchNormalization")(bb, x, attrs, 15, outputs).fields[0]


def instance_norm(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """InstanceNormalization 6, 22."""
    axes = list(range(2, x[0].ty.ndim))
    return relax.op.nn.instance_norm(
        x[0], x[1], x[2], channel_axis=1, axes=axes, epsilon=attrs.get("epsilon", 1e-5)
    )


def layer_norm(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """LayerNormalization 17: the mean and the inverse deviation are computed when read."""
    data, rank = x[0], x[0].ty.ndim
    (axis,) = axes_of([attrs.get("axis", -1)], rank)
    axes = list(range(axis - rank, 0))
    epsilon = attrs.get("epsilon", 1e-5)
    dtype = str(data.ty.dtype)
    shape = [int(d) for d in x[1].ty.shape]
    gamma, beta = x[1], x[2] if x[2] is not None else const(np.zeros(shape), dtype)
    full = [data.ty.shape[a] for a in axes]
    if [int(d) if is_int(d) else d for d in full] != shape:  # a broadcast scale
        gamma = relax.op.broadcast_to(gamma, full)
        beta = relax.op.broadcast_to(beta, full)
    result = relax.op.nn.layer_norm(data, gamma, beta, axes, epsilon)
    if outputs == 1:
        return result
    average = relax.op.mean(data, axes, keepdims=True)
    spread = relax.op.variance(data, axes, keepdims=True)
    inverse = relax.op.rsqrt(relax.op.add(spread, scalar_like(epsilon, data)))
    return [result, average, inverse]


def rms_norm(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """RMSNormalization 23; over all axes it is spelled out, TVM's kernel cannot."""
    rank = x[0].ty.ndim
    (axis,) = axes_of([attrs.get("axis", -1)], rank)
    if axis:
        return stock_converter("RMSNormalization")(bb, x, attrs, opset, outputs)
    mean = relax.op.mean(relax.op.square(x[0]), list(range(rank)), keepdims=True)
    inverse = relax.op.rsqrt(relax.op.add(mean, scalar_like(attrs.get("epsilon", 1e-5), x[0])))
    return relax.op.multiply(relax.op.multiply(x[0], inverse), x[1])


NORMS: Mapping[tuple[str, str], Converter] = {
    ("", "BatchNormalization"): batch_norm,
    ("", "InstanceNormalization"): instance_norm,
    ("", "LayerNormalization"): layer_norm,
    ("", "RMSNormalization"): rms_norm,
}
"""(domain, operator) → converter."""
