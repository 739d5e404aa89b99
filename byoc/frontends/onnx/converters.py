"""Our own converters, for operators that TVM's importer gets wrong or hides from patterns.

TVM writes `Clip`, `Pad`, `Tile`, `Einsum` as opaque loop nests, `Sum` as stack and sum, a
`Gather` as five ops, casts to integers as nine, and reads some operators of old opsets by the
rules of new ones. Each converter here is short and names the versions of the operator it covers
(ONNX operator changelog, https://onnx.ai/onnx/operators).

A converter gets (builder, inputs, attributes, opset, number of outputs) and returns one Relax
expression, or a list of one per output. `Inputs` answers None for inputs that are absent.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import onnx_frontend as stock

from byoc.frontends.normalise.fold import MAX_BYTES
from byoc.frontends.normalise.tensors import from_numpy, to_numpy, transposed

__all__ = [
    "CONVERTERS",
    "Attributes",
    "Converter",
    "Inputs",
    "array_of",
    "axes_of",
    "const",
    "number_of",
    "scalar_like",
    "stock_converter",
    "text_of",
]


class Inputs(list[Any]):
    """The inputs of a node; None where one is absent."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and index >= len(self):
            return None
        return super().__getitem__(index)


Attributes = dict[str, Any]
Converter = Callable[[Any, Inputs, Attributes, int, int], Any]


def const(array: Any, dtype: Any = None) -> Any:
    """A constant of an array."""
    return relax.const(from_numpy(np.asarray(array, dtype)))


def scalar_like(value: float, like: Any) -> Any:
    """A constant scalar of the dtype of `like`."""
    return relax.const(value, str(like.ty.dtype))


def array_of(value: Any, what: str) -> Any:
    """The array behind a constant, None for an absent input; ValueError for other values."""
    if value is None:
        return None
    if not isinstance(value, GenericConst):
        raise ValueError(f"{what} is computed by the model; byoc needs it as a constant")
    return to_numpy(value.value)


def number_of(value: Any, what: str) -> float | None:
    """The number behind a constant of one element."""
    array = array_of(value, what)
    return None if array is None else array.item()


def text_of(value: Any, default: str) -> str:
    """A text attribute."""
    return default if value is None else value.decode() if isinstance(value, bytes) else str(value)


def axes_of(axes: Any, rank: int) -> list[int]:
    """Axes counted from the front; ValueError when they do not fit."""
    out = [int(a) + rank if a < 0 else int(a) for a in axes]
    if any(not 0 <= a < rank for a in out) or len(set(out)) != len(out):
        raise ValueError(f"axes {list(axes)} do not fit {rank} dimensions")
    return out


def stock_converter(name: str) -> Converter:
    """TVM's converter of an operator."""

    def convert(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
        attrs["tvm_custom"] = {"name": name, "num_outputs": outputs}
        converter = stock._get_convert_map()[name].get_converter(opset)
        return converter(bb, stock.onnx_input(x), attrs, [{}, {}])

    return convert


# -- element-wise


def clip(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Clip 1, 6 (bounds as attributes), 11, 12, 13 (as inputs)."""
    low, high = (attrs.get("min"), attrs.get("max")) if opset < 11 else (x[1], x[2])
    data = x[0]
    integer = np.dtype(str(data.ty.dtype)).kind in "iu"
    if all(b is None or isinstance(b, (float, int, GenericConst)) for b in (low, high)):
        bounds = []
        for bound, default in ((low, -math.inf), (high, math.inf)):
            number = bound if isinstance(bound, (float, int)) else number_of(bound, "bound")
            if number is None or math.isnan(number):
                number = default
            bounds.append(number)
        if bounds[0] == -math.inf and bounds[1] == math.inf:
            return data
        if not integer:
            return relax.op.clip(data, *map(float, bounds))
        low, high = (None if math.isinf(b) else scalar_like(int(b), data) for b in bounds)
    if low is not None:
        data = relax.op.maximum(data, low)
    return data if high is None else relax.op.minimum(data, high)


def cast(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Cast 6 to 24 between numbers; what does not fit an integer is undefined, as in ONNX."""
    to = attrs["to"]
    if not isinstance(x[0].ty, relax.TensorType) or isinstance(x[0], GenericConst):
        return stock_converter("Cast")(bb, x, attrs, opset, outputs)
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(to))
    if dtype == "object":
        raise ValueError("a cast to strings is not supported")
    if str(x[0].ty.dtype) == dtype:
        return x[0]
    if dtype == "bool":
        return relax.op.not_equal(x[0], scalar_like(0, x[0]))
    return relax.op.astype(x[0], dtype)


def _chain(op: Callable[[Any, Any], Any]) -> Converter:
    """Sum, Max, Min 8, 12, 13: a chain of binary ops."""
    return lambda bb, x, attrs, opset, outputs: functools.reduce(op, x)


def mean(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Mean 8, 13: a chain of additions, then a factor."""
    total = functools.reduce(relax.op.add, x)
    return total if len(x) == 1 else relax.op.multiply(total, scalar_like(1 / len(x), x[0]))


def identity(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Identity, all versions."""
    return x[0]


def dropout(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Dropout 7, 10, 12, 13, 22 at inference: the identity; the mask is all true."""
    if x[2] is not None and number_of(x[2], "training_mode"):
        raise ValueError("it runs in training mode; export the model for inference")
    if outputs < 2:
        return x[0]
    mask = relax.op.full_like(x[0], relax.const(True, "bool"), "bool")
    return [x[0], mask if opset >= 10 else relax.op.astype(mask, str(x[0].ty.dtype))]


def hard_swish(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """HardSwish 14, 22: x · (clip(x + 3, 0, 6) / 6)."""
    data = x[0]
    gate = relax.op.clip(relax.op.add(data, scalar_like(3, data)), 0, 6)
    return relax.op.multiply(data, relax.op.divide(gate, scalar_like(6, data)))


def swish(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Swish 24: x · sigmoid(alpha · x)."""
    alpha = attrs.get("alpha", 1.0)
    if alpha == 1:
        return relax.op.nn.silu(x[0])
    gate = relax.op.sigmoid(relax.op.multiply(x[0], scalar_like(alpha, x[0])))
    return relax.op.multiply(x[0], gate)


def elu_like(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Celu 12: max(x, 0) + min(alpha · (exp(x / alpha) - 1), 0)."""
    alpha = scalar_like(attrs.get("alpha", 1.0), x[0])
    zero, one = scalar_like(0, x[0]), scalar_like(1, x[0])
    curve = relax.op.subtract(relax.op.exp(relax.op.divide(x[0], alpha)), one)
    return relax.op.add(
        relax.op.nn.relu(x[0]), relax.op.minimum(relax.op.multiply(alpha, curve), zero)
    )


def fast_gelu(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """com.microsoft FastGelu 1: gelu_tanh(x + bias)."""
    return relax.op.nn.gelu_tanh(x[0] if x[1] is None else relax.op.add(x[0], x[1]))


def power(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Pow 7 to 15; whole numbers to a power go through float64, as TVM has no such power."""
    if isinstance(x[0], GenericConst) or not isinstance(x[0].ty, relax.TensorType):
        return stock_converter("Pow")(bb, x, attrs, opset, outputs)
    dtype = str(x[0].ty.dtype)
    wide = dtype if np.dtype(dtype).kind == "f" else "float64"
    base, exponent = (
        v if str(v.ty.dtype) == wide else relax.op.astype(v, wide) for v in (x[0], x[1])
    )
    result = relax.op.power(base, exponent)
    return result if wide == dtype else relax.op.astype(result, dtype)


# -- constants


def constant(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Constant 1 to 24, every form of value but strings and sparse tensors."""
    for form, dtype in (("value_float", np.float32), ("value_floats", np.float32),
                        ("value_int", np.int64), ("value_ints", np.int64)):  # fmt: skip
        if form in attrs:
            return const(attrs[form], dtype)
    if "value" not in attrs:
        raise ValueError(f"a constant given as {', '.join(attrs) or 'nothing'} is not supported")
    array = onnx.numpy_helper.to_array(attrs["value"])
    if array.dtype == object:
        raise ValueError("a constant of strings is not supported")
    return const(array)


def constant_of_shape(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """ConstantOfShape 9 to 24."""
    value = attrs.get("value")
    array = np.zeros(1, np.float32) if value is None else onnx.numpy_helper.to_array(value)
    if not isinstance(x[0], GenericConst):
        shape = x[0]
        if not isinstance(shape.ty, relax.ShapeType):
            shape = bb.normalize(relax.op.tensor_to_shape(shape))
        return relax.op.full(shape, const(array.reshape(())), str(array.dtype))
    dims = [int(d) for d in array_of(x[0], "shape").reshape(-1)]
    if any(d < 0 for d in dims):
        raise ValueError(f"the shape {dims} has a negative dimension")
    if math.prod(dims) * array.itemsize > 1 << 46:
        raise ValueError(f"the shape {dims} is larger than any machine holds")
    if math.prod(dims) * array.itemsize <= MAX_BYTES:
        return const(np.broadcast_to(array.reshape(()), dims))
    return relax.op.full(dims, const(array.reshape(())), str(array.dtype))


# -- moving data


def pad(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Pad 2 (attributes), 11, 13 (inputs), 18 (axes), 19 (wrap)."""
    data = x[0]
    pads = attrs.get("pads") if opset < 11 else array_of(x[1], "pads").tolist()
    value = attrs.get("value", 0.0) if opset < 11 else number_of(x[2], "constant_value") or 0
    rank = data.ty.ndim
    axes = list(range(rank)) if x[3] is None else axes_of(array_of(x[3], "axes").tolist(), rank)
    if pads is None or len(pads) != 2 * len(axes):
        raise ValueError(f"pads {pads} do not fit {len(axes)} axes")
    width = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        width[2 * axis], width[2 * axis + 1] = int(pads[i]), int(pads[len(axes) + i])
    mode = text_of(attrs.get("mode"), "constant")
    names = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    if mode not in names:
        raise ValueError(f"mode {mode!r} is not one of {', '.join(names)}")
    if min(width, default=0) < 0:
        data, width = _crop(data, width)
    if not any(width):
        return data
    return relax.op.nn.pad(data, width, names[mode], value)


def _crop(data: Any, width: list[int]) -> tuple[Any, list[int]]:
    """Negative padding cuts off."""
    rank = len(width) // 2
    begin = [max(0, -width[2 * i]) for i in range(rank)]
    end = [-max(0, -width[2 * i + 1]) or np.iinfo(np.int64).max for i in range(rank)]
    cut = relax.op.strided_slice(data, list(range(rank)), begin, end)
    return cut, [max(0, w) for w in width]


def gather(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Gather 1, 11, 13. One constant index is a slice; else negative indices count from the end,
    which is `take` in mode "wrap".
    """
    data, indices, axis = x[0], x[1], int(attrs.get("axis", 0))
    tensors = all(isinstance(v.ty, relax.TensorType) for v in (data, indices))
    if not tensors or (isinstance(data, GenericConst) and isinstance(indices, GenericConst)):
        return stock_converter("Gather")(bb, x, attrs, opset, outputs)
    (axis,) = axes_of([axis], data.ty.ndim)
    if isinstance(indices, GenericConst) and data.ty.shape is not None:
        length, array = data.ty.shape[axis], to_numpy(indices.value)
        if array.size == 1 and _is_int(length) and -int(length) <= array.item() < int(length):
            at = array.item() % int(length)
            part = relax.op.strided_slice(data, [axis], [at], [at + 1])
            dims = list(data.ty.shape.values)
            return relax.op.reshape(part, [*dims[:axis], *array.shape, *dims[axis + 1 :]])
    return relax.op.take(data, indices, axis, mode="wrap")


def _is_int(dim: Any) -> bool:
    try:
        int(dim)
    except TypeError:
        return False
    return True


def slice_(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Slice 1 (attributes); 10, 11, 13 (inputs) are TVM's."""
    if opset < 10:
        names = ("starts", "ends", "axes")
        given = [None if attrs.get(n) is None else const(attrs[n], np.int64) for n in names]
        x = Inputs([x[0], *given])
    return stock_converter("Slice")(bb, x, {}, 13, outputs)


def expand(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Expand 8, 13 to a constant shape: both are broadcast, a 1 in the shape keeps a dimension."""
    data = x[0]
    if not isinstance(x[1], GenericConst) or data.ty.shape is None:
        if isinstance(x[1].ty, relax.TensorType) and data.ty.shape is not None:
            x = Inputs([data, _at_least(bb, x[1], data)])
        return stock_converter("Expand")(bb, x, attrs, opset, outputs)
    have, want = list(data.ty.shape.values), array_of(x[1], "shape").tolist()
    rank = max(len(have), len(want))
    have, want = [1] * (rank - len(have)) + have, [1] * (rank - len(want)) + want
    return relax.op.broadcast_to(
        data, [h if w == 1 else w for h, w in zip(have, want, strict=True)]
    )


def _at_least(bb: Any, shape: Any, data: Any) -> Any:
    """A shape computed by the model, raised to the dimensions of `data`, aligned at the end."""
    length, rank = shape.ty.shape, data.ty.ndim
    if length is None or not _is_int(length[0]):
        raise ValueError("the number of dimensions of its result is not known")
    count = int(length[0])
    have = relax.ShapeExpr([1] * max(0, count - rank) + list(data.ty.shape.values))
    if count < rank:
        shape = relax.op.concat([const(np.ones(rank - count, np.int64)), shape], 0)
    return bb.emit(relax.op.maximum(shape, relax.op.shape_to_tensor(have)))


def tile(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Tile 6, 13."""
    return relax.op.tile(x[0], array_of(x[1], "repeats").tolist())


def reshape(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Reshape 1 (attribute); 5 to 24 (input) are TVM's."""
    if opset < 5:
        x = Inputs([x[0], const(attrs["shape"], np.int64)])
    return stock_converter("Reshape")(bb, x, attrs, 13, outputs)


def flatten(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Flatten 1 to 24."""
    shape, rank = x[0].ty.shape, x[0].ty.ndim
    if shape is None:
        raise ValueError("its input has no known shape")
    axis = int(attrs.get("axis", 1))
    axis += rank if axis < 0 else 0
    if not 0 <= axis <= rank:
        raise ValueError(f"axis {axis} does not fit {rank} dimensions")
    dims = list(shape.values)
    return relax.op.reshape(
        x[0], [functools.reduce(lambda a, b: a * b, part, 1) for part in (dims[:axis], dims[axis:])]
    )


def einsum(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Einsum 12."""
    return relax.op.einsum(list(x), text_of(attrs["equation"], "").replace(" ", ""))


# -- products


def gemm(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Gemm 7, 9, 11, 13: transposes and factors go into constants at once."""
    a, b, c = x[0], x[1], x[2]
    alpha, beta = attrs.get("alpha", 1.0), attrs.get("beta", 1.0)
    if attrs.get("transA", 0):
        a = relax.op.permute_dims(a, [1, 0])
    if attrs.get("transB", 0):
        constant = isinstance(b, GenericConst)
        b = const(transposed(to_numpy(b.value), None)) if constant else relax.op.permute_dims(b)
    result = relax.op.matmul(a, b)
    if alpha != 1:
        result = relax.op.multiply(result, scalar_like(alpha, x[0]))
    if c is None or beta == 0:
        return result
    return relax.op.add(result, c if beta == 1 else relax.op.multiply(c, scalar_like(beta, x[0])))


def _same_pads(lower: bool, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """auto_pad: as many outputs as the stride leaves, the odd element last (UPPER) or first."""
    out = -(-size // stride)
    total = max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - size)
    small = total // 2
    return (total - small, small) if lower else (small, total - small)


def _explicit_pads(x: Inputs, attrs: Attributes, kernel: list[int]) -> None:
    """Replace auto_pad by pads."""
    mode = text_of(attrs.pop("auto_pad", None), "NOTSET")
    if mode == "NOTSET":
        return
    rank = len(kernel)
    if mode == "VALID":
        attrs["pads"] = [0] * (2 * rank)
        return
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad {mode!r} is not NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    strides = attrs.get("strides") or [1] * rank
    dilations = attrs.get("dilations") or [1] * rank
    sizes = list(x[0].ty.shape)[2:]
    if any(not _is_int(d) for d in sizes):
        if any(s != 1 for s in strides):
            raise ValueError(f"auto_pad {mode} over symbolic dimensions needs strides of 1")
        sizes = [1 << 20] * rank  # with strides of 1 the padding does not depend on the size
    pairs = [
        _same_pads(mode == "SAME_LOWER", int(n), k, s, d)
        for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    attrs["pads"] = [b for b, _ in pairs] + [e for _, e in pairs]


def conv(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Conv 1, 11, 22: explicit padding, the bias as a constant [1, C, 1, …]."""
    kernel = attrs.get("kernel_shape") or [int(d) for d in list(x[1].ty.shape)[2:]]
    _explicit_pads(x, attrs, list(kernel))
    bias, rank = x[2], len(kernel)
    result = stock_converter("Conv")(bb, Inputs(x[:2]), attrs, 11, outputs)
    if bias is None:
        return result
    if isinstance(bias, GenericConst):
        bias = const(to_numpy(bias.value).reshape(1, -1, *[1] * rank))
    else:
        bias = relax.op.reshape(bias, [1, -1] + [1] * rank)
    return relax.op.add(result, bias)


def conv_transpose(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """ConvTranspose 1, 11, 22: `output_shape` becomes padding."""
    wanted = attrs.pop("output_shape", None)
    if wanted:
        kernel = attrs.get("kernel_shape") or [int(d) for d in list(x[1].ty.shape)[2:]]
        sizes, rank = list(x[0].ty.shape)[2:], len(kernel)
        if not all(map(_is_int, sizes)):
            raise ValueError("output_shape over symbolic dimensions is not supported")
        lower = text_of(attrs.pop("auto_pad", None), "NOTSET") != "SAME_UPPER"
        pairs = []
        for i in range(rank):
            stride, dilation, extra = (
                (attrs.get(n) or [d] * rank)[i]
                for n, d in (("strides", 1), ("dilations", 1), ("output_padding", 0))
            )
            full = stride * (int(sizes[i]) - 1) + extra + (kernel[i] - 1) * dilation + 1
            total = full - wanted[-rank:][i]
            if total < 0:
                added = list(attrs.get("output_padding") or [0] * rank)
                added[i] -= total
                attrs["output_padding"], total = tuple(added), 0
            small = total // 2
            pairs.append((total - small, small) if lower else (small, total - small))
        attrs["pads"] = [b for b, _ in pairs] + [e for _, e in pairs]
    return stock_converter("ConvTranspose")(bb, x, attrs, 11, outputs)


def _pool(name: str) -> Converter:
    def convert(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
        if outputs > 1:
            raise ValueError("its second output, the indices, is not supported")
        _explicit_pads(x, attrs, list(attrs["kernel_shape"]))
        return stock_converter(name)(bb, x, attrs, opset, outputs)

    return convert


# -- normalisation


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
    if [int(d) if _is_int(d) else d for d in full] != shape:  # a broadcast scale
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


CONVERTERS: Mapping[tuple[str, str], Converter] = {
    ("", "AveragePool"): _pool("AveragePool"),
    ("", "BatchNormalization"): batch_norm,
    ("", "Celu"): elu_like,
    ("", "Clip"): clip,
    ("", "Constant"): constant,
    ("", "ConstantOfShape"): constant_of_shape,
    ("", "Conv"): conv,
    ("", "ConvTranspose"): conv_transpose,
    ("", "Dropout"): dropout,
    ("", "Einsum"): einsum,
    ("", "Expand"): expand,
    ("", "Flatten"): flatten,
    ("", "Gather"): gather,
    ("", "Gemm"): gemm,
    ("", "HardSwish"): hard_swish,
    ("", "Identity"): identity,
    ("", "InstanceNormalization"): instance_norm,
    ("", "LayerNormalization"): layer_norm,
    ("", "Max"): _chain(relax.op.maximum),
    ("", "MaxPool"): _pool("MaxPool"),
    ("", "Mean"): mean,
    ("", "Min"): _chain(relax.op.minimum),
    ("", "Pad"): pad,
    ("", "Pow"): power,
    ("", "RMSNormalization"): rms_norm,
    ("", "Reshape"): reshape,
    ("", "Slice"): slice_,
    ("", "Sum"): _chain(relax.op.add),
    ("", "Swish"): swish,
    ("", "Tile"): tile,
    ("com.microsoft", "FastGelu"): fast_gelu,
}
"""(domain, operator) → converter; these come before TVM's."""
