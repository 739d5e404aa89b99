"""Normalisations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext, TrainingError

__all__ = ["NORMS"]

R = relax.op


def _ones(c: TorchContext, size: Any, dtype: str) -> Any:
    return c.emit(R.full([size], c.const(1, dtype), dtype))


def _zeros(c: TorchContext, size: Any, dtype: str) -> Any:
    return c.emit(R.full([size], c.const(0, dtype), dtype))


def batch_norm(
    c: TorchContext,
    /,
    input: Any,  # noqa: A002
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    momentum: float,
    eps: float,
    training: bool = False,
    cudnn_enabled: bool = False,
) -> Any:
    if training or running_mean is None:
        raise TrainingError("batch norm that learns its statistics; call .eval() on the model")
    channels, dtype = c.dims(input)[1], str(running_mean.ty.dtype)
    weight = _ones(c, channels, dtype) if weight is None else weight
    bias = _zeros(c, channels, dtype) if bias is None else bias
    call = R.nn.batch_norm(
        input, weight, bias, running_mean, running_var, axis=1, epsilon=eps, training=False
    )
    result = relax.TupleGetItem(c.builder.emit(c.builder.normalize(call)), 0)
    several = isinstance(c.meta, (tuple, list))
    return (result, *[None] * (len(c.meta) - 1)) if several else result


def norm_without_statistics(
    c: TorchContext, /, input: Any, weight: Any, bias: Any, training: bool, momentum: float,  # noqa: A002
    eps: float,
) -> Any:  # fmt: skip
    """Batch norm of one item by its own statistics, as instance norm is spelled."""
    channels, dtype = c.dims(input)[1], str(input.ty.dtype)
    groups = c.static(channels, "the number of channels of a norm")
    if c.dims(input)[0] != 1:
        raise ValueError("batch norm by the statistics of several items is not imported")
    if any(user.args[1] in (1, 2) for user in c.node.users):
        raise ValueError("the statistics of a batch norm, which training needs, are not computed")
    weight = _ones(c, channels, dtype) if weight is None else weight
    bias = _zeros(c, channels, dtype) if bias is None else bias
    axes = list(range(2, input.ty.ndim))
    result = R.nn.group_norm(input, weight, bias, groups, channel_axis=1, axes=axes, epsilon=eps)
    return result, None, None


def layer_norm(
    c: TorchContext,
    /,
    input: Any,  # noqa: A002
    normalized_shape: Any,
    weight: Any,
    bias: Any,
    eps: float,
    cudnn_enable: bool = False,
) -> Any:
    axes = [-i for i in range(len(normalized_shape), 0, -1)]
    shape, dtype = c.dims(input)[axes[0] :], str(input.ty.dtype)
    if weight is None:
        weight = c.emit(R.full(shape, c.const(1, dtype), dtype))
    if bias is None:
        bias = c.emit(R.full(shape, c.const(0, dtype), dtype))
    result = R.nn.layer_norm(input, weight, bias, axes, eps)
    if not isinstance(c.meta, (tuple, list)):
        return result
    return (result, *_statistics(c, input, axes, eps))


def _statistics(c: TorchContext, x: Any, axes: list[int], eps: float) -> tuple[Any, Any]:
    """Mean and reciprocal deviation, which graphs of training keep; None where nobody reads."""
    if not any(user.args[1] in (1, 2) for user in c.node.users):
        return None, None
    mean = c.emit(R.mean(x, axes, keepdims=True))
    apart = c.emit(R.subtract(x, mean))
    variance = c.emit(R.mean(c.emit(R.multiply(apart, apart)), axes, keepdims=True))
    return mean, c.emit(R.rsqrt(R.add(variance, c.const(eps, str(x.ty.dtype)))))


def group_norm(
    c: TorchContext,
    /,
    input: Any,  # noqa: A002
    num_groups: int,
    weight: Any,
    bias: Any,
    eps: float,
    cudnn_enabled: bool,
) -> Any:
    channels, dtype = c.dims(input)[1], c.dtype
    weight = _ones(c, channels, dtype) if weight is None else weight
    bias = _zeros(c, channels, dtype) if bias is None else bias
    axes = list(range(2, input.ty.ndim))
    return R.nn.group_norm(input, weight, bias, num_groups, channel_axis=1, axes=axes, epsilon=eps)


def native_group_norm(
    c: TorchContext, /, input: Any, weight: Any, bias: Any, N: Any, C: Any, HxW: Any, group: int,  # noqa: A002, N803
    eps: float,
) -> Any:  # fmt: skip
    dtype = str(input.ty.dtype)
    channels = c.dims(input)[1]
    weight = _ones(c, channels, dtype) if weight is None else weight
    bias = _zeros(c, channels, dtype) if bias is None else bias
    axes = list(range(2, input.ty.ndim))
    if any(user.args[1] in (1, 2) for user in c.node.users):
        raise ValueError("the statistics of a group norm, which training needs, are not computed")
    result = R.nn.group_norm(input, weight, bias, group, channel_axis=1, axes=axes, epsilon=eps)
    return result, None, None


NORMS: Mapping[str, Converter] = {
    "_native_batch_norm_legit.default": batch_norm,
    "_native_batch_norm_legit.no_stats": norm_without_statistics,
    "_native_batch_norm_legit_functional.default": batch_norm,
    "_native_batch_norm_legit_no_training.default": batch_norm,
    "batch_norm.default": batch_norm,
    "group_norm.default": group_norm,
    "layer_norm.default": layer_norm,
    "native_batch_norm.default": batch_norm,
    "native_group_norm.default": native_group_norm,
    "native_layer_norm.default": layer_norm,
}
"""ATen operator, as "name.overload" → converter."""
