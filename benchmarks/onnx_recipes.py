"""One node of an ONNX operator, drawn at random: operands, attributes, dtypes (`onnx_versions.py`).

A recipe takes (random generator, schema of the version, opset) and gives a draw, or None. What the
version has no attribute for is dropped later, so a recipe speaks for all versions; attributes are
absent at times, legal odd values are drawn (negative axes, windows beyond the edge, bounds that
cross, empty lists). An operator without a recipe gets operands that broadcast and attributes of
every kind; whether that is legal the reference says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import defs, helper, numpy_helper

__all__ = ["RECIPES", "Draw", "generic"]

Rng = np.random.Generator


@dataclass
class Draw:
    """inputs: values, None where absent; fixed: indices of constants; fed: of run-time inputs."""

    inputs: list[Any]
    attrs: dict[str, Any] = field(default_factory=dict)
    fixed: frozenset[int] = frozenset()
    fed: frozenset[int] = frozenset()
    outputs: int = 1


Recipe = Callable[[Rng, Any, int], Draw | None]

_DTYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16",
    "tensor(int8)": "int8", "tensor(int16)": "int16", "tensor(int32)": "int32",
    "tensor(int64)": "int64", "tensor(uint8)": "uint8", "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32", "tensor(uint64)": "uint64", "tensor(bool)": "bool",
}  # fmt: skip


# -- drawing


def pick(rng: Rng, items: Sequence[Any]) -> Any:
    """One of the items."""
    return items[int(rng.integers(len(items)))]


def dtype_for(rng: Rng, schema: Any, index: int = 0) -> str:
    """A dtype that the schema allows for an input; float32 every other time, where it may be."""
    formal = schema.inputs[min(index, len(schema.inputs) - 1)]
    legal = sorted(_DTYPES[t] for t in formal.types if t in _DTYPES)
    if "float32" in legal and rng.random() < 0.5:
        return "float32"
    return str(pick(rng, legal)) if legal else "float32"


def array(rng: Rng, shape: Sequence[int], dtype: str = "float32") -> Any:
    """Random values; floats are multiples of 1/16, halves and whole numbers among them."""
    dims = tuple(shape)
    if dtype == "bool":
        return rng.random(dims) < 0.5
    kind = np.dtype(dtype).kind
    if kind == "f":
        return np.asarray(np.round(rng.standard_normal(dims) * 24) / 16, dtype)
    return np.asarray(rng.integers(0 if kind == "u" else -5, 6, dims), dtype)


def dims(rng: Rng, rank: int | None = None, low: int = 1, high: int = 5) -> list[int]:
    """Sizes of a tensor."""
    rank = int(rng.integers(0, 5)) if rank is None else rank
    return [int(rng.integers(low, high + 1)) for _ in range(rank)]


def maybe(rng: Rng, values: Sequence[Any], absent: float = 0.3) -> Any:
    """One of the values, or None: absent."""
    return None if rng.random() < absent else pick(rng, values)


def part_of(rng: Rng, shape: Sequence[int]) -> list[int]:
    """A shape that broadcasts to this one."""
    kept = [d if rng.random() < 0.7 else 1 for d in shape]
    return kept[int(rng.integers(0, len(kept) + 1)) :] if rng.random() < 0.4 else kept


def generic(rng: Rng, schema: Any, opset: int) -> Draw | None:
    """Operands that broadcast, an attribute of each kind."""
    shape = dims(rng)
    count = max(1, schema.min_input)
    if schema.max_input > count:
        count = int(rng.integers(count, min(schema.max_input, count + 3) + 1))
    kinds: dict[str, str] = {}
    inputs = []
    for index in range(count):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        kind = kinds.setdefault(formal.type_str, dtype_for(rng, schema, index))
        whole = index == 0 or opset < 7
        value = array(rng, shape if whole else part_of(rng, shape), kind)
        inputs.append(value)
    attrs = {}
    for name, attribute in schema.attributes.items():
        if attribute.type == defs.OpSchema.AttrType.FLOAT:
            attrs[name] = maybe(rng, (0.0, 0.25, 0.5, 1.0, -1.5, 3.0))
        elif attribute.type == defs.OpSchema.AttrType.INT and name != "broadcast":
            attrs[name] = maybe(rng, (0, 1, -1, 2))
    return Draw(inputs, attrs)


# -- families


def positive(rng: Rng, schema: Any, opset: int) -> Draw:
    """Sqrt, Log, Reciprocal: above 0."""
    draw = unary(rng, schema, opset)
    draw.inputs[0] = np.abs(draw.inputs[0]) + np.asarray(0.25, draw.inputs[0].dtype)
    return draw


def unary(rng: Rng, schema: Any, opset: int) -> Draw:
    draw = generic(rng, schema, opset)
    assert draw is not None
    draw.inputs[1:] = []
    return draw


def within(low: float, high: float) -> Recipe:
    """Operators that are defined between two bounds."""

    def recipe(rng: Rng, schema: Any, opset: int) -> Draw:
        draw = unary(rng, schema, opset)
        x = draw.inputs[0]
        draw.inputs[0] = np.asarray(rng.uniform(low, high, x.shape), x.dtype)
        return draw

    return recipe


def division(rng: Rng, schema: Any, opset: int) -> Draw | None:
    draw = generic(rng, schema, opset)
    assert draw is not None
    by = draw.inputs[1]
    draw.inputs[1] = np.where(by == 0, np.asarray(3, by.dtype), by)
    if schema.name == "Mod":
        draw.attrs = {"fmod": 1 if by.dtype.kind == "f" else maybe(rng, (0, 1))}
    return draw


def powers(rng: Rng, schema: Any, opset: int) -> Draw | None:
    shape = dims(rng)
    kind = dtype_for(rng, schema)
    other = dtype_for(rng, schema, 1) if opset >= 12 else kind
    base = np.abs(array(rng, shape, kind)) + np.asarray(1, kind)
    return Draw([base, np.abs(array(rng, part_of(rng, shape), other))])


def logical(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng)
    kind = dtype_for(rng, schema)
    other = array(rng, shape if opset < 7 else part_of(rng, shape), kind)
    return Draw([array(rng, shape, kind), other])


def shifts(rng: Rng, schema: Any, opset: int) -> Draw:
    shape, kind = dims(rng), pick(rng, ("uint8", "uint16", "uint32", "uint64"))
    by = np.asarray(rng.integers(0, 8, part_of(rng, shape)), kind)
    value = np.asarray(rng.integers(0, 200, shape), kind)
    return Draw([value, by], {"direction": pick(rng, ("LEFT", "RIGHT"))})


def reduction(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(0, 5)))
    kind = dtype_for(rng, schema)
    x = array(rng, shape, kind)
    if "Log" in schema.name:  # of whole numbers ONNX Runtime rounds at every step
        kind = kind if np.dtype(kind).kind == "f" else "float32"
        x = array(rng, shape, kind)
        x = np.abs(x) + np.asarray(1, kind)
    if schema.name == "ReduceProd":
        x = np.clip(
            x, np.asarray(-2 if np.dtype(kind).kind != "u" else 0, kind), np.asarray(2, kind)
        )
    if schema.name in ("ReduceL2", "ReduceSumSquare", "ReduceLogSumExp") and kind == "float16":
        x = x * np.asarray(pick(rng, (1, 64, 256)), kind)
    rank = len(shape)
    some = list(rng.permutation(rank)[: int(rng.integers(0, rank + 1))])
    axes = [int(a) - (rank if rng.random() < 0.4 else 0) for a in some]
    attrs = {"keepdims": maybe(rng, (0, 1)), "noop_with_empty_axes": maybe(rng, (0, 1))}
    if "axes" in schema.attributes:
        attrs["axes"] = axes or None
        return Draw([x], attrs)
    given = None if rng.random() < 0.3 else np.array(axes, np.int64)
    return Draw(
        [x, given] if given is not None or rng.random() < 0.5 else [x], attrs, frozenset([1])
    )


def arg_reduction(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 5)))
    axis = int(rng.integers(-len(shape), len(shape)))
    attrs = {
        "axis": axis if opset >= 11 else axis % len(shape), "keepdims": maybe(rng, (0, 1)),
        "select_last_index": maybe(rng, (0, 1)),
    }  # fmt: skip
    if rng.random() < 0.3:
        attrs["axis"] = None
    return Draw([array(rng, shape, dtype_for(rng, schema))], attrs)


def on_axis(rng: Rng, schema: Any, opset: int) -> Draw:
    """Softmax, Flatten, …: one tensor, an axis."""
    shape = dims(rng, int(rng.integers(1, 5)))
    rank = len(shape)
    high = rank + 1 if schema.name == "Flatten" else rank
    axis: int | None = int(rng.integers(-rank if opset >= 11 else 0, high))
    if rng.random() < 0.3:
        axis = None
    attrs = {"axis": axis, "p": maybe(rng, (1, 2)), "epsilon": maybe(rng, (1e-5, 0.25)),
             "stash_type": maybe(rng, (1,))}  # fmt: skip
    x = array(rng, shape, dtype_for(rng, schema))
    return Draw([x], attrs)


def shrink(rng: Rng, schema: Any, opset: int) -> Draw:
    """Unsigned numbers stay above 0: what a negative float is as such a number nobody says."""
    kind = dtype_for(rng, schema)
    x = array(rng, dims(rng), kind)
    attrs = {"bias": maybe(rng, (0.0, 0.5, 1.0, -1.5)), "lambd": maybe(rng, (0.25, 1.0, -0.5))}
    if np.dtype(kind).kind == "u":
        x, attrs = x + np.asarray(2, kind), {"bias": maybe(rng, (0.5, 1.0)), "lambd": None}
    return Draw([x], attrs)


def windows(rng: Rng, schema: Any, opset: int, rank: int | None = None) -> tuple[Any, ...]:
    """(sizes, attributes of a window)."""
    rank = int(rng.integers(1, 4)) if rank is None else rank
    kernel = dims(rng, rank, 1, 3)
    sizes = [int(rng.integers(k + 2, k + 7)) for k in kernel]
    attrs: dict[str, Any] = {"kernel_shape": kernel}
    attrs["strides"] = maybe(rng, [dims(rng, rank, 1, 3)])
    attrs["dilations"] = maybe(rng, [dims(rng, rank, 1, 2)], 0.5)
    how = rng.random()
    if how < 0.5:
        attrs["pads"] = [int(rng.integers(0, k)) for k in kernel * 2]
    elif how < 0.8:
        attrs["auto_pad"] = pick(rng, ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"))
        if attrs["auto_pad"].startswith("SAME") and rng.random() < 0.7:
            attrs["dilations"] = None
    return sizes, attrs


def pool(rng: Rng, schema: Any, opset: int) -> Draw:
    sizes, attrs = windows(rng, schema, opset)
    attrs |= {
        "ceil_mode": maybe(rng, (0, 1)), "count_include_pad": maybe(rng, (0, 1)),
        "p": maybe(rng, (1, 2, 3)), "storage_order": maybe(rng, (0, 1), 0.7),
    }  # fmt: skip
    if opset == 1 and schema.name == "LpPool":
        attrs["p"] = maybe(rng, (2.0, 1.0))
    x = array(rng, [*dims(rng, 2, 1, 3), *sizes], dtype_for(rng, schema))
    outputs = 2 if schema.name == "MaxPool" and opset >= 8 and rng.random() < 0.2 else 1
    return Draw([x], attrs, outputs=outputs)


def global_pool(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(2, 6)))
    p = maybe(rng, (1, 2, 3)) if opset > 1 else maybe(rng, (1.0, 2.0))
    return Draw([array(rng, shape, dtype_for(rng, schema))], {"p": p})


def conv(rng: Rng, schema: Any, opset: int) -> Draw:
    sizes, attrs = windows(rng, schema, opset)
    kernel, group = attrs["kernel_shape"], int(rng.integers(1, 4))
    if rng.random() < 0.3:
        attrs["kernel_shape"] = None
    inner, outer = dims(rng, 2, 1, 3)
    attrs["group"] = group if group > 1 or rng.random() < 0.5 else None
    kind = dtype_for(rng, schema)
    x = array(rng, [int(rng.integers(1, 3)), group * inner, *sizes], kind)
    bias = array(rng, [group * outer], kind) if rng.random() < 0.5 else None
    if schema.name == "ConvTranspose":
        w = array(rng, [group * inner, outer, *kernel], kind)
        rank = len(kernel)
        strides = attrs["strides"] or [1] * rank
        if rng.random() < 0.4:
            attrs["output_padding"] = [int(rng.integers(0, s)) for s in strides]
        if rng.random() < 0.25:
            attrs["pads"] = None
            attrs["output_shape"] = [
                int(n * s + rng.integers(-1, 3)) for n, s in zip(sizes, strides, strict=True)
            ]
    else:
        w = array(rng, [group * outer, inner, *kernel], kind)
    return Draw([x, w] if bias is None else [x, w, bias], attrs)


def conv_integer(rng: Rng, schema: Any, opset: int) -> Draw:
    sizes, attrs = windows(rng, schema, opset, 2)
    kind, other = pick(rng, ("uint8", "int8")), pick(rng, ("uint8", "int8"))
    x = array(rng, [1, 2, *sizes], kind)
    w = array(rng, [3, 2, *attrs["kernel_shape"]], other)
    zeros = [array(rng, [], kind), array(rng, pick(rng, ([], [3])), other)]
    return Draw([x, w, *zeros[: int(rng.integers(0, 3))]], attrs)


def gemm(rng: Rng, schema: Any, opset: int) -> Draw:
    m, k, n = dims(rng, 3)
    a_t, b_t = maybe(rng, (0, 1)), maybe(rng, (0, 1))
    kind = dtype_for(rng, schema)
    a = array(rng, [k, m] if a_t else [m, k], kind)
    b = array(rng, [n, k] if b_t else [k, n], kind)
    c = array(rng, pick(rng, ([m, n], [1, n], [m, 1], [n], [1], [])), kind)
    attrs = {"transA": a_t, "transB": b_t}
    if np.dtype(kind).kind == "f":
        attrs |= {"alpha": maybe(rng, (0.5, 0.0, -2.0)), "beta": maybe(rng, (0.5, 0.0, -2.0))}
    if opset < 7:
        attrs["broadcast"] = 1
    return Draw([a, b] if opset >= 11 and rng.random() < 0.3 else [a, b, c], attrs)


def matmul(rng: Rng, schema: Any, opset: int) -> Draw:
    m, k, n = dims(rng, 3)
    batch = dims(rng, int(rng.integers(0, 3)))
    kind = dtype_for(rng, schema)
    other = dtype_for(rng, schema, 1) if schema.name == "MatMulInteger" else kind
    a = array(rng, [k] if rng.random() < 0.2 else [*part_of(rng, batch), m, k], kind)
    b = array(rng, [k] if rng.random() < 0.2 else [*batch, k, n], other)
    zeros: list[Any] = []
    if schema.name == "MatMulInteger":
        zeros = [array(rng, [], kind), array(rng, [], other)][: int(rng.integers(0, 3))]
    return Draw([a, b, *zeros])


def clip(rng: Rng, schema: Any, opset: int) -> Draw:
    kind = dtype_for(rng, schema)
    x = array(rng, dims(rng), kind)
    values = (0, 1, 3) if np.dtype(kind).kind == "u" else (-2, -1, 0, 1, 3)
    low, high = maybe(rng, values), maybe(rng, values)
    if opset < 11:
        return Draw([x], {"min": low and float(low), "max": high and float(high)})
    bounds = [None if v is None else np.asarray(v, kind) for v in (low, high)]
    return Draw([x, *bounds])


def norm(rng: Rng, schema: Any, opset: int) -> Draw:
    """BatchNormalization, InstanceNormalization, GroupNormalization."""
    shape = dims(rng, int(rng.integers(3, 6)), 1, 4)
    if schema.name == "GroupNormalization":
        shape[1] = 6
    kind, count = dtype_for(rng, schema), shape[1]
    attrs = {"epsilon": maybe(rng, (1e-5, 0.1)), "momentum": maybe(rng, (0.5,)),
             "num_groups": pick(rng, (1, 2, 3, 6))}  # fmt: skip
    if schema.name == "BatchNormalization":
        if opset < 7:
            attrs |= {"is_test": 1, "consumed_inputs": [0, 0, 0, 1, 1]}
        if opset < 9:
            attrs["spatial"] = maybe(rng, (1,))
    parts = [array(rng, [count], kind) for _ in range(2)]
    if schema.name == "GroupNormalization" and opset < 21:
        parts = [array(rng, [attrs["num_groups"]], kind) for _ in range(2)]
    if schema.name == "BatchNormalization":
        parts += [
            array(rng, [count], kind),
            np.abs(array(rng, [count], kind)) + np.asarray(1, kind),
        ]
    return Draw([array(rng, shape, kind), *parts], attrs)


def layer_norm(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 5)), 2, 5)
    axis = int(rng.integers(-len(shape), len(shape)))
    given = axis if rng.random() < 0.7 else None
    inner = shape[-1:] if given is None else shape[axis:]
    kind = dtype_for(rng, schema)
    inputs = [array(rng, shape, kind), array(rng, inner, kind)]
    if schema.name == "LayerNormalization" and rng.random() < 0.6:
        inputs.append(array(rng, inner, kind))
    attrs = {"axis": given, "epsilon": maybe(rng, (1e-5, 0.1)), "stash_type": maybe(rng, (1,))}
    return Draw(inputs, attrs, outputs=1)


def lrn(rng: Rng, schema: Any, opset: int) -> Draw:
    attrs = {"size": pick(rng, (1, 2, 3, 4, 5)), "alpha": maybe(rng, (0.01, 1.0)),
             "beta": maybe(rng, (0.5, 1.0)), "bias": maybe(rng, (0.5, 2.0))}  # fmt: skip
    shape = [int(rng.integers(1, 3)), int(rng.integers(1, 7)), *dims(rng, 2)]
    return Draw([array(rng, shape, dtype_for(rng, schema))], attrs)


def resize(rng: Rng, schema: Any, opset: int) -> Draw:
    spatial = int(rng.integers(1, 3)) if rng.random() < 0.8 else 3
    shape = [*dims(rng, 2, 1, 2), *dims(rng, spatial, 2, 9)]
    mode = pick(rng, ("nearest", "linear", "cubic"))
    if mode == "cubic" and (spatial != 2 or opset < 11):
        mode = "linear"
    if mode == "linear" and spatial != 2 and opset < 11:
        mode = "nearest"
    places = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners",
              "tf_crop_and_resize", "half_pixel_symmetric"]  # fmt: skip
    if opset < 13:
        places[-1] = "asymmetric"
    attrs: dict[str, Any] = {
        "mode": mode if mode != "nearest" or rng.random() < 0.6 else None,
        "coordinate_transformation_mode": maybe(rng, places if opset >= 19 else places[:-1]),
        "cubic_coeff_a": maybe(rng, (-0.5, -0.75)),
        "exclude_outside": maybe(rng, (0, 1)) if mode == "cubic" else None,
        "extrapolation_value": maybe(rng, (0.0, 7.5)),
        "antialias": maybe(rng, (0, 1), 0.5) if mode != "nearest" else None,
        "nearest_mode": maybe(rng, ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))
        if mode == "nearest"
        else None,
    }
    factors = (0.3, 0.37, 0.5, 0.6, 0.75, 1.0, 1.6, 2.0, 2.5, 3.0)
    scales = [1.0, 1.0, *(pick(rng, factors) for _ in range(spatial))]
    if schema.name == "Upsample":
        scales = [max(1.0, s) for s in scales]
    kind = pick(rng, ("float32", "float32", "int32", "uint8", "float16"))
    if mode != "nearest" and kind != "float16":
        kind = "float32"
    if schema.name == "Upsample" and opset < 9:
        attrs |= {"scales": scales, "height_scale": scales[-2], "width_scale": scales[-1]}
        return Draw([array(rng, shape, kind)], attrs)
    x, by = array(rng, shape, kind), np.array(scales, np.float32)
    if opset < 11:
        return Draw([x, by], attrs, frozenset([1]))
    roi = None
    if attrs["coordinate_transformation_mode"] == "tf_crop_and_resize":
        begin = [0.0, 0.0, *(pick(rng, (0.0, 0.1, 0.25, -0.2)) for _ in range(spatial))]
        end = [1.0, 1.0, *(pick(rng, (1.0, 0.8, 0.75, 1.2)) for _ in range(spatial))]
        roi = np.array([*begin, *end], np.float32)
    elif opset < 13:
        roi = np.zeros(0, np.float32)
    fixed = frozenset([1, 2, 3])
    if rng.random() < 0.5:
        return Draw([x, roi, by], attrs, fixed)
    sizes = np.array([*shape[:2], *(int(rng.integers(1, 13)) for _ in range(spatial))], np.int64)
    if opset >= 18 and rng.random() < 0.4:
        attrs["axes"] = pick(rng, [list(range(2, 2 + spatial)), list(range(-1, -1 - spatial, -1))])
        order = [a % len(shape) for a in attrs["axes"]]
        if roi is not None:
            roi = np.array([roi[a] for a in order] + [roi[len(shape) + a] for a in order], "f4")
        if attrs["axes"][0] > 0:  # of negative axes ONNX Runtime forgets the policy
            attrs["keep_aspect_ratio_policy"] = maybe(rng, ("stretch", "not_larger", "not_smaller"))
        sizes = sizes[order]
    empty = None if opset >= 13 else np.zeros(0, np.float32)
    return Draw([x, roi, empty, sizes], attrs, fixed)


def roi_align(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = [2, int(rng.integers(1, 4)), 8, 9]
    corners = rng.uniform(0, 6, (3, 2))
    boxes = np.asarray(np.hstack([corners, corners + rng.uniform(0.5, 5, (3, 2))]), np.float32)
    attrs = {
        "mode": maybe(rng, ("avg", "max"), 0.6), "output_height": maybe(rng, (1, 2, 3)),
        "output_width": maybe(rng, (1, 2, 3)), "sampling_ratio": maybe(rng, (0, 1, 2, 3)),
        "spatial_scale": maybe(rng, (0.25, 0.5, 1.0, 2.0)),
        "coordinate_transformation_mode": maybe(rng, ("half_pixel", "output_half_pixel")),
    }  # fmt: skip
    ids = np.asarray(rng.integers(0, 2, 3), np.int64)
    return Draw([array(rng, shape), boxes, ids], attrs)


def max_roi_pool(rng: Rng, schema: Any, opset: int) -> Draw:
    corners = np.round(rng.uniform(0, 4, (3, 2)))
    boxes = np.hstack([rng.integers(0, 2, (3, 1)), corners, corners + rng.integers(1, 5, (3, 2))])
    attrs = {"pooled_shape": dims(rng, 2, 1, 3), "spatial_scale": maybe(rng, (0.5, 1.0, 2.0))}
    return Draw([array(rng, [2, 2, 8, 9]), np.asarray(boxes, np.float32)], attrs)


def grid_sample(rng: Rng, schema: Any, opset: int) -> Draw:
    spatial = 3 if opset >= 20 and rng.random() < 0.3 else 2
    x = array(rng, [2, 2, *dims(rng, spatial, 2, 5)])
    grid = np.asarray(rng.uniform(-1.3, 1.3, [2, *dims(rng, spatial, 1, 4), spatial]), np.float32)
    modes = ("linear", "nearest", "cubic") if opset >= 20 else ("bilinear", "nearest", "bicubic")
    attrs = {"mode": maybe(rng, modes), "align_corners": maybe(rng, (0, 1)),
             "padding_mode": maybe(rng, ("zeros", "border", "reflection"))}  # fmt: skip
    return Draw([x, grid], attrs)


def affine_grid(rng: Rng, schema: Any, opset: int) -> Draw:
    spatial = pick(rng, (2, 3))
    size = np.array([2, 1, *dims(rng, spatial)], np.int64)
    theta = array(rng, [2, spatial, spatial + 1])
    return Draw([theta, size], {"align_corners": maybe(rng, (0, 1))}, frozenset([1]))


def pad(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 5)), 3, 6)
    rank, mode = len(shape), maybe(rng, ("constant", "reflect", "edge", "wrap"))
    low = -1 if mode in (None, "constant") else 0
    pads = [int(v) for v in rng.integers(low, 3, 2 * rank)]
    kind = dtype_for(rng, schema)
    x = array(rng, shape, kind)
    if opset < 11:
        attrs = {"mode": mode, "pads": pads, "paddings": pads, "value": maybe(rng, (0.0, 1.5))}
        return Draw([x], attrs)
    value = array(rng, [], kind) if rng.random() < 0.5 else None
    inputs = [x, np.array(pads, np.int64), value]
    if opset >= 18 and rng.random() < 0.4:
        axes = [int(a) for a in rng.permutation(rank)[: int(rng.integers(1, rank + 1))]]
        inputs[1] = np.array([pads[a] for a in axes] + [pads[rank + a] for a in axes], np.int64)
        axes = [a - rank if rng.random() < 0.4 else a for a in axes]
        inputs.append(np.array(axes, np.int64))
    return Draw(inputs, {"mode": mode}, frozenset([1, 3]))


def slices(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 5)), 2, 6)
    rank = len(shape)
    axes = [int(a) for a in rng.permutation(rank)[: int(rng.integers(1, rank + 1))]]
    some = rng.random() < 0.7
    axes = axes if some else list(range(len(axes)))
    starts = [int(rng.integers(-shape[a] - 2, shape[a] + 2)) for a in axes]
    ends = [pick(rng, (int(rng.integers(-shape[a] - 2, shape[a] + 2)), 2**31 - 1)) for a in axes]
    x = array(rng, shape, dtype_for(rng, schema))
    if opset < 10:
        return Draw([x], {"starts": starts, "ends": ends, "axes": axes if some else None})
    kind = pick(rng, (np.int32, np.int64))
    shown = [a - rank if opset >= 11 and rng.random() < 0.3 else a for a in axes]
    inputs = [x, np.array(starts, kind), np.array(ends, kind)]
    steps = [pick(rng, (1, 2, -1, -2, 3)) for _ in axes]
    if some:
        inputs.append(np.array(shown, kind))
    if rng.random() < 0.6:
        inputs += [None] * (4 - len(inputs)) + [np.array(steps, kind)]
    return Draw(inputs, fixed=frozenset([1, 2, 3, 4]))


def gather(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    axis = int(rng.integers(-len(shape) if opset >= 11 else 0, len(shape)))
    size, low = shape[axis], -shape[axis] if opset >= 11 else 0
    kind = pick(rng, (np.int32, np.int64))
    at = dims(rng, int(rng.integers(0, 3)))
    if schema.name != "Gather":
        at = [
            d if i == axis % len(shape) else int(rng.integers(1, d + 1))
            for i, d in enumerate(shape)
        ]
    ids = np.asarray(rng.integers(low, size, at), kind)
    given = axis if rng.random() < 0.8 or axis % len(shape) else None
    return Draw([array(rng, shape, dtype_for(rng, schema)), ids], {"axis": given})


def gather_nd(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(2, 5)))
    batch = int(rng.integers(0, 2)) if opset >= 12 else 0
    depth = int(rng.integers(1, len(shape) - batch + 1))
    at = [*shape[:batch], *dims(rng, int(rng.integers(0, 2)))]
    ids = [rng.integers(-d, d, at) for d in shape[batch : batch + depth]]
    attrs = {"batch_dims": batch or maybe(rng, (0,))}
    x = array(rng, shape, dtype_for(rng, schema))
    return Draw([x, np.stack(ids, -1).astype(np.int64)], attrs)


def scatter(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    axis = int(rng.integers(-len(shape) if opset >= 11 else 0, len(shape)))
    at = [int(rng.integers(1, d + 1)) for d in shape]
    how = maybe(
        rng, ("none", "add", "mul", "max", "min") if opset >= 18 else ("none", "add", "mul")
    )
    low = -shape[axis] if opset >= 11 else 0
    ids = np.asarray(rng.integers(low, shape[axis], at), np.int64)
    if how in (None, "none"):  # which of two writes comes last is not defined
        order = np.argsort(rng.random([*at]), axis)
        ids = np.asarray(order, np.int64)
    kind = dtype_for(rng, schema)
    attrs = {"axis": axis, "reduction": how}
    if axis == 0 and rng.random() < 0.5:
        attrs["axis"] = None
    return Draw([array(rng, shape, kind), ids, array(rng, at, kind)], attrs)


def scatter_nd(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    depth = int(rng.integers(1, len(shape) + 1))
    how = maybe(
        rng, ("none", "add", "mul", "max", "min") if opset >= 18 else ("none", "add", "mul")
    )
    count = int(np.prod(shape[:depth]))
    flat = rng.permutation(count)[: int(rng.integers(1, count + 1))]
    ids = np.stack(np.unravel_index(flat, shape[:depth]), -1).astype(np.int64)
    if rng.random() < 0.4:
        ids = ids - np.array(shape[:depth])
    kind = dtype_for(rng, schema)
    return Draw([array(rng, shape, kind), ids, array(rng, [len(ids), *shape[depth:]], kind)],
                {"reduction": how})  # fmt: skip


def concat(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    axis = int(rng.integers(-len(shape) if opset >= 11 else 0, len(shape)))
    kind = dtype_for(rng, schema)
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        each = list(shape)
        each[axis] = int(rng.integers(0, 4))
        parts.append(array(rng, each, kind))
    return Draw(parts, {"axis": axis if opset >= 4 or rng.random() < 0.7 else None})


def split(rng: Rng, schema: Any, opset: int) -> Draw:
    parts = dims(rng, int(rng.integers(1, 4)), 1, 3)
    equal = rng.random() < 0.5
    parts = [parts[0]] * len(parts) if equal else parts
    shape = dims(rng, int(rng.integers(1, 4)))
    axis = int(rng.integers(-len(shape) if opset >= 11 else 0, len(shape)))
    shape[axis] = sum(parts)
    attrs: dict[str, Any] = {"axis": axis if axis or rng.random() < 0.5 else None}
    x = array(rng, shape, dtype_for(rng, schema))
    if "num_outputs" in schema.attributes and equal:
        if rng.random() < 0.5 and len(parts) > 1 and parts[0] > 1:
            shape[axis] -= 1
            x = array(rng, shape, str(x.dtype))
        attrs["num_outputs"] = len(parts)
        return Draw([x], attrs, outputs=len(parts))
    if "split" in schema.attributes:
        attrs["split"] = None if equal else parts
        return Draw([x], attrs, outputs=len(parts))
    given = [] if equal else [np.array(parts, np.int64)]
    return Draw([x, *given], attrs, frozenset([1]), outputs=len(parts))


def unique(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    attrs = {"sorted": maybe(rng, (1,)), "axis": maybe(rng, range(-len(shape), len(shape)))}
    return Draw([array(rng, shape, dtype_for(rng, schema))], attrs, outputs=1)


def squeeze(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 5)))
    axes = [int(a) for a in rng.permutation(len(shape))[: int(rng.integers(1, len(shape) + 1))]]
    rank = len(shape) + (len(axes) if schema.name == "Unsqueeze" else 0)
    if schema.name == "Unsqueeze":
        axes = [int(a) for a in rng.permutation(rank)[: len(axes)]]
    else:
        shape = [1 if i in axes else d for i, d in enumerate(shape)]
    axes = [a - rank if opset >= 11 and rng.random() < 0.3 else a for a in axes]
    given = schema.name == "Unsqueeze" or rng.random() < 0.8
    x = array(rng, shape, dtype_for(rng, schema))
    if opset < 13:
        return Draw([x], {"axes": axes if given else None})
    return Draw([x, np.array(axes, np.int64)] if given else [x], fixed=frozenset([1]))


def reshape(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 5)))
    zero = maybe(rng, (0, 1)) if opset >= 14 else None
    target = [*shape[:1], int(np.prod(shape[1:]))] if rng.random() < 0.5 else [*shape[::-1]]
    if rng.random() < 0.5 and target:
        target[int(rng.integers(len(target)))] = -1
    if not zero and target[0] == shape[0] and rng.random() < 0.5:
        target[0] = 0
    x = array(rng, shape, dtype_for(rng, schema))
    if opset < 5:
        return Draw([x], {"shape": target})
    return Draw([x, np.array(target, np.int64)], {"allowzero": zero}, frozenset([1]))


def transpose(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng)
    order = [int(a) for a in rng.permutation(len(shape))]
    return Draw([array(rng, shape, dtype_for(rng, schema))], {"perm": maybe(rng, [order]) or None})


def expand(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    x = array(rng, part_of(rng, shape), dtype_for(rng, schema))
    target = [1 if rng.random() < 0.2 else d for d in shape]
    return Draw([x, np.array(target, np.int64)], fixed=frozenset([1]))


def tile(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    x = array(rng, shape, dtype_for(rng, schema))
    if opset < 6:
        axis = np.asarray(rng.integers(len(shape)), x.dtype)
        return Draw([x, np.asarray(2, x.dtype), axis], fixed=frozenset([1, 2]))
    return Draw([x, np.array(dims(rng, len(shape), 1, 3), np.int64)], fixed=frozenset([1]))


def shape_of(rng: Rng, schema: Any, opset: int) -> Draw:
    x = array(rng, dims(rng), dtype_for(rng, schema))
    return Draw([x], {"start": maybe(rng, (0, 1, -1, -9, 9)), "end": maybe(rng, (0, 1, -1, -9, 9))})


def cast(rng: Rng, schema: Any, opset: int) -> Draw:
    kind = dtype_for(rng, schema)
    to = pick(rng, sorted(set(_DTYPES.values())))
    x = np.abs(array(rng, dims(rng), kind))
    if schema.name == "CastLike":
        return Draw([x, array(rng, [1], to)])
    number = helper.np_dtype_to_tensor_dtype(np.dtype(to))
    name = helper.tensor_dtype_to_string(number).removeprefix("TensorProto.")
    return Draw([x], {"to": name if opset < 6 else number})


def constant_of_shape(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = np.array(dims(rng), np.int64)
    value = array(rng, [1], pick(rng, sorted(set(_DTYPES.values()))))
    attrs = {"value": numpy_helper.from_array(value) if rng.random() < 0.7 else None}
    return Draw([shape], attrs, frozenset([0]))


def constant(rng: Rng, schema: Any, opset: int) -> Draw:
    kinds = [n for n in schema.attributes if n in
             ("value", "value_float", "value_floats", "value_int", "value_ints")]  # fmt: skip
    name = pick(rng, kinds)
    values = {
        "value": numpy_helper.from_array(array(rng, dims(rng), pick(rng, ("float32", "int64")))),
        "value_float": 0.5, "value_floats": [0.5, -1.0], "value_int": 3, "value_ints": [3, -1],
    }  # fmt: skip
    return Draw([], {name: values[name]})


def cum_sum(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    axis = np.asarray(rng.integers(-len(shape), len(shape)), pick(rng, (np.int32, np.int64)))
    attrs = {"exclusive": maybe(rng, (0, 1)), "reverse": maybe(rng, (0, 1))}
    return Draw([array(rng, shape, dtype_for(rng, schema)), axis], attrs, frozenset([1]))


def depth(rng: Rng, schema: Any, opset: int) -> Draw:
    size = pick(rng, (1, 2, 3))
    n, c, h, w = dims(rng, 4, 1, 3)
    if schema.name == "SpaceToDepth":
        shape, attrs = [n, c, h * size, w * size], {"blocksize": size}
    else:
        shape = [n, c * size * size, h, w]
        attrs = {"blocksize": size, "mode": maybe(rng, ("DCR", "CRD"))}
    return Draw([array(rng, shape, dtype_for(rng, schema))], attrs)


def one_hot(rng: Rng, schema: Any, opset: int) -> Draw:
    shape, many = dims(rng, int(rng.integers(0, 3))), int(rng.integers(1, 6))
    low = -many if opset >= 11 else 0
    kind, index = pick(rng, ("float32", "int64", "int32")), pick(rng, ("int64", "int32", "float32"))
    ids = np.asarray(rng.integers(low, many + 1, shape), index)
    values = np.asarray(pick(rng, ([0, 1], [-1, 2])), kind)
    count = np.asarray(many, pick(rng, ("int64", "int32", "float32")))
    axis = int(rng.integers(-len(shape) - 1, len(shape) + 1))
    attrs = {"axis": axis if rng.random() < 0.7 else None}
    return Draw([ids, np.reshape(count, pick(rng, ((), (1,)))), values], attrs, frozenset([1, 2]))


def eye_like(rng: Rng, schema: Any, opset: int) -> Draw:
    x = array(rng, dims(rng, 2), dtype_for(rng, schema))
    return Draw([x], {"k": maybe(rng, (0, 1, -1, 9)), "dtype": maybe(rng, (1, 7, 6, 11))})


def ranges(rng: Rng, schema: Any, opset: int) -> Draw:
    kind = dtype_for(rng, schema)
    start, end, step = pick(rng, ((0, 5, 1), (5, 0, -2), (1, 7, 3), (2, 2, 1), (3, 1, 1)))
    if np.dtype(kind).kind == "u":
        step = abs(step)
    return Draw([np.asarray(v, kind) for v in (start, end, step)], fixed=frozenset([0, 1, 2]))


def top_k(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    axis = int(rng.integers(-len(shape) if opset >= 11 else 0, len(shape)))
    count = int(rng.integers(1, shape[axis] + 1))
    kind = dtype_for(rng, schema)
    x = np.asarray(rng.permutation(int(np.prod(shape))).reshape(shape), kind)
    attrs = {"axis": axis, "largest": maybe(rng, (0, 1)), "sorted": maybe(rng, (1,)), "k": count}
    if axis in (-1, len(shape) - 1) and rng.random() < 0.4:
        attrs["axis"] = None
    inputs = [x] if opset < 10 else [x, np.array([count], np.int64)]
    return Draw(inputs, attrs, frozenset([1]), outputs=2)


def trilu(rng: Rng, schema: Any, opset: int) -> Draw:
    x = array(rng, dims(rng, int(rng.integers(2, 5))), dtype_for(rng, schema))
    inputs = [x] if rng.random() < 0.3 else [x, np.asarray(rng.integers(-3, 4), np.int64)]
    return Draw(inputs, {"upper": maybe(rng, (0, 1))}, frozenset([1]))


def where(rng: Rng, schema: Any, opset: int) -> Draw:
    shape, kind = dims(rng), dtype_for(rng, schema, 1)
    parts = [array(rng, part_of(rng, shape), kind) for _ in range(2)]
    return Draw([array(rng, part_of(rng, shape), "bool"), *parts])


def prelu(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(2, 5)))
    slope = pick(rng, ([1], [shape[1], *[1] * (len(shape) - 2)], shape[-1:], shape))
    if opset < 7:
        slope = pick(rng, ([1], shape[1:2]))
    kind = dtype_for(rng, schema)
    return Draw([array(rng, shape, kind), array(rng, slope, kind)])


def quantize(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 5)))
    axis = int(rng.integers(-len(shape), len(shape)))
    per_axis = opset >= 13 and rng.random() < 0.5
    at = [shape[axis]] if per_axis else []
    attrs: dict[str, Any] = {"axis": axis if per_axis else maybe(rng, (axis,), 0.8)}
    if per_axis and axis in (1, 1 - len(shape)) and rng.random() < 0.5:
        attrs["axis"] = None
    if opset >= 21 and rng.random() < 0.3:
        size = pick(rng, (1, 2, 3))
        at = [-(-d // size) if i == axis % len(shape) else d for i, d in enumerate(shape)]
        attrs |= {"axis": axis, "block_size": size}
    scale = np.asarray(pick(rng, (0.25, 0.5, 0.1)) * (1 + rng.integers(0, 2, at)), np.float32)
    kind = pick(rng, ("uint8", "int8", *(("uint16", "int16") if opset >= 21 else ())))
    zero = array(rng, at, kind) if rng.random() < 0.7 else None
    if schema.name == "QuantizeLinear":
        x = array(rng, shape) * np.float32(4)
        attrs["saturate"] = maybe(rng, (0, 1))
        if zero is None and opset >= 21:
            attrs["output_dtype"] = maybe(rng, (2, 3, 4, 5))
    else:
        if rng.random() < 0.2:
            kind, zero = "int32", None
        x = array(rng, shape, kind)
    return Draw([x, scale] if zero is None else [x, scale, zero], attrs)


def dynamic_quantize(rng: Rng, schema: Any, opset: int) -> Draw:
    return Draw([array(rng, dims(rng, int(rng.integers(1, 4))))], outputs=3)


def qlinear_matmul(rng: Rng, schema: Any, opset: int) -> Draw:
    m, k, n = dims(rng, 3)
    kinds = [pick(rng, ("uint8", "int8"))] * 3
    pairs = [
        (np.float32(s), array(rng, [], kind))
        for s, kind in zip((0.1, 0.2, 0.3), kinds, strict=True)
    ]
    a, b = array(rng, [m, k], kinds[0]), array(rng, [k, n], kinds[1])
    (sa, za), (sb, zb), (sy, zy) = pairs
    return Draw([a, np.asarray(sa), za, b, np.asarray(sb), zb, np.asarray(sy), zy])


def qlinear_conv(rng: Rng, schema: Any, opset: int) -> Draw:
    sizes, attrs = windows(rng, schema, opset, 2)
    kind = pick(rng, ("uint8", "int8"))
    x, w = array(rng, [1, 2, *sizes], kind), array(rng, [3, 2, *attrs["kernel_shape"]], kind)
    inputs = [x, np.float32(0.1), array(rng, [], kind), w, np.float32(0.2), array(rng, [], kind),
              np.float32(0.3), array(rng, [], kind)]  # fmt: skip
    if rng.random() < 0.5:
        inputs.append(array(rng, [3], "int32"))
    return Draw([np.asarray(v) for v in inputs], attrs, frozenset(range(3, 9)))


def recurrent(rng: Rng, schema: Any, opset: int) -> Draw:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[schema.name]
    way = maybe(rng, ("forward", "reverse", "bidirectional"))
    d = 2 if way == "bidirectional" else 1
    t, n, size, hidden = dims(rng, 4, 1, 4)
    layout = maybe(rng, (0, 1), 0.6) if opset >= 14 else None
    x = array(rng, [n, t, size] if layout else [t, n, size])
    inputs: list[Any] = [
        x,
        array(rng, [d, gates * hidden, size]),
        array(rng, [d, gates * hidden, hidden]),
    ]
    state = [n, d, hidden] if layout else [d, n, hidden]
    more: list[Any] = [array(rng, [d, 2 * gates * hidden]), None, array(rng, state)]
    if rng.random() < 0.3:
        more[1] = np.asarray(rng.integers(1, t + 1, n), np.int32)
    if schema.name == "LSTM":
        more += [array(rng, state), array(rng, [d, 3 * hidden])]
    inputs += [
        v if rng.random() < 0.6 else None for v in more[: int(rng.integers(0, len(more) + 1))]
    ]
    attrs = {"hidden_size": hidden, "direction": way, "layout": layout,
             "linear_before_reset": maybe(rng, (0, 1)), "clip": maybe(rng, (0.5, 2.0), 0.7),
             "input_forget": maybe(rng, (0, 1), 0.7), "output_sequence": 1}  # fmt: skip
    if rng.random() < 0.3:
        count = {"RNN": 1, "GRU": 2, "LSTM": 3}[schema.name] * d
        names = ("Tanh", "Sigmoid", "Relu", "Softsign", "HardSigmoid", "LeakyRelu", "Elu", "Affine",
                 "ThresholdedRelu", "ScaledTanh", "Softplus")  # fmt: skip
        attrs["activations"] = [pick(rng, names) for _ in range(count)]
        if rng.random() < 0.5:
            attrs |= {"activation_alpha": [0.3] * count, "activation_beta": [0.6] * count}
    if layout:  # ONNX Runtime lacks it; onnx's evaluator knows little else
        attrs |= {"clip": None, "input_forget": None, "activations": None, "direction": None}
        if len(inputs) > 4:
            inputs[4] = None
    return Draw(inputs, attrs, frozenset([1, 2, 3]), outputs=3 if schema.name == "LSTM" else 2)


def einsum(rng: Rng, schema: Any, opset: int) -> Draw:
    a, b, c = dims(rng, 3)
    kind = dtype_for(rng, schema)
    equation, shapes = pick(rng, (
        ("ij,jk->ik", ([a, b], [b, c])), ("ij,jk", ([a, b], [b, c])),
        ("...ij->...ji", ([a, b, c],)),
        ("ij->", ([a, b],)), ("ii->i", ([a, a],)), ("bij,bkj->bik", ([a, b, c], [a, 2, c])),
        ("i,j->ij", ([a], [b])), ("ba", ([a, b],)), ("...i,...i->...", ([a, b], [a, b])),
    ))  # fmt: skip
    return Draw([array(rng, s, kind) for s in shapes], {"equation": equation})


def compress(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    axis = int(rng.integers(-len(shape) if opset >= 11 else 0, len(shape)))
    given = axis if rng.random() < 0.7 else None
    count = int(np.prod(shape)) if given is None else shape[axis]
    chosen = rng.random(int(rng.integers(1, count + 1))) < 0.6
    return Draw([array(rng, shape, dtype_for(rng, schema)), chosen], {"axis": given})


def crop_pad(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    axes = [int(a) for a in rng.permutation(len(shape))[: int(rng.integers(1, len(shape) + 1))]]
    some = rng.random() < 0.5
    target = dims(rng, len(axes) if some else len(shape), 1, 7)
    return Draw([array(rng, shape, dtype_for(rng, schema)), np.array(target, np.int64)],
                {"axes": axes if some else None}, frozenset([1]))  # fmt: skip


def col2im(rng: Rng, schema: Any, opset: int) -> Draw:
    sizes, attrs = windows(rng, schema, opset, 2)
    attrs = {k: attrs.get(k) for k in ("strides", "dilations", "pads")}
    block = dims(rng, 2, 1, 2)
    strides, dilations = attrs["strides"] or [1, 1], attrs["dilations"] or [1, 1]
    pads = attrs["pads"] or [0] * 4
    steps = [
        (n + pads[i] + pads[i + 2] - (k - 1) * dilations[i] - 1) // strides[i] + 1
        for i, (n, k) in enumerate(zip(sizes, block, strict=True))
    ]
    x = array(rng, [2, 2 * int(np.prod(block)), int(np.prod(steps))], dtype_for(rng, schema))
    inputs = [x, np.array(sizes, np.int64), np.array(block, np.int64)]
    return Draw(inputs, attrs, frozenset([1, 2]))


def unpool(rng: Rng, schema: Any, opset: int) -> Draw:
    n, c, h, w = dims(rng, 4, 1, 3)
    ids = np.stack([rng.permutation(4 * h * w)[: h * w].reshape(h, w) for _ in range(n * c)])
    ids = ids.reshape(n, c, h, w)
    ids += (np.arange(n * c) * 4 * h * w).reshape(n, c, 1, 1)
    attrs = {"kernel_shape": [2, 2], "strides": [2, 2]}
    return Draw([array(rng, [n, c, h, w]), np.asarray(ids, np.int64)], attrs)


def suppression(rng: Rng, schema: Any, opset: int) -> Draw:
    corners = rng.uniform(0, 4, (1, 6, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.5, 3, (1, 6, 2))], -1)
    scores = rng.permutation(12).reshape(1, 2, 6) / 12
    most = np.array([pick(rng, (1, 3, 9))], np.int64)
    bounds = [np.array([v], np.float32) for v in (pick(rng, (0.3, 0.6)), pick(rng, (0.1, 0.5)))]
    inputs = [boxes.astype(np.float32), scores.astype(np.float32), most, *bounds]
    attrs = {"center_point_box": maybe(rng, (0, 1))}
    return Draw(inputs[: int(rng.integers(3, 6))], attrs, frozenset([2, 3, 4]))


def nothing(rng: Rng, schema: Any, opset: int) -> Draw | None:
    """Window functions of a length."""
    attrs = {"periodic": maybe(rng, (0, 1)), "output_datatype": maybe(rng, (1, 11))}
    return Draw([np.asarray(rng.integers(2, 9), np.int64)], attrs, frozenset([0]))


def dft(rng: Rng, schema: Any, opset: int) -> Draw:
    inverse, one_sided = maybe(rng, (0, 1)), maybe(rng, (0, 1))
    parts = 2 if inverse or rng.random() < 0.4 else 1
    shape = [int(rng.integers(1, 3)), *dims(rng, int(rng.integers(1, 3)), 2, 6), parts]
    axis = int(rng.integers(1, len(shape) - 1))
    x = array(rng, shape, dtype_for(rng, schema))
    attrs = {"inverse": inverse, "onesided": one_sided if parts == 1 or not one_sided else None}
    length = np.asarray(rng.integers(2, 8), np.int64) if rng.random() < 0.4 else None
    if opset < 20:
        return Draw([x, length], attrs | {"axis": maybe(rng, (axis,))}, frozenset([1]))
    return Draw([x, length, np.asarray(axis, np.int64)], attrs, frozenset([1, 2]))


def dropout(rng: Rng, schema: Any, opset: int) -> Draw:
    x = array(rng, dims(rng), dtype_for(rng, schema))
    attrs = {"ratio": maybe(rng, (0.3,)), "is_test": 1, "consumed_inputs": [0]}
    inputs = [x] if opset < 12 or rng.random() < 0.5 else [x, np.asarray(0.3, np.float32)]
    return Draw(inputs, attrs, frozenset([1]), outputs=int(rng.integers(1, 3)) if opset >= 7 else 1)


def inert(rng: Rng, schema: Any, opset: int) -> Draw:
    """Hardmax, MeanVarianceNormalization, …: distinct values."""
    draw = on_axis(rng, schema, opset)
    x = draw.inputs[0]
    draw.inputs[0] = np.asarray(rng.permutation(x.size).reshape(x.shape) / 4, x.dtype)
    return draw


def mean_variance(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, 4, 2, 4)
    axes = pick(rng, ([0, 2, 3], [1], [0, -1], [2, 3]))
    return Draw([array(rng, shape)], {"axes": maybe(rng, [axes])})


RECIPES: Mapping[str, Recipe] = {
    "Acos": within(-1, 1), "Acosh": within(1, 4), "AffineGrid": affine_grid, "And": logical,
    "ArgMax": arg_reduction, "ArgMin": arg_reduction, "Asin": within(-1, 1),
    "Atanh": within(-0.9, 0.9), "AveragePool": pool, "BatchNormalization": norm,
    "BitShift": shifts, "BlackmanWindow": nothing, "Cast": cast, "CastLike": cast,
    "CenterCropPad": crop_pad, "Clip": clip, "Col2Im": col2im, "Compress": compress,
    "Concat": concat, "Constant": constant, "ConstantOfShape": constant_of_shape, "Conv": conv,
    "ConvInteger": conv_integer, "ConvTranspose": conv, "CumProd": cum_sum, "CumSum": cum_sum,
    "DFT": dft, "DepthToSpace": depth, "DequantizeLinear": quantize, "Div": division,
    "Dropout": dropout, "DynamicQuantizeLinear": dynamic_quantize, "Einsum": einsum,
    "Equal": logical, "Expand": expand, "EyeLike": eye_like, "Flatten": on_axis,
    "GRU": recurrent, "Gather": gather, "GatherElements": gather, "GatherND": gather_nd,
    "Gemm": gemm, "GlobalAveragePool": global_pool, "GlobalLpPool": global_pool,
    "GlobalMaxPool": global_pool, "GridSample": grid_sample, "GroupNormalization": norm,
    "HammingWindow": nothing, "HannWindow": nothing, "Hardmax": inert,
    "InstanceNormalization": norm, "LRN": lrn, "LSTM": recurrent,
    "LayerNormalization": layer_norm, "Log": positive, "LogSoftmax": on_axis,
    "LpNormalization": on_axis, "LpPool": pool, "MatMul": matmul, "MatMulInteger": matmul,
    "MaxPool": pool, "MaxRoiPool": max_roi_pool, "MaxUnpool": unpool,
    "MeanVarianceNormalization": mean_variance, "Mod": division,
    "NonMaxSuppression": suppression, "OneHot": one_hot, "Or": logical, "PRelu": prelu,
    "Pad": pad, "Pow": powers, "QLinearConv": qlinear_conv, "QLinearMatMul": qlinear_matmul,
    "QuantizeLinear": quantize, "RMSNormalization": layer_norm, "RNN": recurrent,
    "Range": ranges, "Reciprocal": positive, "ReduceL1": reduction, "ReduceL2": reduction,
    "ReduceLogSum": reduction, "ReduceLogSumExp": reduction, "ReduceMax": reduction,
    "ReduceMean": reduction, "ReduceMin": reduction, "ReduceProd": reduction,
    "ReduceSum": reduction, "ReduceSumSquare": reduction, "Reshape": reshape, "Resize": resize,
    "RoiAlign": roi_align, "Scatter": scatter, "ScatterElements": scatter,
    "ScatterND": scatter_nd, "Shape": shape_of, "Shrink": shrink, "Slice": slices,
    "Softmax": on_axis,
    "SpaceToDepth": depth, "Split": split, "Sqrt": positive, "Squeeze": squeeze, "Tile": tile,
    "TopK": top_k, "Transpose": transpose, "Trilu": trilu, "Unique": unique,
    "Unsqueeze": squeeze,
    "Upsample": resize, "Where": where, "Xor": logical,
}  # fmt: skip
"""Operator → its recipe; the others have the generic one."""
