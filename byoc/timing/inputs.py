"""Random inputs that make sense, and the question whether outputs say anything.

In: names, types and a seed. Out: arrays that a model of images or of text could have been given.
Needs numpy only (`onnx_inputs` reads an `onnx.ModelProto` it is given).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from byoc.errors import InputError
from byoc.segment import Array, TensorType

__all__ = ["onnx_inputs", "random_inputs", "trivial"]


def onnx_inputs(model: Any) -> tuple[dict[str, TensorType], dict[str, int]]:
    """Read what inputs a model takes.

    Args:
        model: An `onnx.ModelProto`.

    Returns:
        Name → type of each input; and for each input of token ids, how many rows the smallest table
        has that it looks up.

    """
    from onnx import helper

    rows = {init.name: int(init.dims[0]) for init in model.graph.initializer if init.dims}
    weights = {init.name for init in model.graph.initializer}
    types = {}
    for info in model.graph.input:
        if info.name in weights:
            continue  # old files list their weights among the inputs
        tensor = info.type.tensor_type
        shape = tuple(
            d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim
        )
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
        types[info.name] = TensorType(shape, dtype)
    limits: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type == "Gather" and node.input[1] in types and node.input[0] in rows:
            name = node.input[1]
            limits[name] = min(limits.get(name, 2**31), rows[node.input[0]])
    return types, limits


def random_inputs(
    types: Mapping[str, TensorType],
    seed: int = 0,
    *,
    dims: Mapping[str, int] | None = None,
    limits: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """Draw an array for every input: images, token ids in range, masks with padding at the end.

    Args:
        types: Name → type.
        seed: Equal seeds draw equal arrays.
        dims: Sizes of symbolic dimensions.
        limits: Exclusive upper bounds of integer inputs (default 2, in range of any table).

    Raises:
        InputError: The size of a symbolic dimension is missing.

    """
    rng = np.random.default_rng([seed, 7])
    sizes, bounds = dims or {}, limits or {}
    inputs: dict[str, Array] = {}
    for name, type_ in types.items():
        missing = [d for d in type_.shape if not isinstance(d, int) and d not in sizes]
        if missing:
            raise InputError(
                f"input {name!r} is {type_}: give a size for dimension {missing[0]!r} "
                f"(on the command line: --dim {missing[0] or 'NAME'}=N)"
            )
        shape = tuple(d if isinstance(d, int) else sizes[d] for d in type_.shape)
        inputs[name] = _draw(rng, name, shape, np.dtype(type_.dtype), bounds.get(name, 2))
    return inputs


def _draw(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], bound: int
) -> Array:
    if dtype.kind == "f":
        draw = _image(rng, shape) if len(shape) == 4 else rng.standard_normal(shape)
        return draw.astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if "mask" in name and shape:
        length = shape[-1]
        valid = rng.integers(max(1, length - length // 4), length + 1, shape[:-1])
        return np.ascontiguousarray(np.arange(length) < valid[..., None], dtype)
    if "type" in name and shape:
        second = np.arange(shape[-1]) >= shape[-1] // 2
        return np.ascontiguousarray(np.broadcast_to(second, shape), dtype)
    return rng.integers(0, bound, shape).astype(dtype)


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
    return np.asarray(image / max(float(image.std()), 1e-6))


def trivial(outputs: Mapping[str, Array] | Iterable[tuple[str, Array]]) -> str | None:
    """Say why agreement on these outputs would prove little.

    That is: values that are not finite, an (almost) constant output, or a softmax that is saturated
    or uniform.

    Args:
        outputs: Arrays by name.

    Returns:
        One sentence, or None when the outputs say something.

    """
    for name, array in dict(outputs).items():
        values = array.astype(np.float64).ravel()
        if values.size < 2:
            continue
        if not np.isfinite(values).all():
            return f"output {name!r} holds values that are not finite"
        if values.std() <= 1e-2 * np.abs(values).max():
            return (
                f"output {name!r} is almost constant: "
                f"spread {values.std():.3g} around {values.mean():.3g}"
            )
        if values.size > 10 and values.min() >= 0 and abs(values.sum() - 1) < 1e-3:
            top = values.max()
            if not 3 / values.size < top < 0.95:
                return f"output {name!r}: softmax is trivial, its largest value is {top:.3g}"
    return None
