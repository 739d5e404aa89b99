"""Converters of element-wise, window and reduction operators that TVM lacks or gets wrong.

Same form as in `converters.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.normalise.tensors import to_numpy
from byoc.frontends.onnx.converters import (
    Attributes,
    Converter,
    Inputs,
    array_of,
    axes_of,
    const,
    number_of,
    scalar_like,
    stock_converter,
    text_of,
)

__all__ = ["NUMERIC"]

op = relax.op


def _dtype(value: Any) -> str:
    return str(value.ty.dtype)


def _is_float(value: Any) -> bool:
    return "float" in _dtype(value)


def _only_tensors(*values: Any) -> bool:
    return all(isinstance(v.ty, relax.TensorType) for v in values)


def is_inf(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """IsInf 10, 20: of one sign, when asked for."""
    above, below = attrs.get("detect_positive", 1), attrs.get("detect_negative", 1)
    data = x[0]
    if _dtype(data).startswith("float8"):
        raise ValueError(f"{_dtype(data)} has no infinity that TVM knows")
    if above and below:
        return op.isinf(data)
    if not above and not below:
        return op.full_like(data, relax.const(False, "bool"), "bool")
    return op.equal(data, scalar_like(float("inf") if above else -float("inf"), data))


def mod(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Mod 10, 13: the sign of the divisor, or (fmod) of the dividend.

    A finite number over an infinite one is itself, or of the other sign the divisor.
    """
    a, b = x[0], x[1]
    if not _only_tensors(a, b) or all(isinstance(v, GenericConst) for v in (a, b)):
        return stock_converter("Mod")(bb, x, attrs, opset, outputs)
    fmod = bool(attrs.get("fmod", 0))
    if not _is_float(a):
        rest = op.floor_mod(a, b)
        if not fmod or _dtype(a).startswith("uint"):
            return rest
        zero = scalar_like(0, a)
        wrong = op.logical_xor(op.less(a, zero), op.less(b, zero))
        wrong = op.logical_and(wrong, op.not_equal(rest, zero))
        return op.where(wrong, op.subtract(rest, b), rest)
    zero = scalar_like(0, a)
    top, below = (op.abs(a), op.abs(b)) if fmod else (a, b)
    rest = op.subtract(top, op.multiply(op.floor(op.divide(top, below)), below))
    whole = op.logical_and(op.isinf(below), op.isfinite(top))
    differ = op.logical_xor(op.less(top, zero), op.less(below, zero))
    same = op.logical_or(op.equal(top, zero), op.logical_not(differ))
    rest = op.where(whole, op.where(same, op.add(top, op.multiply(zero, top)), below), rest)
    return op.where(op.less(a, zero), op.negative(rest), rest) if fmod else rest


def mish(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Mish 18, 22: x · tanh(log(1 + e^x)) = x · n / (n + 2) with n = e^x (e^x + 2)."""
    data = x[0]
    largest = 5.0 if _dtype(data) == "float16" else 20.0  # beyond it the factor rounds to 1
    power = op.exp(op.minimum(data, scalar_like(largest, data)))
    two = scalar_like(2, data)
    n = op.multiply(power, op.add(power, two))
    return op.multiply(data, op.divide(n, op.add(n, two)))


def prelu(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """PRelu 7, 9, 16: the slope is broadcast to the data; the channels' when it is a vector that
    fits nothing else, as exporters write it.
    """
    data, slope = x[0], x[1]
    zero = scalar_like(0, data)
    dims, own = list(data.ty.shape.values), list(slope.ty.shape.values)
    if len(own) == 1 and len(dims) > 1 and int(own[0]) != 1 and not _same(own[0], dims[-1]):
        if not _same(own[0], dims[1]):
            raise ValueError(f"the slope {own} does not fit {dims}")
        shape = [int(own[0])] + [1] * (len(dims) - 2)
        if isinstance(slope, GenericConst):
            slope = const(to_numpy(slope.value).reshape(shape))
        else:
            slope = op.reshape(slope, shape)
    elif len(own) == 1 and isinstance(slope, GenericConst) and int(own[0]) == 1:
        alpha = to_numpy(slope.value).item()
        if 0 <= alpha <= 1:
            return op.nn.leakyrelu(data, float(alpha))
    return op.where(op.less(data, zero), op.multiply(data, slope), data)


def _same(a: Any, b: Any) -> bool:
    try:
        return int(a) == int(b)
    except TypeError:
        return bool(a.same_as(b))


def lp_normalization(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """LpNormalization 1, 22: x / norm, 0 where the norm is 0 (22)."""
    data, p = x[0], attrs.get("p", 2)
    (axis,) = axes_of([attrs.get("axis", -1)], data.ty.ndim)
    if p == 1:
        norm = op.sum(op.abs(data), axis, keepdims=True)
    elif p == 2:
        norm = op.sqrt(op.sum(op.square(data), axis, keepdims=True))
    else:
        raise ValueError(f"p={p} is not 1 or 2")
    zero = scalar_like(0, data)
    safe = op.where(op.equal(norm, zero), scalar_like(1, data), norm)
    return op.divide(data, safe)


def cumulative(name: str) -> Converter:
    """CumSum 11, 14; CumProd 26."""

    def convert(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
        data = x[0]
        (axis,) = axes_of([int(number_of(x[1], "axis") or 0)], data.ty.ndim)
        exclusive, reverse = bool(attrs.get("exclusive", 0)), bool(attrs.get("reverse", 0))
        function = op.cumsum if name == "CumSum" else op.cumprod
        turned = op.flip(data, axis) if reverse else data
        result = function(turned, axis, _dtype(data), exclusive)
        return op.flip(result, axis) if reverse else result

    return convert


def extreme_of_truths(name: str) -> Converter:
    """ReduceMax and ReduceMin 20 of booleans: in int8."""

    def convert(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
        if _dtype(x[0]) != "bool":
            return stock_converter(name)(bb, x, attrs, opset, outputs)
        if any(_same(d, 0) for d in x[0].ty.shape.values):
            raise ValueError("it reduces nothing to a truth value")
        wide = Inputs([bb.normalize(op.astype(x[0], "int8")), *x[1:]])
        result = bb.normalize(stock_converter(name)(bb, wide, attrs, opset, outputs))
        return op.greater(result, relax.const(0, "int8"))

    return convert


def space_to_depth(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """SpaceToDepth 1, 13, 27 (mode): blocks to channels, the block's or the channels' first."""
    data, size = x[0], int(attrs["blocksize"])
    mode = text_of(attrs.get("mode"), "DCR")
    if mode not in ("DCR", "CRD"):
        raise ValueError(f"mode {mode!r} is not DCR or CRD")
    n, c, h, w = data.ty.shape.values
    split = op.reshape(data, [n, c, h // size, size, w // size, size])
    order = [0, 3, 5, 1, 2, 4] if mode == "DCR" else [0, 1, 3, 5, 2, 4]
    return op.reshape(op.permute_dims(split, order), [n, c * size * size, h // size, w // size])


def eye_like(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """EyeLike 9, 22 over a known shape: a constant."""
    rows, columns = (int(d) for d in x[0].ty.shape.values)
    dtype = _dtype(x[0])
    if "dtype" in attrs:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(attrs["dtype"]))
    return const(np.eye(rows, columns, int(attrs.get("k", 0))), dtype)


def upsample(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Upsample 7 (attribute), 9 (input): Resize with asymmetric coordinates."""
    data = x[0]
    scales = attrs.get("scales") if opset < 9 else array_of(x[1], "scales").tolist()
    mode = text_of(attrs.get("mode"), "nearest")
    rank = data.ty.ndim
    if scales is None or len(scales) != rank or rank not in (3, 4, 5):
        raise ValueError(f"scales {scales} of {rank} dimensions are not supported")
    if any(s != 1 for s in scales[:2]):
        raise ValueError(f"scales {scales} resize batch or channels")
    if mode not in ("nearest", "linear"):
        raise ValueError(f"mode {mode!r} is not nearest or linear")
    sizes = [int(int(d) * s) for d, s in zip(data.ty.shape.values, scales, strict=True)][2:]
    layout, resize = {
        3: ("NCW", op.image.resize1d if hasattr(op.image, "resize1d") else None),
        4: ("NCHW", op.image.resize2d),
        5: ("NCDHW", op.image.resize3d if hasattr(op.image, "resize3d") else None),
    }[rank]
    if resize is None:
        raise ValueError(f"TVM does not resize {rank - 2} dimensions")
    return resize(
        data,
        tuple(sizes),
        layout=layout,
        method="nearest_neighbor" if mode == "nearest" else "linear",
        coordinate_transformation_mode="asymmetric",
        rounding_method="floor",
    )


_NARROW = ("float4_", "float6_", "float8_", "int2", "int4", "uint2", "uint4")


def cast(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Cast 6 to 25, CastLike 15 to 25 between numbers; TVM's kernels for types of eight bits and
    less do not keep NaN and do not saturate.
    """
    if opset < 0 or isinstance(x[0], GenericConst) or not _only_tensors(x[0]):
        return _plain_cast(bb, x, attrs, opset, outputs)
    kinds = (_dtype(x[0]), _target(x, attrs))
    narrow = [k for k in kinds if k.startswith(_NARROW)]
    if narrow and kinds[0] != kinds[1]:
        raise ValueError(f"TVM has no exact conversion of {' to '.join(kinds)}")
    return _plain_cast(bb, x, attrs, opset, outputs)


def _target(x: Inputs, attrs: Attributes) -> str:
    if x[1] is not None:
        return _dtype(x[1])
    return str(onnx.helper.tensor_dtype_to_np_dtype(attrs["to"]))


def _plain_cast(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    from byoc.frontends.onnx.converters import cast as plain

    if x[1] is not None:
        attrs = {"to": onnx.helper.np_dtype_to_tensor_dtype(_numpy(_dtype(x[1])))}
        x = Inputs(x[:1])
    return plain(bb, x, attrs, opset, outputs)


def _numpy(name: str) -> np.dtype[Any]:
    import ml_dtypes  # noqa: F401  registers the small types

    return np.dtype(name)


def resize(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Resize 10 to 19 where TVM's kernels do as ONNX says.

    They divide sizes where ONNX takes the scale it was given: both agree when the scale leads to
    whole sizes.
    """
    mode = text_of(attrs.get("coordinate_transformation_mode"), "half_pixel")
    if attrs.get("antialias", 0):
        raise ValueError("antialias=1 is not supported")
    if mode == "half_pixel_symmetric":
        raise ValueError("coordinate_transformation_mode half_pixel_symmetric is not supported")
    scales = x[1] if opset < 11 else x[2]
    sizes = x[3] if opset >= 11 else None
    dims = list(x[0].ty.shape.values) if _only_tensors(x[0]) else []
    axes = attrs.get("axes")
    if isinstance(scales, GenericConst) and to_numpy(scales.value).size:
        factors = to_numpy(scales.value).tolist()
        chosen = dims if axes is None else [dims[a] for a in axes_of(axes, len(dims))]
        for dim, factor in zip(chosen, factors, strict=True):
            wanted = int(dim) * factor
            if abs(wanted - round(wanted)) > 1e-4 * max(1.0, wanted):
                raise ValueError(f"a scale of {factor:g} makes {wanted:g} of {int(dim)} elements")
            if mode == "align_corners" and round(wanted) == 1:
                raise ValueError("align_corners to one element is not supported")
    elif (
        isinstance(sizes, GenericConst)
        and mode == "align_corners"
        and 1 in to_numpy(sizes.value).tolist()[-2:]
    ):
        raise ValueError("align_corners to one element is not supported")
    return stock_converter("Resize")(bb, x, attrs, opset, outputs)


def roi_align(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """RoiAlign 10, 16, 22 of averages; TVM takes maxima before it interpolates."""
    mode = text_of(attrs.get("mode"), "avg")
    if mode != "avg":
        raise ValueError(f"mode {mode!r} is not supported, only avg")
    return stock_converter("RoiAlign")(bb, x, attrs, opset, outputs)


def refuse(why: str) -> Converter:
    """A converter that says why there is none."""

    def convert(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
        raise ValueError(why)

    return convert


NUMERIC: Mapping[tuple[str, str], Converter] = {
    ("", "Cast"): cast,
    ("", "CastLike"): cast,
    ("", "CumProd"): cumulative("CumProd"),
    ("", "CumSum"): cumulative("CumSum"),
    ("", "EyeLike"): eye_like,
    ("", "IsInf"): is_inf,
    ("", "LpNormalization"): lp_normalization,
    ("", "Mish"): mish,
    ("", "Mod"): mod,
    ("", "NonMaxSuppression"): refuse("how many boxes it keeps is known only at run time"),
    ("", "PRelu"): prelu,
    ("", "ReduceMax"): extreme_of_truths("ReduceMax"),
    ("", "ReduceMin"): extreme_of_truths("ReduceMin"),
    ("", "Resize"): resize,
    ("", "RoiAlign"): roi_align,
    ("", "SpaceToDepth"): space_to_depth,
    ("", "Upsample"): upsample,
}
"""(domain, operator) → converter."""
