"""Draws of operators that work on each element, and of reductions over axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.onnx_recipes.drawing import (
    Draw,
    Recipe,
    Rng,
    array,
    dims,
    dtype_for,
    generic,
    maybe,
    on_axis,
    part_of,
    pick,
)

__all__ = [
    "arg_reduction",
    "clip",
    "cum_sum",
    "division",
    "dropout",
    "inert",
    "logical",
    "mean_variance",
    "positive",
    "powers",
    "prelu",
    "reduction",
    "shifts",
    "shrink",
    "unary",
    "where",
    "within",
]


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


def shrink(rng: Rng, schema: Any, opset: int) -> Draw:
    """Unsigned numbers stay above 0: what a negative float is as such a number nobody says."""
    kind = dtype_for(rng, schema)
    x = array(rng, dims(rng), kind)
    attrs = {"bias": maybe(rng, (0.0, 0.5, 1.0, -1.5)), "lambd": maybe(rng, (0.25, 1.0, -0.5))}
    if np.dtype(kind).kind == "u":
        x, attrs = x + np.asarray(2, kind), {"bias": maybe(rng, (0.5, 1.0)), "lambd": None}
    return Draw([x], attrs)


def clip(rng: Rng, schema: Any, opset: int) -> Draw:
    kind = dtype_for(rng, schema)
    x = array(rng, dims(rng), kind)
    values = (0, 1, 3) if np.dtype(kind).kind == "u" else (-2, -1, 0, 1, 3)
    low, high = maybe(rng, values), maybe(rng, values)
    if opset < 11:
        return Draw([x], {"min": low and float(low), "max": high and float(high)})
    bounds = [None if v is None else np.asarray(v, kind) for v in (low, high)]
    return Draw([x, *bounds])


def cum_sum(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    axis = np.asarray(rng.integers(-len(shape), len(shape)), pick(rng, (np.int32, np.int64)))
    attrs = {"exclusive": maybe(rng, (0, 1)), "reverse": maybe(rng, (0, 1))}
    return Draw([array(rng, shape, dtype_for(rng, schema)), axis], attrs, frozenset([1]))


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
