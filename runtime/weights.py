"""Arrays in one file member: written once each, mapped when read, dropped when packed.

::

    weights.bin   │ a ......│ b ...│ c .............│     every array at a multiple of 64 bytes
                    ▲ ▲                ▲
    table          (0) (1, same bytes) (2)               (dtype, shape, offset) by number
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from byoc.errors import ArtifactError
from byoc.segment import Array

from .native import numpy_dtype

__all__ = ["ArrayEntry", "WeightsWriter", "map_array", "release"]

ALIGNMENT = 64
_PROBE = 256  # bytes compared before the whole arrays are


@dataclass(frozen=True, slots=True)
class ArrayEntry:
    """One array: `offset` bytes into the member."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


class WeightsWriter:
    """Collects arrays; equal bytes are stored once."""

    def __init__(self) -> None:
        self.entries: list[ArrayEntry] = []
        self.size = 0
        self._blocks: list[tuple[int, Array]] = []  # offset, bytes
        self._by_identity: dict[int, int] = {}  # id of an array → entry
        self._by_content: dict[tuple[int, bytes, bytes], list[tuple[int, Array]]] = {}
        self._kept: list[Array] = []  # ids stay taken while we hold the arrays

    def add(self, array: Array) -> int:
        """Number of the entry that holds `array`."""
        known = self._by_identity.get(id(array))
        if known is not None:
            return known
        dense = array if array.flags.c_contiguous else array.copy(order="C")
        data = dense.reshape(-1).view(np.uint8) if dense.nbytes else np.empty(0, np.uint8)
        entry = ArrayEntry(dense.dtype.name, tuple(dense.shape), self._place(data))
        self.entries.append(entry)
        self._by_identity[id(array)] = len(self.entries) - 1
        self._kept.append(array)
        return len(self.entries) - 1

    def _place(self, data: Array) -> int:
        """Offset of a block with these bytes, a new one unless they are there already."""
        key = (data.nbytes, data[:_PROBE].tobytes(), data[-_PROBE:].tobytes())
        same = self._by_content.setdefault(key, [])
        for offset, block in same:
            if np.array_equal(block, data):
                return offset
        offset = -(-self.size // ALIGNMENT) * ALIGNMENT
        self.size = offset + data.nbytes
        self._blocks.append((offset, data))
        same.append((offset, data))
        return offset

    def chunks(self) -> Iterator[memoryview]:
        """The member's bytes, in order."""
        position = 0
        for offset, data in self._blocks:
            yield memoryview(bytes(offset - position))
            yield data.data
            position = offset + data.nbytes


def map_array(file: mmap.mmap, start: int, size: int, entry: ArrayEntry) -> Array:
    """The array of an entry as a read-only view of a mapped file.

    start, size: where the member lies in the file. Raises ArtifactError when it does not fit.
    """
    dtype = numpy_dtype(entry.dtype)
    count = prod(entry.shape)
    if min(entry.shape, default=0) < 0 or entry.offset < 0 or entry.offset % ALIGNMENT:
        raise ArtifactError(f"array table: {entry} is not legal")
    if entry.offset + count * dtype.itemsize > size:
        raise ArtifactError(f"array table: {entry} reaches beyond the {size} bytes of weights")
    if count == 0:
        return np.empty(entry.shape, dtype)
    flat = np.frombuffer(file, np.uint8, count * dtype.itemsize, start + entry.offset)
    return flat.view(dtype).reshape(entry.shape)


def release(array: Array) -> None:
    """Let the system take back the pages of a mapped array; they are read again when needed.

    Does nothing for an array that is not a view of a mapped file.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if not isinstance(base, mmap.mmap) or not hasattr(base, "madvise"):
        return
    origin = np.frombuffer(base, np.uint8).__array_interface__["data"][0]
    begin = array.__array_interface__["data"][0] - origin
    first = begin // mmap.PAGESIZE * mmap.PAGESIZE
    if array.nbytes:
        base.madvise(mmap.MADV_DONTNEED, first, begin + array.nbytes - first)
