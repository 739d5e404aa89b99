"""The program being written: its buffers, its constants, and copies between memories.

In: a graph and its memory layout. Out: a stream of instructions and the image of their constants.

Buffers of the running operation are taken from address 0 up (odd operations: from the end of the
region down), so that the first tile of the next operation can be loaded while the last of this
one is computed. Weights go round the weight scratchpad in a ring; sums alternate between the
halves of the accumulators. Nothing here thinks about tokens: `Stream` orders what conflicts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from byoc.errors import CompileError
from byoc.segment import Array
from byoc.vendor_templates.npu.emission.token_stream import Access, Stream
from byoc.vendor_templates.npu.lowering.int8_graph import Int8Graph
from byoc.vendor_templates.npu.machine.config import NpuConfig
from byoc.vendor_templates.npu.planning.memory_layout import MemoryLayout
from byoc.vendor_templates.npu.planning.plans import Settings, align

__all__ = ["Box", "Buffers", "ProgramWriter", "View"]

Box = tuple[tuple[int, int, int, int], int, tuple[int, int], tuple[int, int], tuple[int, int]]
"""(shape of the tensor, image, rows, columns, channels) of a piece of a tensor."""


@dataclass(frozen=True, slots=True)
class View:
    """Pixels in the activation scratchpad.

    Args:
        address: Of the pixel (row0, col0).
        row0: Row that the view begins with.
        col0: Column that the view begins with.
        row: Bytes between rows.
        pix: Bytes between pixels of a row.
    """

    address: int
    row0: int
    col0: int
    row: int
    pix: int

    def at(self, row: int, col: int) -> int:
        """Return the address of a pixel in the activation scratchpad.

        Args:
            row: Row of the pixel in the image.
            col: Column of the pixel in the image.
        """
        return self.address + (row - self.row0) * self.row + (col - self.col0) * self.pix


class Buffers:
    """A few equal buffers in the activation scratchpad, used in turn.

    Args:
        first: Address of the first.
        size: Bytes of each.
        count: How many there are.
    """

    def __init__(self, first: int, size: int, count: int) -> None:
        self.first, self.size, self.count, self.turn = first, size, max(count, 1), -1

    def next(self) -> int:
        """Return the address of the next buffer in turn."""
        self.turn = (self.turn + 1) % self.count
        return self.first + self.turn * self.size


class ProgramWriter:
    """One program being written: `stream`, and the constants it needs (`image`).

    Args:
        graph: The int8 graph.
        layout: Where its tensors lie and how its operations are cut.
        config: The accelerator.
        settings: What the compiler may do.
    """

    def __init__(
        self, graph: Int8Graph, layout: MemoryLayout, config: NpuConfig, settings: Settings
    ) -> None:
        self.graph, self.layout = graph, layout
        self.config, self.settings = config, settings
        self.stream = Stream()
        self.starts: list[int] = []  # first instruction of each operation
        self._image: list[bytes] = []
        self._image_bytes = 0
        self._constants: dict[int, int] = {}
        self._ring = 0
        self._acc_turn = 0
        self._free = 0

    def begin(self, index: int) -> None:
        """Start operation `index`: its region is free."""
        self.starts.append(len(self.stream))
        self._index, self._free = index, 0

    def image(self) -> Array:
        """Return the constants as device memory holds them: int8[bytes]."""
        return np.frombuffer(b"".join(self._image) or b"\0", np.int8)

    # -- addresses ------------------------------------------------------------------------------

    def buffers(self, size: int, count: int) -> Buffers:
        """Take equal buffers from the region of this operation (odd operations: from its end).

        Args:
            size: Bytes of each buffer.
            count: How many buffers to take.

        Raises:
            CompileError: They do not fit.
        """
        first = self._free
        self._free += size * count
        if self._free > self.region:
            source = self.graph.operations[self._index].source
            raise CompileError(
                f"npu: op {source!r}: {self._free} bytes of tiles in a region of {self.region}"
            )
        if self._index % 2:
            first = self.region // 64 * 64 - self._free
        return Buffers(first, size, count)

    @property
    def region(self) -> int:
        """Bytes of the activation scratchpad this operation may use for buffers."""
        return self.layout.regions[self._index]

    @property
    def used(self) -> int:
        """Bytes of them that are buffers by now."""
        return self._free

    def resident(self, tensor: int) -> int | None:
        """Return the address of a tensor that stays in the activation scratchpad, or None."""
        return self.layout.resident.get(self.graph.base(tensor))

    def dram(self, tensor: int) -> tuple[int, int]:
        """Return region (0: constants, 1: work) and address of a tensor in device memory."""
        base = self.graph.base(tensor)
        data = self.graph.tensors[base].data
        if data is None:
            return 1, self.layout.work[base]
        if base not in self._constants:
            self._constants[base] = self.constant(data.tobytes())
        return 0, self._constants[base]

    def constant(self, data: bytes) -> int:
        """Append bytes to the constant image and return their address."""
        at = self._image_bytes
        padded = data + bytes(-len(data) % 64)
        self._image.append(padded)
        self._image_bytes += len(padded)
        return at

    def reload(self, source: int, size: int) -> int:
        """Load constants to the ring of the weight scratchpad and return where they lie there.

        Args:
            source: Their address in the constant image.
            size: Bytes.
        """
        self.ring_room(align(size))
        at = self._ring
        self._ring += align(size)
        self.stream.add(
            "load", [], [("weight", at, at + size)], space=1, region=0, dram=source, spm=at,
            bytes=size, rows=1, planes=1,
        )  # fmt: skip
        return at

    def ring_room(self, size: int) -> None:
        """Go back to the start when `size` bytes would wrap: blocks that stay must lie whole."""
        if self._ring + size > int(self.config.weight.size):
            self._ring = 0

    def weights(self, data: bytes) -> int:
        """Append new constants, load them to the weight scratchpad, and return where they lie."""
        return self.reload(self.constant(data), len(data))

    def accumulators(self, words: int) -> int:
        """Return the first of `words` accumulators: halves in turn where that is enough."""
        half = self.config.acc_words // 2
        if not self.settings.double_buffer or words > half:
            return 0
        self._acc_turn ^= 1
        return self._acc_turn * half

    # -- copies ---------------------------------------------------------------------------------

    def load(
        self,
        tensor: int,
        *,
        offset: int,
        spm: int,
        shape: tuple[int, int, int],
        strides: tuple[int, int] = (0, 0),
        near: tuple[int, int] = (0, 0),
    ) -> None:
        """Copy from device memory to the activation scratchpad.

        Args:
            tensor: Whose bytes.
            offset: First byte of the tensor.
            spm: Address in the scratchpad.
            shape: Planes, rows, and bytes of a row.
            strides: Bytes between planes and between rows in device memory.
            near: Bytes between planes and between rows in the scratchpad.
        """
        planes, rows, size = shape
        region, base = self.dram(tensor)
        first = base + offset
        end = first + (planes - 1) * strides[0] + (rows - 1) * strides[1] + size
        reads: list[Access] = [("work", first, end)] if region == 1 else []
        here = spm + (planes - 1) * near[0] + (rows - 1) * near[1] + size
        self.stream.add(
            "load", reads, [("act", spm, here)], space=0, region=region, dram=first, spm=spm,
            bytes=size, rows=rows, planes=planes, dram_plane=strides[0], dram_row=strides[1],
            spm_plane=near[0], spm_row=near[1],
        )  # fmt: skip

    def store(
        self,
        tensor: int,
        *,
        offset: int,
        spm: int,
        shape: tuple[int, int, int],
        strides: tuple[int, int] = (0, 0),
        near: tuple[int, int] = (0, 0),
    ) -> None:
        """Copy from the activation scratchpad to device memory.

        Args:
            tensor: Whose bytes are written.
            offset: First byte of the tensor that is written.
            spm: Address in the scratchpad.
            shape: Planes, rows, and bytes of a row.
            strides: Bytes between planes and between rows in device memory.
            near: Bytes between planes and between rows in the scratchpad.
        """
        planes, rows, size = shape
        _, base = self.dram(tensor)
        first = base + offset
        end = first + (planes - 1) * strides[0] + (rows - 1) * strides[1] + size
        here = spm + (planes - 1) * near[0] + (rows - 1) * near[1] + size
        self.stream.add(
            "store", [("act", spm, here)], [("work", first, end)], dram=first, spm=spm, bytes=size,
            rows=rows, planes=planes, dram_plane=strides[0], dram_row=strides[1],
            spm_plane=near[0], spm_row=near[1],
        )  # fmt: skip

    def box(self, move: str, tensor: int, box: Box, buffer: int) -> View:
        """Load or store a box, which lies dense in a buffer.

        Args:
            move: "load" or "store".
            tensor: Whose bytes.
            box: Which piece of it.
            buffer: Address of the buffer.
        """
        (_, h, w, c), image, rows, cols, channels = box
        count = channels[1] - channels[0]
        width = cols[1] - cols[0]
        offset = ((image * h + rows[0]) * w + cols[0]) * c + channels[0]
        copy = self.load if move == "load" else self.store
        copy(
            tensor,
            offset=offset,
            spm=buffer,
            shape=(rows[1] - rows[0], width, count),
            strides=(w * c, c),
            near=(width * count, count),
        )
        return View(buffer, rows[0], cols[0], width * count, count)

    def whole(self, address: int, shape: tuple[int, int, int, int], image: int) -> View:
        """Return the view of one image of a tensor that stays in the activation scratchpad.

        Args:
            address: Address of the tensor.
            shape: Shape of the tensor, as (n, h, w, c).
            image: Number of the image.
        """
        _, h, w, c = shape
        return View(address + image * h * w * c, 0, 0, w * c, c)

    def operand(self, tensor: int, box: Box, buffers: Buffers) -> tuple[View, int]:
        """Return where a box to read lies, after loading it unless its tensor is resident.

        Args:
            tensor: The tensor that is read.
            box: Which piece of it.
            buffers: Where a loaded box is put; it takes the next buffer in turn.

        Returns:
            The view of the box, and the address one past its last byte.
        """
        view = self._inside(tensor, box)
        if view is None:
            view = self.box("load", tensor, box, buffers.next())
        return view, _end(view, box)

    def result(self, tensor: int, box: Box, buffers: Buffers) -> tuple[View, int, bool]:
        """Return where a box to write goes: in place if its tensor is resident, else into a buffer.

        Args:
            tensor: The tensor that is written.
            box: Which piece of it.
            buffers: Where a box that is not resident is put; it takes the next buffer in turn.

        Returns:
            The view of the box, the address one past its last byte, and whether the box stays
            there. When it does not stay the caller has to store it.
        """
        view = self._inside(tensor, box)
        stays = view is not None
        if view is None:
            _, _, _, cols, channels = box
            count = channels[1] - channels[0]
            view = View(buffers.next(), 0, 0, (cols[1] - cols[0]) * count, count)
        return view, _end(view, box), stays

    def _inside(self, tensor: int, box: Box) -> View | None:
        """A box of a resident tensor."""
        address = self.resident(tensor)
        if address is None:
            return None
        shape, image, rows, cols, channels = box
        whole = self.whole(address, shape, image)
        return View(whole.at(rows[0], cols[0]) + channels[0], 0, 0, whole.row, whole.pix)

    def buffer_count(self, total: int, step: int) -> int:
        """Return how many buffers a transfer in pieces needs: one when one piece is all, else two.

        Args:
            total: Bytes that are moved altogether.
            step: Bytes of each piece.
        """
        return 1 if step >= total or not self.settings.double_buffer else 2


def _end(view: View, box: Box) -> int:
    """One past the last byte of a box whose first pixel is the view's."""
    _, _, rows, cols, channels = box
    high, wide = rows[1] - rows[0] - 1, cols[1] - cols[0] - 1
    return view.address + high * view.row + wide * view.pix + channels[1] - channels[0]
