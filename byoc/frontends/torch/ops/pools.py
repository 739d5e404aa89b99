"""Pools: maxima and averages of windows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext
from byoc.frontends.torch.ops.helpers import LAYOUTS, batched, each

__all__ = ["POOLS"]

R = relax.op


def _pool_args(rank: int, kernel: Any, stride: Any, padding: Any) -> dict[str, Any]:
    size = each(kernel, rank)
    return {
        "pool_size": size,
        "strides": each(stride, rank) if stride else size,
        "padding": each(padding, rank) * 2,
        "layout": LAYOUTS[rank][0],
    }


_MAX_POOL = {1: R.nn.max_pool1d, 2: R.nn.max_pool2d, 3: R.nn.max_pool3d}
_AVG_POOL = {1: R.nn.avg_pool1d, 2: R.nn.avg_pool2d, 3: R.nn.avg_pool3d}


def _spatial(name: str) -> int:
    """2 for "max_pool2d_with_indices.default"."""
    return next(int(n) for n in "123" if f"{n}d" in name)


def max_pool(
    c: TorchContext, /, self: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool,
) -> Any:  # fmt: skip
    rank = _spatial(c.node.target.__name__)
    x, alone = batched(c, self, rank)
    args = _pool_args(rank, kernel_size, stride, padding)
    _check_ceil(c, x, args, each(dilation, rank), ceil_mode)
    result = _MAX_POOL[rank](x, dilation=each(dilation, rank), ceil_mode=ceil_mode, **args)
    if alone:
        result = R.squeeze(c.emit(result), [0])
    return (result, None) if isinstance(c.meta, (tuple, list)) else result


def avg_pool(
    c: TorchContext,
    /,
    self: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Any:
    rank = _spatial(c.node.target.__name__)
    x, alone = batched(c, self, rank)
    args = _pool_args(rank, kernel_size, stride, padding)
    if "float" not in c.dtype:
        raise ValueError(f"average pooling of whole numbers ({c.dtype})")
    if ceil_mode and _hangs_over(c, x, args, [1] * rank):
        raise ValueError("average pooling with ceil_mode whose last window hangs over the border")
    include = count_include_pad or divisor_override is not None
    result = _AVG_POOL[rank](x, count_include_pad=include, **args)
    if divisor_override is not None:
        factor = math.prod(args["pool_size"]) / divisor_override
        result = R.multiply(c.emit(result), c.const(factor, c.dtype))
    return R.squeeze(c.emit(result), [0]) if alone else result


def _hangs_over(c: TorchContext, x: Any, args: dict[str, Any], dilation: list[int]) -> bool:
    """True when windows do not end with the padded input: rounding up adds a partial one."""
    rank = len(dilation)
    for i, size in enumerate(c.dims(x)[-rank:]):
        reach = dilation[i] * (args["pool_size"][i] - 1) + 1
        rest = c.static(size, "the size of what is pooled with ceil_mode")
        if (rest + 2 * args["padding"][i] - reach) % args["strides"][i]:
            return True
    return False


def _check_ceil(
    c: TorchContext, x: Any, args: dict[str, Any], dilation: list[int], ceil_mode: bool
) -> None:
    """torch drops a last window that would begin in the padding; TVM keeps it."""
    if not ceil_mode:
        return
    rank = len(dilation)
    for i, size in enumerate(c.dims(x)[-rank:]):
        whole = c.static(size, "the size of what is pooled with ceil_mode")
        reach = dilation[i] * (args["pool_size"][i] - 1) + 1
        pad, stride = args["padding"][i], args["strides"][i]
        count = -(-(whole + 2 * pad - reach) // stride) + 1
        if (count - 1) * stride >= whole + pad:
            raise ValueError("max pooling with ceil_mode whose last window begins in the padding")


def adaptive_max_pool(c: TorchContext, /, self: Any, output_size: Any) -> Any:
    rank = _spatial(c.node.target.__name__)
    wanted = [c.static(s, "the size that adaptive pooling gives") for s in output_size]
    x, alone = batched(c, self, rank)
    sizes = [c.static(s, "the size that adaptive pooling takes") for s in c.dims(x)[-rank:]]
    if any(s % w for s, w in zip(sizes, wanted, strict=True)):
        raise ValueError(f"adaptive max pooling from {sizes} to {wanted}: no multiple")
    window = [s // w for s, w in zip(sizes, wanted, strict=True)]
    result = _MAX_POOL[rank](x, **_pool_args(rank, window, window, [0]))
    return R.squeeze(c.emit(result), [0]) if alone else result, None


def adaptive_avg_pool(c: TorchContext, /, self: Any, output_size: Any) -> Any:
    rank = _spatial(c.node.target.__name__)
    wanted = [c.static(s, "the size that adaptive pooling gives") for s in output_size]
    if all(s == 1 for s in wanted):
        return R.mean(self, list(range(-rank, 0)), keepdims=True)
    x, alone = batched(c, self, rank)
    sizes = [c.static(s, "the size that adaptive pooling takes") for s in c.dims(x)[-rank:]]
    if all(s % w == 0 for s, w in zip(sizes, wanted, strict=True)):
        window = [s // w for s, w in zip(sizes, wanted, strict=True)]
        result = _AVG_POOL[rank](x, **_pool_args(rank, window, window, [0]))
    else:
        adaptive = (R.nn.adaptive_avg_pool1d, R.nn.adaptive_avg_pool2d, R.nn.adaptive_avg_pool3d)
        result = adaptive[rank - 1](x, wanted)
    return R.squeeze(c.emit(result), [0]) if alone else result


POOLS: Mapping[str, Converter] = {
    "_adaptive_avg_pool2d.default": adaptive_avg_pool,
    "_adaptive_avg_pool3d.default": adaptive_avg_pool,
    "adaptive_avg_pool1d.default": adaptive_avg_pool,
    "adaptive_avg_pool2d.default": adaptive_avg_pool,
    "adaptive_avg_pool3d.default": adaptive_avg_pool,
    "adaptive_max_pool1d.default": adaptive_max_pool,
    "adaptive_max_pool2d.default": adaptive_max_pool,
    "adaptive_max_pool3d.default": adaptive_max_pool,
    "avg_pool1d.default": avg_pool,
    "avg_pool2d.default": avg_pool,
    "avg_pool3d.default": avg_pool,
    "max_pool1d.default": max_pool,
    "max_pool2d.default": max_pool,
    "max_pool2d_with_indices.default": max_pool,
    "max_pool3d.default": max_pool,
    "max_pool3d_with_indices.default": max_pool,
}
"""ATen operator, as "name.overload" → converter."""
