"""What every recipe draws with: values, sizes, dtypes, and the generic draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import defs

__all__ = [
    "Draw",
    "Recipe",
    "Rng",
    "array",
    "dims",
    "dtype_for",
    "generic",
    "maybe",
    "on_axis",
    "part_of",
    "pick",
]

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
