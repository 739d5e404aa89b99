"""Convolutions, products, norms, pools, attention, resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.normalise.tensors import to_numpy
from byoc.frontends.torch.context import Context
from byoc.frontends.torch.registry import op

__all__: list[str] = []

R = relax.op

_LAYOUTS = {1: ("NCW", "OIW", "IOW"), 2: ("NCHW", "OIHW", "IOHW"), 3: ("NCDHW", "OIDHW", "IODHW")}
_CONV = {1: R.nn.conv1d, 2: R.nn.conv2d, 3: R.nn.conv3d}
_TRANSPOSED = {1: R.nn.conv1d_transpose, 2: R.nn.conv2d_transpose, 3: R.nn.conv3d_transpose}


def _each(value: Sequence[int], rank: int) -> list[int]:
    """One number for every spatial axis: torch lets one stand for all."""
    numbers = [int(v) for v in value]
    return numbers * rank if len(numbers) == 1 else numbers


def _batched(c: Context, x: Any, rank: int) -> Any:
    """Pools and convolutions also take one item without its batch axis."""
    if x.ty.ndim == rank + 1:
        return c.emit(R.expand_dims(x, 0)), True
    return x, False


@op("convolution.default", "conv1d.default", "conv2d.default", "conv3d.default",
    "conv_transpose1d.default", "conv_transpose2d.input", "conv_transpose3d.input")  # fmt: skip
def convolution(
    c: Context,
    /,
    input: Any,  # noqa: A002
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    transposed: bool | None = None,
    output_padding: Any = (0,),
) -> Any:
    if transposed is None:
        transposed = "transpose" in c.node.target.__name__
    rank = weight.ty.ndim - 2
    x, alone = _batched(c, input, rank)
    pads = _each(padding, rank) * 2
    options = {
        "strides": _each(stride, rank), "padding": pads, "dilation": _each(dilation, rank),
        "groups": groups, "data_layout": _LAYOUTS[rank][0],
    }  # fmt: skip
    if transposed:
        options |= {"output_padding": _each(output_padding, rank)}
        layout = _LAYOUTS[rank][2]
        result = c.emit(_TRANSPOSED[rank](x, weight, kernel_layout=layout, **options))
    else:
        layout = _LAYOUTS[rank][1]
        result = c.emit(_CONV[rank](x, weight, kernel_layout=layout, **options))
    if bias is not None:
        whole = c.emit(R.reshape(bias, [1, c.dims(bias)[0], *[1] * rank]))
        result = c.emit(R.add(result, whole))
    return R.squeeze(result, [0]) if alone else result


# -- products


@op("mm.default", "bmm.default", "matmul.default")
def matmul(c: Context, /, self: Any, other: Any = None, mat2: Any = None) -> Any:
    return R.matmul(self, other if other is not None else mat2)


@op("mv.default", "dot.default")
def product(c: Context, /, self: Any, vec: Any = None, tensor: Any = None) -> Any:
    return R.matmul(self, vec if vec is not None else tensor)


@op("linear.default")
def linear(c: Context, /, input: Any, weight: Any, bias: Any) -> Any:  # noqa: A002
    result = R.matmul(input, c.emit(R.permute_dims(weight)))
    return result if bias is None else R.add(c.emit(result), bias)


@op("addbmm.default")
def addbmm(c: Context, /, self: Any, batch1: Any, batch2: Any, beta: float, alpha: float) -> Any:
    whole = c.emit(R.sum(c.emit(R.matmul(batch1, batch2)), [0]))
    return _weighted(c, self, whole, beta, alpha)


@op("addmm.default", "baddbmm.default")
def addmm(
    c: Context,
    /,
    self: Any,
    mat1: Any = None,
    mat2: Any = None,
    beta: float = 1,
    alpha: float = 1,
    batch1: Any = None,
    batch2: Any = None,
) -> Any:
    a, b = (mat1, mat2) if mat1 is not None else (batch1, batch2)
    return _weighted(c, self, c.emit(R.matmul(a, b)), beta, alpha)


def _weighted(c: Context, x: Any, product: Any, beta: float, alpha: float) -> Any:
    """beta · x + alpha · product; with beta 0 what x holds does not matter."""
    if alpha != 1:
        product = c.emit(R.multiply(product, c.const(alpha, c.dtype)))
    if beta == 0:
        return product
    if beta != 1:
        x = c.emit(R.multiply(x, c.const(beta, c.dtype)))
    return R.add(product, x)


# -- norms


def _ones(c: Context, size: Any, dtype: str) -> Any:
    return c.emit(R.full([size], c.const(1, dtype), dtype))


def _zeros(c: Context, size: Any, dtype: str) -> Any:
    return c.emit(R.full([size], c.const(0, dtype), dtype))


@op("batch_norm.default", "_native_batch_norm_legit_no_training.default",
    "_native_batch_norm_legit.default", "_native_batch_norm_legit_functional.default",
    "native_batch_norm.default")  # fmt: skip
def batch_norm(
    c: Context,
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
        raise ValueError("batch norm that learns its statistics; call .eval() on the model")
    channels, dtype = c.dims(input)[1], str(running_mean.ty.dtype)
    weight = _ones(c, channels, dtype) if weight is None else weight
    bias = _zeros(c, channels, dtype) if bias is None else bias
    call = R.nn.batch_norm(
        input, weight, bias, running_mean, running_var, axis=1, epsilon=eps, training=False
    )
    result = relax.TupleGetItem(c.builder.emit(c.builder.normalize(call)), 0)
    several = isinstance(c.meta, (tuple, list))
    return (result, *[None] * (len(c.meta) - 1)) if several else result


@op("layer_norm.default", "native_layer_norm.default")
def layer_norm(
    c: Context,
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


def _statistics(c: Context, x: Any, axes: list[int], eps: float) -> tuple[Any, Any]:
    """Mean and reciprocal deviation, which graphs of training keep; None where nobody reads."""
    if not any(user.args[1] in (1, 2) for user in c.node.users):
        return None, None
    mean = c.emit(R.mean(x, axes, keepdims=True))
    apart = c.emit(R.subtract(x, mean))
    variance = c.emit(R.mean(c.emit(R.multiply(apart, apart)), axes, keepdims=True))
    return mean, c.emit(R.rsqrt(R.add(variance, c.const(eps, str(x.ty.dtype)))))


@op("group_norm.default")
def group_norm(
    c: Context,
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


@op("native_group_norm.default")
def native_group_norm(
    c: Context, /, input: Any, weight: Any, bias: Any, N: Any, C: Any, HxW: Any, group: int,  # noqa: A002, N803
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


# -- pools


def _pool_args(rank: int, kernel: Any, stride: Any, padding: Any) -> dict[str, Any]:
    size = _each(kernel, rank)
    return {
        "pool_size": size,
        "strides": _each(stride, rank) if stride else size,
        "padding": _each(padding, rank) * 2,
        "layout": _LAYOUTS[rank][0],
    }


_MAX_POOL = {1: R.nn.max_pool1d, 2: R.nn.max_pool2d, 3: R.nn.max_pool3d}
_AVG_POOL = {1: R.nn.avg_pool1d, 2: R.nn.avg_pool2d, 3: R.nn.avg_pool3d}


def _spatial(name: str) -> int:
    """2 for "max_pool2d_with_indices.default"."""
    return next(int(n) for n in "123" if f"{n}d" in name)


@op("max_pool1d.default", "max_pool2d.default", "max_pool3d.default",
    "max_pool2d_with_indices.default", "max_pool3d_with_indices.default")  # fmt: skip
def max_pool(
    c: Context, /, self: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool,
) -> Any:  # fmt: skip
    rank = _spatial(c.node.target.__name__)
    x, alone = _batched(c, self, rank)
    args = _pool_args(rank, kernel_size, stride, padding)
    _check_ceil(c, x, args, _each(dilation, rank), ceil_mode)
    result = _MAX_POOL[rank](x, dilation=_each(dilation, rank), ceil_mode=ceil_mode, **args)
    if alone:
        result = R.squeeze(c.emit(result), [0])
    return (result, None) if isinstance(c.meta, (tuple, list)) else result


@op("avg_pool1d.default", "avg_pool2d.default", "avg_pool3d.default")
def avg_pool(
    c: Context,
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
    x, alone = _batched(c, self, rank)
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


def _hangs_over(c: Context, x: Any, args: dict[str, Any], dilation: list[int]) -> bool:
    """True when windows do not end with the padded input: rounding up adds a partial one."""
    rank = len(dilation)
    for i, size in enumerate(c.dims(x)[-rank:]):
        reach = dilation[i] * (args["pool_size"][i] - 1) + 1
        rest = c.static(size, "the size of what is pooled with ceil_mode")
        if (rest + 2 * args["padding"][i] - reach) % args["strides"][i]:
            return True
    return False


def _check_ceil(
    c: Context, x: Any, args: dict[str, Any], dilation: list[int], ceil_mode: bool
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


@op("adaptive_max_pool1d.default", "adaptive_max_pool2d.default", "adaptive_max_pool3d.default")
def adaptive_max_pool(c: Context, /, self: Any, output_size: Any) -> Any:
    rank = _spatial(c.node.target.__name__)
    wanted = [c.static(s, "the size that adaptive pooling gives") for s in output_size]
    x, alone = _batched(c, self, rank)
    sizes = [c.static(s, "the size that adaptive pooling takes") for s in c.dims(x)[-rank:]]
    if any(s % w for s, w in zip(sizes, wanted, strict=True)):
        raise ValueError(f"adaptive max pooling from {sizes} to {wanted}: no multiple")
    window = [s // w for s, w in zip(sizes, wanted, strict=True)]
    result = _MAX_POOL[rank](x, **_pool_args(rank, window, window, [0]))
    return R.squeeze(c.emit(result), [0]) if alone else result, None


@op("adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default", "adaptive_avg_pool3d.default",
    "_adaptive_avg_pool2d.default", "_adaptive_avg_pool3d.default")  # fmt: skip
def adaptive_avg_pool(c: Context, /, self: Any, output_size: Any) -> Any:
    rank = _spatial(c.node.target.__name__)
    wanted = [c.static(s, "the size that adaptive pooling gives") for s in output_size]
    if all(s == 1 for s in wanted):
        return R.mean(self, list(range(-rank, 0)), keepdims=True)
    x, alone = _batched(c, self, rank)
    sizes = [c.static(s, "the size that adaptive pooling takes") for s in c.dims(x)[-rank:]]
    if all(s % w == 0 for s, w in zip(sizes, wanted, strict=True)):
        window = [s // w for s, w in zip(sizes, wanted, strict=True)]
        result = _AVG_POOL[rank](x, **_pool_args(rank, window, window, [0]))
    else:
        adaptive = (R.nn.adaptive_avg_pool1d, R.nn.adaptive_avg_pool2d, R.nn.adaptive_avg_pool3d)
        result = adaptive[rank - 1](x, wanted)
    return R.squeeze(c.emit(result), [0]) if alone else result


# -- attention


@op("scaled_dot_product_attention.default", "_scaled_dot_product_flash_attention_for_cpu.default",
    "_scaled_dot_product_attention_math.default")  # fmt: skip
def attention(
    c: Context,
    /,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    dropout_mask: Any = None,
) -> Any:
    """softmax(Q · Kᵀ · scale + mask) · V; a row whose mask hides all is 0, as in torch."""
    if dropout_p:
        raise ValueError("attention with dropout is random; call .eval() on the model")
    if enable_gqa:
        heads = c.static(c.dims(query)[-3], "the number of heads")
        key, value = (_repeat_heads(c, t, heads) for t in (key, value))
    dtype = str(query.ty.dtype)
    depth = c.dims(query)[-1]
    factor = scale if scale is not None else 1 / math.sqrt(c.static(depth, "the size of a head"))
    mask, shown = attn_mask, None
    if is_causal:
        mask = c.const(_causal(c, query, key), "bool")
    if mask is not None:
        mask, shown = _additive(c, mask, dtype)
    result = None
    if shown is not None:
        result = _whole(c, query, key, value, mask, shown, factor)
    if result is None:
        result = _spelled(c, query, key, value, mask, shown, factor)
    return (result, None) if isinstance(c.meta, (tuple, list)) else result


def _repeat_heads(c: Context, x: Any, heads: int) -> Any:
    own = c.static(c.dims(x)[-3], "the number of heads")
    return x if own == heads else c.emit(R.repeat(x, heads // own, axis=x.ty.ndim - 3))


def _causal(c: Context, query: Any, key: Any) -> Any:
    rows, columns = (c.static(c.dims(t)[-2], "the length under a causal mask")
                     for t in (query, key))  # fmt: skip
    return np.tril(np.ones((rows, columns), bool))


def _additive(c: Context, mask: Any, dtype: str) -> tuple[Any, Any]:
    """The mask as a term of the scores, and which rows show anything (None: all do)."""
    if isinstance(mask, GenericConst):
        array = to_numpy(mask.value)
        kept = array if array.dtype == np.bool_ else array > -np.inf
        term = np.where(array, 0, -np.inf) if array.dtype == np.bool_ else array
        if kept.any(axis=-1).all():
            return c.const(term, dtype), None
    low = c.const(-np.inf, dtype)
    if str(mask.ty.dtype) == "bool":
        kept = c.emit(R.max(c.emit(R.astype(mask, "int32")), [-1], keepdims=True))
        shown = c.emit(R.greater(kept, c.const(0, "int32")))
        return c.emit(R.where(mask, c.const(0, dtype), low)), shown
    shown = c.emit(R.greater(c.emit(R.max(mask, [-1], keepdims=True)), low))
    return mask, shown


def _spelled(
    c: Context, query: Any, key: Any, value: Any, mask: Any, shown: Any, factor: float
) -> Any:
    dtype = str(query.ty.dtype)
    axes = [*range(key.ty.ndim - 2), key.ty.ndim - 1, key.ty.ndim - 2]
    scores = c.emit(R.matmul(query, c.emit(R.permute_dims(key, axes))))
    scores = c.emit(R.multiply(scores, c.const(factor, dtype)))
    if mask is not None:
        scores = c.emit(R.add(scores, mask))
    weights = c.emit(R.nn.softmax(scores, -1))
    result = c.emit(R.matmul(weights, value))
    return result if shown is None else R.where(shown, result, c.const(0, dtype))


def _whole(
    c: Context, query: Any, key: Any, value: Any, mask: Any, shown: Any, factor: float
) -> Any:
    """As one op on [B,S,H,D]; None where its rules are not met."""
    dtype = str(query.ty.dtype)
    if dtype != "float32" or any(t.ty.ndim != 4 for t in (query, key, value)):
        return None
    q, k, v = c.dims(query), c.dims(key), c.dims(value)
    scores = [q[0], q[1], q[2], k[2]]
    if not all(map(_same, [*q[:2], *k[:2]], [*k[:2], *v[:2]])):
        return None
    full = [1] * (4 - mask.ty.ndim) + c.dims(mask)
    fits = [_same(have, 1) or _same(have, want) for have, want in zip(full, scores, strict=True)]
    if not all(fits) or not _same(full[3], scores[3]):
        return None
    swap = [0, 2, 1, 3]
    parts = [c.emit(R.permute_dims(t, swap)) for t in (query, key, value)]
    if mask.ty.ndim != 4:
        mask = c.emit(R.reshape(mask, full))
    seen = c.emit(R.permute_dims(c.emit(R.reshape(shown, [*full[:3], 1])), swap))
    result = c.emit(R.nn.attention(*parts, bias=mask, scale=tvm.tirx.FloatImm("float32", factor)))
    result = c.emit(R.where(seen, result, c.const(0, dtype)))
    return R.permute_dims(result, swap)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and isinstance(b, int) and a == b
    return bool(tvm.ir.structural_equal(a, b))


# -- resizing


@op("upsample_bilinear2d.vec", "upsample_bilinear2d.default", "upsample_bicubic2d.vec",
    "upsample_bicubic2d.default")  # fmt: skip
def upsample(
    c: Context,
    /,
    align_corners: bool,
    input: Any = None,  # noqa: A002
    self: Any = None,
    output_size: Any = None,
    scale_factors: Any = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Any:
    x = self if input is None else input
    _check_scales(c, x, scale_factors or (scales_h, scales_w))
    return R.image.resize2d(
        x,
        relax.ShapeExpr(c.shape[2:]),
        layout="NCHW",
        method="linear" if "bilinear" in c.node.target.__name__ else "cubic",
        coordinate_transformation_mode="align_corners" if align_corners else "half_pixel",
    )


@op("upsample_nearest2d.vec", "upsample_nearest2d.default")
def upsample_nearest(
    c: Context,
    /,
    input: Any = None,  # noqa: A002
    self: Any = None,
    output_size: Any = None,
    scale_factors: Any = None,
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Any:
    x = self if input is None else input
    _check_scales(c, x, scale_factors or (scales_h, scales_w))
    return R.image.resize2d(
        x,
        relax.ShapeExpr(c.shape[2:]),
        layout="NCHW",
        method="nearest_neighbor",
        coordinate_transformation_mode="asymmetric",
        rounding_method="floor",
    )


def _check_scales(c: Context, x: Any, scales: Any) -> None:
    """torch takes given scales as they are, TVM works them out from the sizes: the same?"""
    for scale, before, after in zip(scales, c.dims(x)[2:], c.shape[2:], strict=True):
        if scale is None:
            continue
        sizes = isinstance(before, int) and isinstance(after, int)
        exact = abs(before * scale - after) < 1e-6 if sizes else float(scale).is_integer()
        if not exact:
            raise ValueError(
                f"a scale of {scale} that does not lead from {before} to {after} exactly; give "
                f"interpolate a size, or recompute_scale_factor=True"
            )
