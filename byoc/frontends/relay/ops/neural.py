"""Convolutions, products, pooling, padding, normalisation.

Relax's patterns know channels-first; other layouts are transposed before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import array_of, axes_of, const, dtype_of, scalar_like
from byoc.frontends.onnx.stock import convert_stock
from byoc.frontends.relay.context import RelayContext
from byoc.frontends.relay.ops.helpers import (
    dims,
    integers,
    letters,
    narrow,
    rank,
    static_dims,
    transpose,
    unless,
    wide,
)
from byoc.frontends.relay.ops.layouts import relayout
from byoc.frontends.relay.syntax import known_dtype

__all__ = ["NEURAL", "conv_weight", "dense_weight"]

op = relax.op
_SPACE = {1: "W", 2: "HW", 3: "DHW"}
_WINDOWS = 1024
"""Windows along one dimension that an adaptive pool may have."""


def _pads(padding: Any, count: int) -> list[int]:
    """Begin of every dimension, then the ends."""
    given = [padding] if isinstance(padding, int) else [int(p) for p in padding]
    if len(given) == 1:
        given *= 2 * count
    elif len(given) == count and count > 1:
        given *= 2
    if len(given) != 2 * count:
        raise ValueError(f"padding {given} does not fit {count} dimensions")
    return given


def _out_dtype(data: Any, out_dtype: Any) -> str | None:
    wanted = known_dtype(unless(out_dtype, None))
    return None if wanted in (None, dtype_of(data)) else wanted


def conv_weight(c: RelayContext, weight: Any, layout: str, expected: str, channels: Any,
                kernel_size: Any, groups: int, depth: Any) -> Any:  # fmt: skip
    """Return the weight of a convolution in Relax's order, checked against its call.

    Relay shapes the weight of a depthwise convolution [channels, multiplier, …].

    Args:
        c: The call.
        weight: The weight.
        layout: The order of its dimensions now (``"HWIO"``).
        expected: The order wanted (``"OIHW"``).
        channels: How many output channels the call names, or None.
        kernel_size: The spatial sizes it names, or None.
        groups: How many groups of channels there are.
        depth: How many input channels there are; not an int when that is not known.

    Raises:
        ValueError: The weight does not have the shape that the call says.
    """
    weight = kernel_weight(c, weight, layout, expected, kernel_size)
    shape = dims(weight)
    if groups > 1 and groups == depth == shape[0] and shape[1] != 1:
        weight = c.typed(op.reshape(weight, [shape[0] * shape[1], 1, *shape[2:]]))
        shape = dims(weight)
    if channels is not None and int(channels) != shape[0]:
        raise ValueError(f"channels={channels} and a weight of shape {shape}")
    if isinstance(depth, int) and shape[1] * groups != depth:
        raise ValueError(f"{depth} channels, and a weight of shape {shape} in {groups} groups")
    return weight


def kernel_weight(
    c: RelayContext, weight: Any, layout: str, expected: str, kernel_size: Any
) -> Any:
    """A weight in the layout `expected`, its spatial size checked."""
    count = len(expected) - 2
    if str(layout).isalpha() and rank(weight) != count + 2:
        raise ValueError(f"its weight has {rank(weight)} dimensions, not {count + 2}")
    weight = c.typed(relayout(c, weight, layout, expected, "kernel_layout"))
    shape = dims(weight)
    if kernel_size is not None and integers(kernel_size, count, "kernel_size") != shape[2:]:
        raise ValueError(f"kernel_size {kernel_size} and a weight of shape {shape}")
    return weight


def _conv(count: int) -> Converter:
    """nn.conv1d, 2d, 3d."""
    space = _SPACE[count]
    function = {1: op.nn.conv1d, 2: op.nn.conv2d, 3: op.nn.conv3d}[count]
    first, kernel = f"NC{space}", f"OI{space}"

    def convert(c: RelayContext, data: Any, weight: Any, *, strides: Any = 1, padding: Any = 0,
                dilation: Any = 1, groups: int = 1, channels: Any = None, kernel_size: Any = None,
                data_layout: str = first, kernel_layout: str = kernel, out_layout: str = "",
                out_dtype: Any = None) -> Any:  # fmt: skip
        data = c.typed(relayout(c, data, data_layout, first, "data_layout"))
        depth = dims(data)[1]
        weight = conv_weight(
            c, weight, kernel_layout, kernel, channels, kernel_size, int(groups), depth
        )
        result = function(
            data,
            weight,
            strides=integers(strides, count, "strides"),
            padding=_pads(padding, count),
            dilation=integers(dilation, count, "dilation"),
            groups=int(groups),
            out_dtype=_out_dtype(data, out_dtype),
        )
        back = unless(out_layout, data_layout)
        return relayout(c, c.typed(result), first, back, "out_layout")

    return convert


def _conv_transpose(count: int) -> Converter:
    """nn.conv1d_transpose, 2d, 3d."""
    space = _SPACE[count]
    function = {1: op.nn.conv1d_transpose, 2: op.nn.conv2d_transpose,
                3: op.nn.conv3d_transpose}[count]  # fmt: skip
    first, kernel = f"NC{space}", f"IO{space}"

    def convert(c: RelayContext, data: Any, weight: Any, *, channels: Any = None,
                kernel_size: Any = None, strides: Any = 1, padding: Any = 0,
                output_padding: Any = 0, dilation: Any = 1, groups: int = 1,
                data_layout: str = first, kernel_layout: str = kernel, out_layout: str = "",
                out_dtype: Any = None) -> Any:  # fmt: skip
        data = c.typed(relayout(c, data, data_layout, first, "data_layout"))
        if kernel_layout == f"OI{space}":
            # TVM 0.8 and before wrote OIHW and meant IOHW.
            o, i = dims(weight)[:2]
            meant = i * int(groups) == channels and o == dims(data)[1]
            if meant and o == i and not c.before(9):
                raise ValueError(
                    f"kernel_layout {kernel_layout} of a square weight can be meant in two ways "
                    f"(TVM before 0.9 wrote it for IO{space}); write IO{space}"
                )
            kernel_layout = kernel if meant else kernel_layout
        weight = kernel_weight(c, weight, kernel_layout, kernel, kernel_size)
        if channels is not None and dims(weight)[1] * int(groups) != int(channels):
            raise ValueError(f"channels={channels} and a weight of shape {dims(weight)}")
        result = function(
            data,
            weight,
            strides=integers(strides, count, "strides"),
            padding=_pads(padding, count),
            output_padding=integers(output_padding, count, "output_padding"),
            dilation=integers(dilation, count, "dilation"),
            groups=int(groups),
            out_dtype=_out_dtype(data, out_dtype),
        )
        back = unless(out_layout, data_layout)
        return relayout(c, c.typed(result), first, back, "out_layout")

    return convert


# -- products


def dense_weight(weight: Any, units: Any) -> Any:
    """Return the weight of `nn.dense`, [units, inputs], as Relax multiplies by it: [inputs, units].

    Args:
        weight: The weight.
        units: How many units the call names, or None.

    Raises:
        ValueError: The weight does not have that shape.
    """
    if rank(weight) != 2 or (units is not None and int(units) != dims(weight)[0]):
        raise ValueError(f"units={units} and a weight of shape {dims(weight)}")
    return transpose(weight, [1, 0])


def dense(
    c: RelayContext, data: Any, weight: Any, *, units: Any = None, out_dtype: Any = None
) -> Any:
    """nn.dense."""
    weight = c.typed(dense_weight(weight, units))
    return op.matmul(data, weight, _out_dtype(data, out_dtype))


def dense_pack(c: RelayContext, data: Any, weight: Any, *, weight_layout: str = "NC",
               units: Any = None, out_dtype: Any = None) -> Any:  # fmt: skip
    """nn.contrib_dense_pack: a dense layer whose weight lies in blocks."""
    weight = c.typed(relayout(c, weight, weight_layout, "NC", "weight_layout"))
    return dense(c, data, weight, units=units, out_dtype=out_dtype)


def _flip(value: Any, flag: Any) -> Any:
    count = rank(value)
    return transpose(value, [*range(count - 2), count - 1, count - 2]) if flag else value


def matmul(c: RelayContext, a: Any, b: Any, *, units: Any = None, out_dtype: Any = None,
           transpose_a: Any = False, transpose_b: Any = False) -> Any:  # fmt: skip
    """nn.matmul."""
    left, right = c.typed(_flip(a, transpose_a)), c.typed(_flip(b, transpose_b))
    return op.matmul(left, right, _out_dtype(a, out_dtype))


def batch_matmul(
    c: RelayContext,
    a: Any,
    b: Any,
    *,
    out_dtype: Any = None,
    transpose_a: Any = False,
    transpose_b: Any = None,
) -> Any:
    """nn.batch_matmul. TVM 0.8 and later print `transpose_b` where it is true; TVM 0.7 had no such
    attribute, and its second factor was always transposed. The file's version, or else shapes tell
    which was meant; where both fit, it is as in 0.8.
    """
    if transpose_b is None and c.before(8):
        transpose_b = True
    elif transpose_b is None:
        length = dims(a)[-2 if transpose_a else -1]
        rows, columns = dims(b)[-2:]
        transpose_b = _differ(length, rows) and not _differ(length, columns)
    return matmul(c, a, b, out_dtype=out_dtype, transpose_a=transpose_a, transpose_b=transpose_b)


def _differ(a: Any, b: Any) -> bool:
    """True for two dimensions that cannot be equal."""
    return isinstance(a, int) and isinstance(b, int) and a != b


# -- pooling


def _pool(kind: str, count: int) -> Converter:
    space = _SPACE[count]
    first = f"NC{space}"
    function = getattr(op.nn, f"{kind}_pool{count}d")

    def convert(c: RelayContext, data: Any, *, pool_size: Any, strides: Any = 1, dilation: Any = 1,
                padding: Any = 0, layout: str = first, out_layout: str = "",
                ceil_mode: Any = False, count_include_pad: Any = False) -> Any:  # fmt: skip
        data = c.typed(relayout(c, data, layout, first, "layout"))
        if min(integers(pool_size, count, "pool_size")) < 1:
            raise ValueError(f"pool_size {pool_size} is no window")
        given = {"count_include_pad": bool(count_include_pad)} if kind == "avg" else {}
        result = function(
            data if kind == "max" else wide(c, data),
            integers(pool_size, count, "pool_size"),
            integers(strides, count, "strides"),
            _pads(padding, count),
            integers(dilation, count, "dilation"),
            ceil_mode=bool(ceil_mode),
            **given,
        )
        result = narrow(c, result, data)
        return relayout(c, c.typed(result), first, unless(out_layout, layout), "layout")

    return convert


def _global_pool(kind: str, count: int) -> Converter:
    first = f"NC{_SPACE[count]}"
    function = op.mean if kind == "avg" else op.max

    def convert(c: RelayContext, data: Any, *, layout: str = first, out_layout: str = "") -> Any:
        over, back = list(range(2, len(first))), unless(out_layout, layout)
        turned = back != layout or not str(layout).isalpha()
        if turned:
            data = c.typed(relayout(c, data, layout, first, "layout"))
        else:  # the kept dimensions of size 1 stand where they stood
            over = sorted(letters(layout, first, "layout")[2:])
        if rank(data) != len(first):
            raise ValueError(f"it takes {len(first)} dimensions, found {rank(data)}")
        if kind == "max":
            result = function(data, over, keepdims=True)
        else:
            result = narrow(c, function(wide(c, data), over, keepdims=True), data)
        return relayout(c, c.typed(result), first, back, "layout") if turned else result

    return convert


def _adaptive(kind: str, count: int) -> Converter:
    first = f"NC{_SPACE[count]}"

    def convert(c: RelayContext, data: Any, *, output_size: Any = None, layout: str = first,
                out_layout: str = "") -> Any:  # fmt: skip
        data = c.typed(relayout(c, data, layout, first, "layout"))
        sizes = dims(data)[2:]
        wanted = sizes if not output_size else integers(output_size, count, "output_size")
        if output_size and not all(0 < w <= _WINDOWS for w in wanted):
            raise ValueError(f"output_size {wanted}; byoc reads 1 to {_WINDOWS}")
        numbers = data if kind == "max" else wide(c, data)
        if wanted == [1] * count:
            result = (op.mean if kind == "avg" else op.max)(
                numbers, list(range(2, 2 + count)), keepdims=True
            )
        elif kind == "avg":
            result = getattr(op.nn, f"adaptive_avg_pool{count}d")(numbers, tuple(wanted))
        else:
            result = _adaptive_max_pool(c, data, wanted, count)
        back = unless(out_layout, layout)
        return relayout(c, c.typed(narrow(c, result, data)), first, back, "layout")

    return convert


def _adaptive_max_pool(c: RelayContext, data: Any, wanted: list[int], count: int) -> Any:
    """Windows of one size where it divides the input, else each window on its own."""
    sizes = static_dims(data)[2:]
    if not any(s % w for s, w in zip(sizes, wanted, strict=True)):
        steps = [s // w for s, w in zip(sizes, wanted, strict=True)]
        return getattr(op.nn, f"max_pool{count}d")(data, steps, steps)
    for axis, (size, parts) in enumerate(zip(sizes, wanted, strict=True), 2):
        windows = [(i * size // parts, -(-(i + 1) * size // parts)) for i in range(parts)]
        data = c.typed(op.concat([
            c.typed(op.max(c.typed(op.strided_slice(data, [axis], [a], [b])), [axis], True))
            for a, b in windows
        ], axis))  # fmt: skip
    return data


# -- padding


def pad(c: RelayContext, data: Any, value: Any = None, *, pad_width: Any, pad_value: float = 0.0,
        pad_mode: str = "constant") -> Any:  # fmt: skip
    """nn.pad, dyn.nn.pad with a constant width."""
    if value is not None:
        pad_value = array_of(value, "pad_value").item()
    modes = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}
    if pad_mode not in modes:
        raise ValueError(f"pad_mode {pad_mode!r} is not one of {', '.join(modes)}")
    width = [int(v) for pair in pad_width for v in pair]
    if len(width) != 2 * rank(data) or min(width, default=0) < 0:
        raise ValueError(f"pad_width {pad_width} does not fit {rank(data)} dimensions")
    if not any(width):
        return data
    return op.nn.pad(data, width, modes[pad_mode], float(pad_value))


def dynamic_pad(c: RelayContext, data: Any, pad_width: Any, pad_value: Any, *,
                pad_mode: str = "constant") -> Any:  # fmt: skip
    """dyn.nn.pad with a constant width."""
    width = array_of(pad_width, "pad_width").reshape(-1, 2).tolist()
    return pad(c, data, pad_value, pad_width=width, pad_mode=pad_mode)


def mirror_pad(c: RelayContext, data: Any, *, mode: str = "SYMMETRIC", pad_width: Any) -> Any:
    """nn.mirror_pad; SYMMETRIC repeats the edge, REFLECT does not."""
    if mode not in ("SYMMETRIC", "REFLECT"):
        raise ValueError(f"mode {mode!r} is neither SYMMETRIC nor REFLECT")
    if mode == "REFLECT":
        return pad(c, data, pad_width=pad_width, pad_mode="reflect")
    sizes = static_dims(data)
    width = [[int(v) for v in pair] for pair in pad_width]
    if len(width) != len(sizes) or any(
        len(pair) != 2 or not 0 <= min(pair) <= max(pair) <= size
        for pair, size in zip(width, sizes, strict=True)
    ):
        raise ValueError(f"pad_width {pad_width} does not fit the shape {sizes}")
    for axis, (pair, size) in enumerate(zip(width, sizes, strict=True)):
        if any(pair):
            rows = np.pad(np.arange(size), pair, mode="symmetric")
            data = c.typed(op.take(data, const(rows, np.int64), axis, "fast"))
    return data


# -- normalisation


def batch_norm(c: RelayContext, data: Any, gamma: Any, beta: Any, mean: Any, var: Any, *,
               axis: int = 1, epsilon: float = 1e-5, center: Any = True,
               scale: Any = True) -> Any:  # fmt: skip
    """nn.batch_norm at inference: the result, and the statistics as they are."""
    (axis,) = axes_of(axis, rank(data))
    whole = op.nn.batch_norm(data, gamma, beta, mean, var, axis, float(epsilon), bool(center),
                             bool(scale), training=False)  # fmt: skip
    return relax.TupleGetItem(c.typed(whole), 0), mean, var


def _affine(gamma: Any, beta: Any, center: Any, scale: Any) -> tuple[Any, Any]:
    size = [int(d) for d in static_dims(gamma)]
    gamma = gamma if scale else const(np.ones(size), dtype_of(gamma))
    return gamma, beta if center else const(np.zeros(size), dtype_of(gamma))


def layer_norm(c: RelayContext, data: Any, gamma: Any, beta: Any, *, axis: int = -1,
               epsilon: float = 1e-5, center: Any = True, scale: Any = True) -> Any:  # fmt: skip
    """nn.layer_norm."""
    (axis,) = axes_of(axis, rank(data))
    gamma, beta = _affine(gamma, beta, center, scale)
    return op.nn.layer_norm(data, gamma, beta, [axis - rank(data)], float(epsilon))


def instance_norm(c: RelayContext, data: Any, gamma: Any, beta: Any, *, axis: int = 1,
                  epsilon: float = 1e-5, center: Any = True, scale: Any = True) -> Any:  # fmt: skip
    """nn.instance_norm."""
    (axis,) = axes_of(axis, rank(data))
    gamma, beta = _affine(gamma, beta, center, scale)
    over = [a for a in range(1, rank(data)) if a != axis]
    return op.nn.instance_norm(data, gamma, beta, axis, over, float(epsilon))


def group_norm(c: RelayContext, data: Any, gamma: Any, beta: Any, *, num_groups: int, axis: int = 1,
               epsilon: float = 1e-5, center: Any = True, scale: Any = True) -> Any:  # fmt: skip
    """nn.group_norm."""
    (axis,) = axes_of(axis, rank(data))
    gamma, beta = _affine(gamma, beta, center, scale)
    over = [a for a in range(1, rank(data)) if a != axis]
    return op.nn.group_norm(data, gamma, beta, int(num_groups), axis, over, float(epsilon))


def l2_normalize(c: RelayContext, data: Any, *, eps: float, axis: Any = None) -> Any:
    """nn.l2_normalize: x / sqrt(max(sum(x²), eps))."""
    over = axes_of(axis, rank(data)) if axis else list(range(rank(data)))
    total = op.sum(op.square(data), over, keepdims=True)
    return op.divide(data, op.sqrt(op.maximum(total, scalar_like(float(eps), data))))


def lrn(c: RelayContext, data: Any, *, size: int = 5, axis: int = 1, bias: float = 2.0,
        alpha: float = 1e-4, beta: float = 0.75) -> Any:  # fmt: skip
    """nn.lrn, in the spelling that patterns know."""
    (axis,) = axes_of(axis, rank(data))
    if rank(data) != 4:
        raise ValueError(f"it takes 4 dimensions, found {rank(data)}")
    if int(size) < 1 or int(size) % 2 == 0:
        raise ValueError(f"size {size} is no odd number")
    attrs = {"size": int(size), "bias": float(bias), "alpha": float(alpha), "beta": float(beta)}
    order = [axis if a == 1 else 1 if a == axis else a for a in range(4)]
    turned = c.typed(transpose(data, order))
    return transpose(c.typed(convert_stock("LRN", c.builder, [turned], attrs, 13)), order)


def dilate(c: RelayContext, data: Any, *, strides: Any, dilation_value: float = 0.0) -> Any:
    """nn.dilate: `strides - 1` fillers between elements."""
    steps = integers(strides, rank(data), "strides")
    sizes = static_dims(data)
    if min(steps, default=1) < 1:
        raise ValueError(f"strides {steps}")
    spread = [v for s, t in zip(sizes, steps, strict=True) for v in (s, t)]
    thin = op.reshape(data, [v for s in sizes for v in (s, 1)])
    width = [v for t in steps for v in (0, 0, 0, t - 1)]
    wide = op.reshape(
        op.nn.pad(thin, width, "constant", float(dilation_value)),
        [a * b for a, b in zip(spread[::2], spread[1::2], strict=True)],
    )
    ends = [(s - 1) * t + 1 for s, t in zip(sizes, steps, strict=True)]
    return op.strided_slice(wide, list(range(len(sizes))), [0] * len(sizes), ends)


NEURAL: Mapping[str, Converter] = {
    **{f"nn.conv{n}d": _conv(n) for n in (1, 2, 3)},
    **{f"nn.conv{n}d_transpose": _conv_transpose(n) for n in (1, 2, 3)},
    **{f"nn.{kind}_pool{n}d": _pool(kind, n) for kind in ("avg", "max") for n in (1, 2, 3)},
    **{f"nn.global_{kind}_pool{n}d": _global_pool(kind, n)
       for kind in ("avg", "max") for n in (1, 2, 3)},
    **{f"nn.adaptive_{kind}_pool{n}d": _adaptive(kind, n)
       for kind in ("avg", "max") for n in (1, 2, 3)},
    "dyn.nn.pad": dynamic_pad,
    "nn.batch_matmul": batch_matmul,
    "nn.batch_norm": batch_norm,
    "nn.contrib_conv2d_NCHWc": _conv(2),
    "nn.contrib_dense_pack": dense_pack,
    "nn.contrib_depthwise_conv2d_NCHWc": _conv(2),
    "nn.dense": dense,
    "nn.dilate": dilate,
    "nn.group_norm": group_norm,
    "nn.instance_norm": instance_norm,
    "nn.l2_normalize": l2_normalize,
    "nn.layer_norm": layer_norm,
    "nn.lrn": lrn,
    "nn.matmul": matmul,
    "nn.mirror_pad": mirror_pad,
    "nn.pad": pad,
}  # fmt: skip
"""Operator → converter."""
