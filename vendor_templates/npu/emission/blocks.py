"""Blocks of output channels: their weights as the array wants them, and when they are loaded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from byoc.vendor_templates.npu.emission.writer import ProgramWriter
from byoc.vendor_templates.npu.lowering.int8_graph import Conv
from byoc.vendor_templates.npu.planning.plans import WindowPlan, align, spans

__all__ = ["Block", "channel_blocks"]


def channel_blocks(op: Conv, nb: int) -> Sequence[tuple[int, int]]:
    """Return the range [first, end) of each block of output channels; no block crosses a group.

    Args:
        op: The convolution.
        nb: Largest number of output channels in a block.
    """
    oc = op.shape_out[3]
    per_group = oc if op.depthwise else oc // op.groups
    return [
        (group + first, group + end)
        for group in range(0, oc, per_group)
        for first, end in spans(per_group, nb)
    ]


class Block:
    """A block of output channels: its weights in chunks of k, its parameters with the last one.

    Args:
        op: The convolution.
        plan: How it is cut.
        first: First output channel.
        end: One past the last output channel.
    """

    def __init__(self, op: Conv, plan: WindowPlan, first: int, end: int) -> None:
        self.first, self.end, self.count = first, end, end - first
        self.k = op.weights[0].size
        self.kc = plan.kc
        self.stay = plan.weights_stay
        self.channel = 0
        if not op.depthwise:
            self.channel = first // (op.shape_out[3] // op.groups) * op.weights.shape[3]
        self._parts = _pack(op, plan, first, end)
        self.chunks = len(self._parts)
        self.bytes = sum(len(data) for data, _ in self._parts)
        self._sources: list[int | None] = [None] * self.chunks
        self._loaded: int | None = None  # the chunk that lies in the scratchpad, and where
        self._at = 0

    def load_whole(self, w: ProgramWriter) -> None:
        """Load the only chunk of a block that stays."""
        self._fetch(w, 0)

    def chunk(self, w: ProgramWriter, index: int) -> tuple[int, int]:
        """Return where a chunk of weights lies in the weight scratchpad, loaded unless it is there.

        Args:
            w: The program being written; a load is appended to it.
            index: Number of the chunk within the block.

        Returns:
            The address in the weight scratchpad, and the bytes of the weights there.
        """
        if self._loaded != index:
            self._fetch(w, index)
        return self._at, self._parts[index][1]

    def forget(self, stay: bool) -> None:
        """Other blocks go through the ring before this one is needed again."""
        if not stay:
            self._loaded = None

    def params(self) -> tuple[int, int]:
        """Return the addresses of parameters and table; the last chunk must be loaded."""
        at = self._at + align(self._parts[-1][1], 4)
        return at, at + 8 * self.count

    def _fetch(self, w: ProgramWriter, index: int) -> None:
        data = self._parts[index][0]
        source = self._sources[index]
        if source is None:
            source = w.constant(data)
            self._sources[index] = source
        self._at = w.reload(source, len(data))
        self._loaded = index


def _pack(op: Conv, plan: WindowPlan, first: int, end: int) -> list[tuple[bytes, int]]:
    """(bytes, of which weights) of each chunk of a block."""
    weights = op.weights[first:end].reshape(end - first, -1)
    params = b"".join(
        np.ascontiguousarray(values[first:end], kind).tobytes()
        for values, kind in ((op.bias, "<i4"), (op.scale, "<f4"))
    )
    if op.table is not None:
        params += op.table.tobytes()
    chunks = []
    for begin in range(0, weights.shape[1], plan.kc):
        piece = weights[:, begin : begin + plan.kc]
        if op.depthwise:
            data = np.ascontiguousarray(piece.T).tobytes()
        else:
            n, k = piece.shape
            padded = np.zeros((align(n, 16), align(k, 4)), np.int8)
            padded[:n, :k] = piece
            blocks = padded.reshape(-1, 16, padded.shape[1] // 4, 4).transpose(0, 2, 1, 3)
            data = np.ascontiguousarray(blocks).tobytes()
        chunks.append(data)
    sizes = [len(data) for data in chunks]
    chunks[-1] += bytes(-len(chunks[-1]) % 4) + params
    return list(zip(chunks, sizes, strict=True))
