"""Draws of operators that read, write, choose and sort by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.onnx_recipes.drawing import Draw, Rng, array, dims, dtype_for, maybe, pick

__all__ = [
    "compress",
    "gather",
    "gather_nd",
    "one_hot",
    "scatter",
    "scatter_nd",
    "slices",
    "top_k",
    "unique",
]


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


def unique(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    attrs = {"sorted": maybe(rng, (1,)), "axis": maybe(rng, range(-len(shape), len(shape)))}
    return Draw([array(rng, shape, dtype_for(rng, schema))], attrs, outputs=1)


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


def compress(rng: Rng, schema: Any, opset: int) -> Draw:
    shape = dims(rng, int(rng.integers(1, 4)))
    axis = int(rng.integers(-len(shape) if opset >= 11 else 0, len(shape)))
    given = axis if rng.random() < 0.7 else None
    count = int(np.prod(shape)) if given is None else shape[axis]
    chosen = rng.random(int(rng.integers(1, count + 1))) < 0.6
    return Draw([array(rng, shape, dtype_for(rng, schema)), chosen], {"axis": given})
