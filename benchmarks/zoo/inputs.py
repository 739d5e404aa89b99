"""Inputs that make sense for a model, and the question whether its outputs say anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

__all__ = ["calibration_inputs", "check_nontrivial", "random_inputs"]

Array = npt.NDArray[Any]


def _image(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Noise with most of its energy in large blobs, as photographs have (about 1/f).

    White noise averages out in deep nets: every input would give the same output.
    """
    batch, channels, height, width = shape
    image = np.zeros(shape, np.float32)
    for cells in (1, 2, 4, 8, 16, 32, 64):
        if cells > min(height, width):
            break
        grid = rng.standard_normal((batch, channels, cells, cells), np.float32)
        rows = np.arange(height) * cells // height
        columns = np.arange(width) * cells // width
        image += grid[:, :, rows][:, :, :, columns]
    image += 0.3 * rng.standard_normal(shape, np.float32)
    return np.ascontiguousarray(image / image.std(), np.float32)


def _vocabulary(model: onnx.ModelProto, name: str) -> int:
    """Rows of the smallest table that the integer input `name` looks up."""
    rows = {init.name: init.dims[0] for init in model.graph.initializer if init.dims}
    found = [
        rows[node.input[0]]
        for node in model.graph.node
        if node.op_type == "Gather" and node.input[1] == name and node.input[0] in rows
    ]
    return min(found, default=2)


def random_inputs(
    model: onnx.ModelProto, seed: int = 0, dims: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """Random inputs by name: images, token ids in range, masks of ones with padding at the end.

    dims: sizes of symbolic dimensions. Raises ValueError when one is missing.
    """
    rng = np.random.default_rng([seed, 7])
    dims = dims or {}
    weights = {init.name for init in model.graph.initializer}
    inputs: dict[str, Array] = {}
    for info in model.graph.input:
        if info.name in weights:
            continue
        tensor = info.type.tensor_type
        shape = []
        for dim in tensor.shape.dim:
            if not dim.HasField("dim_value") and dim.dim_param not in dims:
                raise ValueError(f"input {info.name!r}: give a size for {dim.dim_param!r}")
            shape.append(dim.dim_value if dim.HasField("dim_value") else dims[dim.dim_param])
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        inputs[info.name] = _draw(model, info.name, tuple(shape), np.dtype(dtype), rng)
    return inputs


def calibration_inputs(
    model: onnx.ModelProto, seed: int, dims: Mapping[str, int] | None = None
) -> list[dict[str, Array]]:
    """Some inputs for `benchmarks.zoo.calibrate`; other ones than `random_inputs` is asked for."""
    first = 1_000_003 + 16 * seed
    return [random_inputs(model, seed, dims) for seed in range(first, first + 4)]


def _draw(
    model: onnx.ModelProto,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    rng: np.random.Generator,
) -> Array:
    if dtype.kind == "f":
        if len(shape) == 4:
            return _image(rng, shape).astype(dtype)
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if "mask" in name:
        length = shape[-1]
        valid = rng.integers(max(1, length - length // 4), length + 1, shape[:-1])
        return np.ascontiguousarray(np.arange(length) < valid[..., None], dtype)
    if "type" in name:
        return np.ascontiguousarray(
            np.broadcast_to(np.arange(shape[-1]) >= shape[-1] // 2, shape), dtype
        )
    return rng.integers(0, _vocabulary(model, name), shape).astype(dtype)


def check_nontrivial(outputs: Mapping[str, Array]) -> None:
    """Raise ValueError when an output could be right by accident.

    That is: not finite, (almost) constant, or a softmax that is saturated or uniform.
    """
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise ValueError(f"output {name!r} holds values that are not finite")
        values = array.astype(np.float64).ravel()
        if values.std() <= 1e-2 * np.abs(values).max():
            raise ValueError(
                f"output {name!r} is almost constant: spread {values.std():.3g} "
                f"around {values.mean():.3g}"
            )
        if values.size > 10 and values.min() >= 0 and abs(values.sum() - 1) < 1e-3:
            top = values.max()
            if not 3 / values.size < top < 0.95:
                raise ValueError(f"output {name!r}: softmax is trivial, largest value {top:.3g}")
