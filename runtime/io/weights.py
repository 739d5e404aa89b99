"""Arrays in one file member: written once each, mapped when read, dropped when packed.

::

    weights.bin   │ a ......│ b ...│ c .............│     every array at a multiple of 64 bytes
                    ▲ ▲                ▲
    table          (0) (1, same bytes) (2)               (dtype, shape, offset) by number
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from byoc.errors import ArtifactError
from byoc.runtime.native import dense, function
from byoc.segment import Array
from byoc.support.dtypes import numpy_dtype
from byoc.support.memory import ALIGNMENT, round_up

__all__ = ["ArrayEntry", "WeightsWriter", "map_member", "release", "view_array"]

_MAX_RANK = 64
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
        stored = dense(array)
        data = stored.reshape(-1).view(np.uint8) if stored.nbytes else np.empty(0, np.uint8)
        entry = ArrayEntry(stored.dtype.name, tuple(stored.shape), self._place(data))
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
        offset = round_up(self.size)
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
            release(data)  # of a model's file: it was read to be written
            position = offset + data.nbytes


def map_member(fd: int, start: int, size: int) -> Array:
    """Bytes of a file, mapped read-only; unmapped when the last view of them is gone.

    start: a multiple of the page size.
    """
    if size == 0:
        return np.empty(0, np.uint8)
    data = np.from_dlpack(function("MapFile")(fd, start, size))
    data.flags.writeable = False
    return data


def view_array(data: Array, entry: ArrayEntry) -> Array:
    """The array of an entry as a view of the member's bytes.

    Raises ArtifactError when it does not fit.
    """
    dtype = numpy_dtype(entry.dtype)
    if len(entry.shape) > _MAX_RANK:  # the product of so many numbers alone can take hours
        raise ArtifactError(
            f"array table: an array of {len(entry.shape)} dimensions is not legal; numpy has up to "
            f"{_MAX_RANK}"
        )
    nbytes = prod(entry.shape) * dtype.itemsize
    if min(entry.shape, default=0) < 0 or entry.offset < 0 or entry.offset % ALIGNMENT:
        raise ArtifactError(f"array table: {entry} is not legal")
    if entry.offset + nbytes > data.nbytes:
        raise ArtifactError(f"array table: {entry} reaches beyond {data.nbytes} bytes of weights")
    if nbytes == 0:
        return np.empty(entry.shape, dtype)
    return data[entry.offset : entry.offset + nbytes].view(dtype).reshape(entry.shape)


def release(array: Array) -> None:
    """Let the system take back the pages of a mapped array; they are read again when needed.

    Does nothing for an array that is not a view of a mapped file.
    """
    function("release_pages")(array.__array_interface__["data"][0], array.nbytes)
