"""Draws of operators that move, make, cast and reshape tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from benchmarks.onnx_recipes.drawing import (
    _DTYPES,
    Draw,
    Rng,
    array,
    dims,
    dtype_for,
    maybe,
    part_of,
    pick,
)

__all__ = [
    "cast",
    "concat",
    "constant",
    "constant_of_shape",
    "depth",
    "dft",
    "expand",
    "eye_like",
    "nothing",
    "pad",
    "ranges",
    "reshape",
    "shape_of",
    "split",
    "squeeze",
    "tile",
    "transpose",
    "trilu",
]


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


def depth(rng: Rng, schema: Any, opset: int) -> Draw:
    size = pick(rng, (1, 2, 3))
    n, c, h, w = dims(rng, 4, 1, 3)
    if schema.name == "SpaceToDepth":
        shape, attrs = [n, c, h * size, w * size], {"blocksize": size}
    else:
        shape = [n, c * size * size, h, w]
        attrs = {"blocksize": size, "mode": maybe(rng, ("DCR", "CRD"))}
    return Draw([array(rng, shape, dtype_for(rng, schema))], attrs)


def eye_like(rng: Rng, schema: Any, opset: int) -> Draw:
    x = array(rng, dims(rng, 2), dtype_for(rng, schema))
    return Draw([x], {"k": maybe(rng, (0, 1, -1, 9)), "dtype": maybe(rng, (1, 7, 6, 11))})


def ranges(rng: Rng, schema: Any, opset: int) -> Draw:
    kind = dtype_for(rng, schema)
    start, end, step = pick(rng, ((0, 5, 1), (5, 0, -2), (1, 7, 3), (2, 2, 1), (3, 1, 1)))
    if np.dtype(kind).kind == "u":
        step = abs(step)
    return Draw([np.asarray(v, kind) for v in (start, end, step)], fixed=frozenset([0, 1, 2]))


def trilu(rng: Rng, schema: Any, opset: int) -> Draw:
    x = array(rng, dims(rng, int(rng.integers(2, 5))), dtype_for(rng, schema))
    inputs = [x] if rng.random() < 0.3 else [x, np.asarray(rng.integers(-3, 4), np.int64)]
    return Draw(inputs, {"upper": maybe(rng, (0, 1))}, frozenset([1]))


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
