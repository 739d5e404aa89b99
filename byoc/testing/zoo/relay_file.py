"""A module of Relay as data, and tensors as TVM stores them.

In: calls and constants. Out: bytes of a `.params` file; what `relay_json` and `relay_text` write.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from byoc.segment import Array

__all__ = ["GraphOfFile", "RelayCall", "params_bytes", "tensor_bytes"]


@dataclass(frozen=True)
class RelayCall:
    """One call of Relay.

    Attributes:
        name: Of its result.
        op: The operator.
        args: Names of values; ("tuple", names) for a tuple.
        attrs: Its attributes.
        field: The field of its result that is read, None for all of it.

    """

    name: str
    op: str
    args: tuple[Any, ...]
    attrs: dict[str, Any]
    field: int | None = None


@dataclass
class GraphOfFile:
    """A module of Relay with one function.

    Attributes:
        inputs: Name → (shape, dtype).
        constants: Name → array.
        calls: In order.
        output: Name of the result.

    """

    inputs: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    calls: list[RelayCall] = field(default_factory=list)
    output: str = ""


_CODES = {"i": 0, "u": 1, "f": 2, "b": 1}


def tensor_bytes(array: Array) -> bytes:
    """Return a tensor as TVM stores it: header, shape, elements."""
    array = np.ascontiguousarray(array).reshape(np.shape(array))
    bits = 1 if array.dtype.kind == "b" else array.dtype.itemsize * 8
    head = struct.pack("<QQiii", 0xDD5E40F096B4A13F, 0, 1, 0, array.ndim)
    kind = struct.pack("<BBH", _CODES[array.dtype.kind], bits, 1)
    shape = struct.pack(f"<{array.ndim}q", *array.shape)
    return head + kind + shape + struct.pack("<q", array.nbytes) + array.tobytes()


def params_bytes(arrays: dict[str, Array]) -> bytes:
    """Return arrays by name as a `.params` file."""
    names = [n.encode() for n in arrays]
    parts = [struct.pack("<QQQ", 0xF7E58D4F05049CB7, 0, len(names))]
    parts += [struct.pack("<Q", len(n)) + n for n in names]
    parts.append(struct.pack("<Q", len(names)))
    return b"".join([*parts, *map(tensor_bytes, arrays.values())])
