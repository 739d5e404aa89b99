"""Activations, soft maxima, dropout at inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext, TrainingError
from byoc.frontends.torch.ops.elementwise import clipped

__all__ = ["ACTIVATIONS"]

R = relax.op

_NO_THRESHOLD = 1e30


def gelu(c: TorchContext, /, self: Any, approximate: str) -> Any:
    return R.nn.gelu(self) if approximate == "none" else R.nn.gelu_tanh(self)


def hardsigmoid(c: TorchContext, /, self: Any) -> Any:
    sixth = R.multiply(self, c.const(1 / 6, c.dtype))
    return R.clip(c.emit(R.add(sixth, c.const(0.5, c.dtype))), 0, 1)


def hardswish(c: TorchContext, /, self: Any) -> Any:
    return R.multiply(self, c.emit(hardsigmoid(c, self)))


def hardtanh(c: TorchContext, /, self: Any, min_val: Any, max_val: Any) -> Any:
    return clipped(c, self, min_val, max_val)


def leaky_relu(c: TorchContext, /, self: Any, negative_slope: float) -> Any:
    return R.nn.leakyrelu(self, float(negative_slope))


def elu(c: TorchContext, /, self: Any, alpha: float, scale: float, input_scale: float) -> Any:
    zero = c.const(0, c.dtype)
    low = c.emit(R.minimum(self, zero))
    low = c.emit(R.multiply(low, c.const(input_scale, c.dtype)))
    low = c.emit(R.subtract(R.exp(low), c.const(1, c.dtype)))
    low = c.emit(R.multiply(low, c.const(alpha * scale, c.dtype)))
    high = c.emit(R.multiply(c.emit(R.maximum(self, zero)), c.const(scale, c.dtype)))
    return R.add(high, low)


def celu(c: TorchContext, /, self: Any, alpha: float) -> Any:
    return elu(c, self, alpha, 1.0, 1.0 / alpha)


def selu(c: TorchContext, /, self: Any) -> Any:
    return elu(c, self, 1.6732632423543772, 1.0507009873554805, 1.0)


def softplus(c: TorchContext, /, self: Any, beta: float, threshold: float) -> Any:
    return R.nn.softplus(self, float(beta), float(threshold))


def log_sigmoid(c: TorchContext, /, self: Any) -> Any:
    """-softplus(-x)."""
    soft = R.nn.softplus(c.emit(R.negative(self)), 1.0, _NO_THRESHOLD)
    result = R.negative(c.emit(soft))
    return (result, None) if isinstance(c.meta, (tuple, list)) else result


def mish(c: TorchContext, /, self: Any) -> Any:
    return R.multiply(self, c.emit(R.tanh(c.emit(R.nn.softplus(self)))))


def prelu(c: TorchContext, /, self: Any, weight: Any) -> Any:
    rank = self.ty.ndim
    if weight.ty.ndim == 1:
        shape = [1] * rank
        if rank > 1:
            shape[1] = c.dims(weight)[0]
        weight = c.emit(R.reshape(weight, shape if rank else [1]))
    zero = c.const(0, c.dtype)
    low = c.emit(R.multiply(weight, c.emit(R.minimum(self, zero))))
    return R.add(c.emit(R.maximum(self, zero)), low)


def softmax(c: TorchContext, /, self: Any, dim: int, half_to_float: bool) -> Any:
    return _along(c, R.nn.softmax, c.cast(self, c.dtype), dim)


def _along(c: TorchContext, function: Any, x: Any, dim: int) -> Any:
    """A function along an axis; scalars have one of length 1."""
    if x.ty.ndim:
        return function(x, dim)
    return R.reshape(c.emit(function(c.emit(R.reshape(x, [1])), 0)), [])


def softmax_int(c: TorchContext, /, self: Any, dim: int, dtype: Any) -> Any:
    x = c.cast(self, c.dtype)
    result = _along(c, R.nn.softmax, x, dim)
    if c.node.target.__name__.startswith("softmax"):
        return result
    hidden = c.emit(R.equal(x, c.const(-np.inf, c.dtype)))
    all_hidden = c.emit(R.min(c.emit(R.astype(hidden, "int32")), [dim], keepdims=True))
    none = c.emit(R.not_equal(all_hidden, c.const(0, "int32")))
    return R.where(none, c.const(0, c.dtype), c.emit(result))


def log_softmax(c: TorchContext, /, self: Any, dim: int, half_to_float: bool) -> Any:
    return _along(c, R.nn.log_softmax, c.cast(self, c.dtype), dim)


def log_softmax_int(c: TorchContext, /, self: Any, dim: int, dtype: Any) -> Any:
    return _along(c, R.nn.log_softmax, c.cast(self, c.dtype), dim)


def dropout(c: TorchContext, /, input: Any, p: float, train: Any) -> Any:  # noqa: A002
    if train and p:
        raise TrainingError("dropout in training mode is random; call .eval() on the model")
    if isinstance(c.meta, (tuple, list)):
        return input, R.full(c.dims(input), c.const(True, "bool"), "bool")
    return input


ACTIVATIONS: Mapping[str, Converter] = {
    "_log_softmax.default": log_softmax,
    "_prelu_kernel.default": prelu,
    "_safe_softmax.default": softmax_int,
    "_softmax.default": softmax,
    "celu.default": celu,
    "dropout.default": dropout,
    "elu.default": elu,
    "gelu.default": gelu,
    "hardsigmoid.default": hardsigmoid,
    "hardswish.default": hardswish,
    "hardtanh.default": hardtanh,
    "leaky_relu.default": leaky_relu,
    "log_sigmoid.default": log_sigmoid,
    "log_sigmoid_forward.default": log_sigmoid,
    "log_softmax.int": log_softmax_int,
    "mish.default": mish,
    "native_dropout.default": dropout,
    "prelu.default": prelu,
    "selu.default": selu,
    "softmax.int": softmax_int,
    "softplus.default": softplus,
}
"""ATen operator, as "name.overload" → converter."""
