"""Draws of integer and quantised operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.onnx_recipes.drawing import Draw, Rng, array, dims, maybe, pick
from benchmarks.onnx_recipes.neural import windows

__all__ = ["conv_integer", "dynamic_quantize", "qlinear_conv", "qlinear_matmul", "quantize"]


def conv_integer(rng: Rng, schema: Any, opset: int) -> Draw:
    sizes, attrs = windows(rng, schema, opset, 2)
    kind, other = pick(rng, ("uint8", "int8")), pick(rng, ("uint8", "int8"))
    x = array(rng, [1, 2, *sizes], kind)
    w = array(rng, [3, 2, *attrs["kernel_shape"]], other)
    zeros = [array(rng, [], kind), array(rng, pick(rng, ([], [3])), other)]
    return Draw([x, w, *zeros[: int(rng.integers(0, 3))]], attrs)


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
