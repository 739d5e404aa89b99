"""The weights of a program as one file member: arrays collected, written once each, given back.

::

    weights.bin   │ a ......│ b ...│ c .............│     every array at a multiple of 64 bytes
                    ▲ ▲                ▲
    table          (0) (1, same bytes) (2)               (dtype, shape, offset) by number

runtime/src/artifact/weights.h reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from byoc.runtime.native import dense, function
from byoc.segment import Array, Artifact, Blob
from byoc.support.memory import round_up

__all__ = ["ArrayEntry", "WeightsWriter", "blob_array", "blob_arrays", "release"]

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
        """Take an array in, unless it is there already; tell the number of its entry."""
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
        """Give the member's bytes, in order; pages of mapped arrays are given back on the way."""
        position = 0
        for offset, data in self._blocks:
            yield memoryview(bytes(offset - position))
            yield data.data
            release(data)  # of a model's file: it was read to be written
            position = offset + data.nbytes


def blob_array(blob: Blob) -> Array:
    """Return a blob's bytes as an array over the same memory.

    Args:
        blob: Of an artifact.
    """
    return np.frombuffer(blob, np.uint8) if len(blob) else np.empty(0, np.uint8)


def blob_arrays(artifacts: Iterable[Artifact]) -> Iterator[Array]:
    """Give the blobs that may lie in a mapped file, as arrays.

    Args:
        artifacts: Whose blobs.
    """
    for artifact in artifacts:
        if isinstance(artifact.blob, memoryview):
            yield blob_array(artifact.blob)


def release(array: Array) -> None:
    """Let the system take back the pages of a mapped array; they are read again when needed.

    Args:
        array: Nothing happens for one that is not a view of a mapped file.

    """
    function("release_pages")(array.__array_interface__["data"][0], array.nbytes)
