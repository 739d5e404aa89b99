"""Operations -> instructions, given where everything lies and how it is cut.

Buffers of the running operation are taken from address 0 up (odd operations: from the end of the
region down), so that the first tile of the next operation can be loaded while the last of this
one is computed. Weights go round the weight scratchpad in a ring; sums alternate between the
halves of the accumulators. Nothing here thinks about tokens: `Stream` orders what conflicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from byoc.errors import CompileError
from byoc.segment import Array

from .config import NpuConfig
from .graph import Concat, Conv, Elementwise, Graph, Permute, Pool, Window
from .numerics import average_scale, float_bits
from .place import Placement
from .stream import Access, Stream
from .tiling import Settings, WindowPlan, align, input_span, spans

__all__ = ["Emitter"]

_FLAT = 4096  # channels of a pixel when bytes are taken as they come
_SHORT = 65535  # largest value of a 16-bit field


@dataclass(frozen=True, slots=True)
class _View:
    """Pixels in the activation scratchpad: address of (row0, col0), strides in bytes."""

    address: int
    row0: int
    col0: int
    row: int
    pix: int

    def at(self, row: int, col: int) -> int:
        return self.address + (row - self.row0) * self.row + (col - self.col0) * self.pix


class _Slots:
    """A few equal buffers, used in turn."""

    def __init__(self, first: int, size: int, count: int) -> None:
        self.first, self.size, self.count, self.turn = first, size, max(count, 1), -1

    def next(self) -> int:
        self.turn = (self.turn + 1) % self.count
        return self.first + self.turn * self.size


class Emitter:
    """Writes one program: `stream` and the constant image `image()`."""

    def __init__(
        self, graph: Graph, placement: Placement, config: NpuConfig, settings: Settings
    ) -> None:
        self.graph, self.placement = graph, placement
        self.config, self.settings = config, settings
        self.stream = Stream()
        self.starts: list[int] = []  # first instruction of each operation
        self._image: list[bytes] = []
        self._image_bytes = 0
        self._constants: dict[int, int] = {}
        self._ring = 0
        self._acc_turn = 0
        self._free = 0

    def run(self) -> None:
        """Emit every operation."""
        for index, op in enumerate(self.graph.operations):
            self.starts.append(len(self.stream))
            self._index, self._free = index, 0
            plan = self.placement.plans[index]
            if isinstance(op, Conv) and plan is not None:
                self._conv(op, plan)
            elif isinstance(op, Pool) and plan is not None:
                self._pool(op, plan)
            elif isinstance(op, Elementwise):
                self._elementwise(op)
            elif isinstance(op, Concat):
                self._concat(op)
            elif isinstance(op, Permute):
                self._permute(op)

    def image(self) -> Array:
        """The constants, as device memory holds them."""
        return np.frombuffer(b"".join(self._image) or b"\0", np.int8)

    # -- places ---------------------------------------------------------------------------------

    def _slots(self, size: int, count: int) -> _Slots:
        """Buffers in the region of this operation; odd operations fill it from its end."""
        region = self.placement.regions[self._index]
        first = self._free
        self._free += size * count
        if self._free > region:
            raise CompileError(
                f"npu: op {self._source()!r}: {self._free} bytes of tiles in a region of {region}"
            )
        if self._index % 2:
            first = region // 64 * 64 - self._free
        return _Slots(first, size, count)

    def _source(self) -> str:
        return self.graph.operations[self._index].source

    def _resident(self, tensor: int) -> int | None:
        return self.placement.resident.get(self.graph.base(tensor))

    def _dram(self, tensor: int) -> tuple[int, int]:
        """(region, address) of a tensor in device memory: 0 constants, 1 work."""
        base = self.graph.base(tensor)
        data = self.graph.tensors[base].data
        if data is None:
            return 1, self.placement.work[base]
        if base not in self._constants:
            self._constants[base] = self.constant(data.tobytes())
        return 0, self._constants[base]

    def constant(self, data: bytes) -> int:
        """Append bytes to the constant image; returns their address."""
        at = self._image_bytes
        padded = data + bytes(-len(data) % 64)
        self._image.append(padded)
        self._image_bytes += len(padded)
        return at

    def reload(self, source: int, size: int) -> int:
        """Load constants to the ring of the weight scratchpad; returns where they lie."""
        self._ring_room(align(size))
        at = self._ring
        self._ring += align(size)
        self.stream.add(
            "load", [], [("weight", at, at + size)], space=1, region=0, dram=source, spm=at,
            bytes=size, rows=1, planes=1,
        )  # fmt: skip
        return at

    def _weights(self, data: bytes) -> int:
        return self.reload(self.constant(data), len(data))

    def _accumulators(self, words: int) -> int:
        half = self.config.acc_words // 2
        if not self.settings.double_buffer or words > half:
            return 0
        self._acc_turn ^= 1
        return self._acc_turn * half

    # -- copies ---------------------------------------------------------------------------------

    def _load(
        self, tensor: int, offset: int, spm: int, planes: int, rows: int, size: int,
        strides: tuple[int, int], near: tuple[int, int],
    ) -> None:  # fmt: skip
        """Device memory -> scratchpad. strides, near: (plane, row) there and here."""
        region, base = self._dram(tensor)
        first = base + offset
        end = first + (planes - 1) * strides[0] + (rows - 1) * strides[1] + size
        reads: list[Access] = [("work", first, end)] if region == 1 else []
        here = spm + (planes - 1) * near[0] + (rows - 1) * near[1] + size
        self.stream.add(
            "load", reads, [("act", spm, here)], space=0, region=region, dram=first, spm=spm,
            bytes=size, rows=rows, planes=planes, dram_plane=strides[0], dram_row=strides[1],
            spm_plane=near[0], spm_row=near[1],
        )  # fmt: skip

    def _store(
        self, tensor: int, offset: int, spm: int, planes: int, rows: int, size: int,
        strides: tuple[int, int], near: tuple[int, int],
    ) -> None:  # fmt: skip
        """Scratchpad -> device memory."""
        _, base = self._dram(tensor)
        first = base + offset
        end = first + (planes - 1) * strides[0] + (rows - 1) * strides[1] + size
        here = spm + (planes - 1) * near[0] + (rows - 1) * near[1] + size
        self.stream.add(
            "store", [("act", spm, here)], [("work", first, end)], dram=first, spm=spm, bytes=size,
            rows=rows, planes=planes, dram_plane=strides[0], dram_row=strides[1],
            spm_plane=near[0], spm_row=near[1],
        )  # fmt: skip

    def _box(
        self, move: str, tensor: int, shape: tuple[int, int, int, int], image: int,
        rows: tuple[int, int], cols: tuple[int, int], channels: tuple[int, int], slot: int,
    ) -> _View:  # fmt: skip
        """Load or store a box of an image; in the slot it lies dense."""
        _, h, w, c = shape
        count = channels[1] - channels[0]
        width = cols[1] - cols[0]
        offset = ((image * h + rows[0]) * w + cols[0]) * c + channels[0]
        copy = self._load if move == "load" else self._store
        copy(
            tensor, offset, slot, rows[1] - rows[0], width, count, (w * c, c),
            (width * count, count),
        )  # fmt: skip
        return _View(slot, rows[0], cols[0], width * count, count)

    def _whole(self, address: int, shape: tuple[int, int, int, int], image: int) -> _View:
        """A resident tensor, seen as one image."""
        _, h, w, c = shape
        return _View(address + image * h * w * c, 0, 0, w * c, c)

    # -- windows --------------------------------------------------------------------------------

    def _window_fields(
        self, window: Window, view: _View, size: tuple[int, int], rows: tuple[int, int],
        cols: tuple[int, int], channel: int,
    ) -> tuple[dict[str, int], int]:  # fmt: skip
        """Fields of an instruction that slides over outputs rows x cols; its input's last byte."""
        top, bottom = input_span(*rows, size[0], window, 0)
        left, right = input_span(*cols, size[1], window, 1)
        x = view.at(top, left) + channel
        fields = {
            "x": x, "in_h": bottom - top, "in_w": right - left, "x_row": view.row,
            "x_pix": view.pix, "kh": window.kernel[0], "kw": window.kernel[1],
            "sh": window.stride[0], "sw": window.stride[1], "dh": window.dilation[0],
            "dw": window.dilation[1],
            "pt": max(0, window.pad[0] - rows[0] * window.stride[0]),
            "pl": max(0, window.pad[1] - cols[0] * window.stride[1]),
            "out_h": rows[1] - rows[0], "out_w": cols[1] - cols[0],
        }  # fmt: skip
        return fields, x + (bottom - top - 1) * view.row + (right - left - 1) * view.pix

    def _tiles(
        self, shape: tuple[int, int, int, int], plan: WindowPlan
    ) -> Iterator[tuple[int, tuple[int, int], tuple[int, int]]]:
        """(image, output rows, output columns) of each input tile."""
        for image in range(shape[0]):
            for rows in spans(shape[1], plan.th):
                for cols in spans(shape[2], plan.tw):
                    yield image, rows, cols

    def _input(
        self, op: Conv | Pool, plan: WindowPlan, slots: _Slots, image: int,
        rows: tuple[int, int], cols: tuple[int, int], channels: tuple[int, int],
    ) -> _View:  # fmt: skip
        """The input of a tile: where it is resident, else loaded."""
        resident = self._resident(op.x)
        if resident is not None:
            view = self._whole(resident, op.shape_in, image)
            return _View(view.address + channels[0], 0, 0, view.row, view.pix)
        _, h, w, _ = op.shape_in
        across = input_span(*rows, h, op.window, 0), input_span(*cols, w, op.window, 1)
        return self._box("load", op.x, op.shape_in, image, *across, channels, slots.next())

    # -- convolution ----------------------------------------------------------------------------

    def _conv(self, op: Conv, plan: WindowPlan) -> None:
        xs = self._slots(plan.x_slot, plan.x_slots)
        ys = self._slots(plan.y_slot, plan.y_slots if plan.y_slot else 0)
        rs = self._slots(plan.r_slot, plan.y_slots if plan.r_slot else 0)
        tiles = list(self._tiles(op.shape_out, plan))
        blocks = [_Block(op, plan, *b) for b in _channel_blocks(op, plan.nb)]
        if plan.weights_stay:
            self._ring_room(sum(align(b.bytes) for b in blocks))
            for block in blocks:
                block.place(self)
        if op.depthwise:
            for block in blocks:
                for tile in tiles:
                    view = self._input(op, plan, xs, *tile, (block.first, block.end))
                    self._conv_tile(op, plan, block, view, 0, tile, ys, rs)
        elif plan.order == "tiles":
            for tile in tiles:
                view = self._input(op, plan, xs, *tile, (0, op.shape_in[3]))
                for block in blocks:
                    self._conv_tile(op, plan, block, view, block.channel, tile, ys, rs)
                    block.forget(plan.weights_stay)
        else:
            for block in blocks:
                for tile in tiles:
                    view = self._input(op, plan, xs, *tile, (0, op.shape_in[3]))
                    self._conv_tile(op, plan, block, view, block.channel, tile, ys, rs)

    def _ring_room(self, size: int) -> None:
        """Blocks that stay must not wrap over each other."""
        if self._ring + size > int(self.config.weight.size):
            self._ring = 0

    def _conv_tile(
        self, op: Conv, plan: WindowPlan, block: _Block, view: _View, channel: int,
        tile: tuple[int, tuple[int, int], tuple[int, int]], ys: _Slots, rs: _Slots,
    ) -> None:  # fmt: skip
        image, tile_rows, cols = tile
        for first in range(tile_rows[0], tile_rows[1], plan.ah):
            rows = (first, min(first + plan.ah, tile_rows[1]))
            pixels = (rows[1] - rows[0]) * (cols[1] - cols[0])
            acc = self._accumulators(pixels * block.count)
            sums: Access = ("acc", acc, acc + pixels * block.count)
            fields, last = self._window_fields(
                op.window, view, op.shape_in[1:3], rows, cols, channel
            )
            width = block.count if op.depthwise else op.weights.shape[3]
            reads: Access = ("act", fields["x"], last + width)
            common = {**fields, "acc": acc, "n": block.count, "pad_value": op.x_zero}
            for chunk in range(block.chunks):
                at, size = block.chunk(self, chunk)
                source: Access = ("weight", at, at + size)
                if op.depthwise:
                    self.stream.add("dwconv", [reads, source], [sums], w=at, **common)
                    continue
                begin, end = chunk * plan.kc, min((chunk + 1) * plan.kc, block.k)
                self.stream.add(
                    "conv", [reads, source], [sums], w=at, **common, channels=width,
                    k_begin=begin, k_count=end - begin, accumulate=int(chunk > 0),
                )  # fmt: skip
            self._requant(op, block, image, rows, cols, sums, ys, rs)

    def _requant(
        self, op: Conv, block: _Block, image: int, rows: tuple[int, int], cols: tuple[int, int],
        sums: Access, ys: _Slots, rs: _Slots,
    ) -> None:  # fmt: skip
        """Sums -> bytes, with the residual and the table; then store."""
        channels = (block.first, block.end)
        box = (op.shape_out, image, rows, cols, channels)
        params, table = block.params()
        end = table + 256 if op.table is not None else params + 8 * block.count
        reads: list[Access] = [sums, ("weight", params, end)]
        fields = {
            "rounding": 0, "zero": op.zero, "acc": sums[1], "params": params, "lo": op.lo,
            "hi": op.hi, "n": block.count, "out_h": rows[1] - rows[0], "out_w": cols[1] - cols[0],
        }  # fmt: skip
        if op.table is not None:
            fields |= {"table": 1, "lut": table}
        if (residual := op.residual) is not None:
            r_at, r_row, r_pix, r_end = self._operand(residual.tensor, *box, rs)
            reads.append(("act", r_at, r_end))
            fields |= {
                "residual": 1, "r": r_at, "r_row": r_row, "r_pix": r_pix,
                "r_first": int(residual.r_first), "m1": float_bits(residual.m1),
                "m2": float_bits(residual.m2), "c": float_bits(residual.c),
                "q_zero": residual.q_zero, "r_zero": residual.r_zero, "zero2": residual.zero,
                "lo2": residual.lo, "hi2": residual.hi,
            }  # fmt: skip
        at, row, pix, end_y, stored = self._result(op.y, *box, ys)
        self.stream.add(
            "requant", reads, [("act", at, end_y)], y=at, y_row=row, y_pix=pix, **fields
        )
        if not stored:
            self._box("store", op.y, op.shape_out, image, rows, cols, channels, at)

    def _operand(
        self, tensor: int, shape: tuple[int, int, int, int], image: int, rows: tuple[int, int],
        cols: tuple[int, int], channels: tuple[int, int], slots: _Slots,
    ) -> tuple[int, int, int, int]:  # fmt: skip
        """(address, row stride, pixel stride, end) of a box to read."""
        address = self._resident(tensor)
        if address is None:
            view = self._box("load", tensor, shape, image, rows, cols, channels, slots.next())
        else:
            whole = self._whole(address, shape, image)
            view = _View(whole.at(rows[0], cols[0]) + channels[0], 0, 0, whole.row, whole.pix)
        end = _end(view, rows, cols, channels)
        return view.address, view.row, view.pix, end

    def _result(
        self, tensor: int, shape: tuple[int, int, int, int], image: int, rows: tuple[int, int],
        cols: tuple[int, int], channels: tuple[int, int], slots: _Slots,
    ) -> tuple[int, int, int, int, bool]:  # fmt: skip
        """(address, row stride, pixel stride, end, stays) of a box to write."""
        address = self._resident(tensor)
        count, width = channels[1] - channels[0], cols[1] - cols[0]
        if address is None:
            view = _View(slots.next(), 0, 0, width * count, count)
        else:
            whole = self._whole(address, shape, image)
            view = _View(whole.at(rows[0], cols[0]) + channels[0], 0, 0, whole.row, whole.pix)
        end = _end(view, rows, cols, channels)
        return view.address, view.row, view.pix, end, address is not None

    # -- pooling --------------------------------------------------------------------------------

    def _pool(self, op: Pool, plan: WindowPlan) -> None:
        xs = self._slots(plan.x_slot, plan.x_slots)
        ys = self._slots(plan.y_slot, plan.y_slots if plan.y_slot else 0)
        table = None if op.table is None else self._weights(op.table.tobytes())
        for channels in spans(op.shape_in[3], plan.nb):
            for tile in self._tiles(op.shape_out, plan):
                image, rows, cols = tile
                view = self._input(op, plan, xs, *tile, channels)
                at, row, pix, end, stays = self._result(
                    op.y, op.shape_out, image, rows, cols, channels, ys
                )
                for part_rows, part_cols, count in _pool_parts(op, rows, cols):
                    fields, last = self._window_fields(
                        op.window, view, op.shape_in[1:3], part_rows, part_cols, 0
                    )
                    fields |= {
                        "y": at + (part_rows[0] - rows[0]) * row + (part_cols[0] - cols[0]) * pix,
                        "y_row": row, "y_pix": pix, "n": channels[1] - channels[0],
                    }  # fmt: skip
                    reads: list[Access] = [("act", fields["x"], last + fields["n"])]
                    writes: list[Access] = [("act", at, end)]
                    if op.kind == "max":
                        self.stream.add("maxpool", reads, writes, **fields, lo=-128)
                        continue
                    scale = average_scale(op.x_scale, op.y_scale, count)
                    self.stream.add(
                        "avgpool", reads, writes, **fields, m1=float_bits(scale),
                        x_zero=op.x_zero, zero=op.zero, lo=-128, hi=127,
                    )  # fmt: skip
                if table is not None:
                    self.stream.add(
                        "lookup", [("act", at, end), ("weight", table, table + 256)],
                        [("act", at, end)], x=at, y=at, x_row=row, y_row=row, x_pix=pix, y_pix=pix,
                        lut=table, out_h=rows[1] - rows[0], out_w=cols[1] - cols[0],
                        n=channels[1] - channels[0],
                    )  # fmt: skip
                if not stays:
                    self._box("store", op.y, op.shape_out, image, rows, cols, channels, at)

    # -- element-wise ---------------------------------------------------------------------------

    def _elementwise(self, op: Elementwise) -> None:
        table = None if op.table is None else self._weights(op.table.tobytes())
        per_image = op.pixels * op.channels
        if op.broadcast and op.b is not None:
            self._broadcast(op, op.b, per_image)
            return
        total = op.images * per_image
        tensors = [op.x, op.y] if op.b is None else [op.x, op.y, op.b]
        moving = [t for t in tensors if self._resident(t) is None]
        step = self._flat_step(total, len(moving))
        slots = {
            t: self._slots(align(step), self._buffers(total, step)) for t in dict.fromkeys(moving)
        }
        for first, end in spans(total, step):
            places = {t: self._bytes(t, first, end, slots, t != op.y) for t in tensors}
            for begin, rows, n in _flat_pieces(end - first):
                at = {t: places[t] + begin for t in tensors}
                size = rows * n
                reads: list[Access] = [("act", at[t], at[t] + size) for t in tensors if t != op.y]
                writes: list[Access] = [("act", at[op.y], at[op.y] + size)]
                shape = {"out_h": 1, "out_w": rows, "n": n}
                if op.b is None and table is not None:
                    reads.append(("weight", table, table + 256))
                    self.stream.add(
                        "lookup", reads, writes, x=at[op.x], y=at[op.y], lut=table, x_pix=n,
                        y_pix=n, **shape,
                    )  # fmt: skip
                elif op.b is not None:
                    self.stream.add(
                        op.kind, reads, writes, a=at[op.x], b=at[op.b], y=at[op.y], a_pix=n,
                        b_pix=n, y_pix=n, **shape, **_pair_fields(op),
                    )  # fmt: skip
            if self._resident(op.y) is None:
                self._store(op.y, first, places[op.y], 1, 1, end - first, (0, 0), (0, 0))

    def _buffers(self, total: int, step: int) -> int:
        return 1 if step >= total or not self.settings.double_buffer else 2

    def _flat_step(self, total: int, moving: int) -> int:
        """Bytes of a tile when `moving` tensors pass through buffers."""
        buffers = 2 if self.settings.double_buffer else 1
        room = (self.placement.regions[self._index] - 64) // max(moving * buffers, 1) // 64 * 64
        # A dozen tiles, so that the units overlap, but none so small that latency shows.
        wanted = max(align(total // 12), 8192)
        return min(max(min(room, wanted), 64), align(total))

    def _bytes(
        self, tensor: int, first: int, end: int, slots: dict[int, _Slots], load: bool
    ) -> int:
        """Where bytes [first, end) of a tensor are (loaded first when `load`)."""
        address = self._resident(tensor)
        if address is not None:
            return address + first
        at = slots[tensor].next()
        if load:
            self._load(tensor, first, at, 1, 1, end - first, (0, 0), (0, 0))
        return at

    def _broadcast(self, op: Elementwise, b: int, per_image: int) -> None:
        """b has one pixel per image: its strides are zero."""
        buffers = 2 if self.settings.double_buffer else 1
        moving = [t for t in (op.x, op.y) if self._resident(t) is None]
        room = self.placement.regions[self._index] // 64 * 64
        # Channels at a time: all of them when one pixel of each operand fits beside the others.
        width = min(op.channels, (room // (2 + len(moving) * buffers) - 64) // 64 * 64, _SHORT)
        bs = self._slots(align(width), 0 if self._resident(b) is not None else 2)
        pixels = min(op.pixels, _SHORT)
        if moving:
            pixels = min(pixels, (room - self._free) // (len(moving) * buffers) // align(width))
        slots = {t: self._slots(align(pixels * width), buffers) for t in moving}
        for image in range(op.images):
            for cols in spans(op.channels, width):
                count = cols[1] - cols[0]
                start_b = image * op.channels
                at_b = self._bytes(b, start_b + cols[0], start_b + cols[1], {b: bs}, True)
                for first, end in spans(op.pixels, pixels):
                    offset = image * per_image + first * op.channels + cols[0]
                    piece = (offset, end - first, count, op.channels)
                    at_x, pix_x, end_x = self._rows(op.x, piece, slots, True)
                    at_y, pix_y, end_y = self._rows(op.y, piece, slots, False)
                    self.stream.add(
                        op.kind, [("act", at_x, end_x), ("act", at_b, at_b + count)],
                        [("act", at_y, end_y)], a=at_x, b=at_b, y=at_y, a_pix=pix_x, b_pix=0,
                        y_pix=pix_y, out_h=1, out_w=end - first, n=count, **_pair_fields(op),
                    )  # fmt: skip
                    if op.y in slots:
                        self._store(
                            op.y, offset, at_y, 1, end - first, count, (0, op.channels),
                            (0, count),
                        )  # fmt: skip

    def _rows(
        self, tensor: int, piece: tuple[int, int, int, int], slots: dict[int, _Slots], load: bool
    ) -> tuple[int, int, int]:
        """(address, stride, end) of rows of bytes: (offset, rows, bytes, stride) of a tensor."""
        offset, rows, count, stride = piece
        address = self._resident(tensor)
        if address is not None:
            at = address + offset
            return at, stride, at + (rows - 1) * stride + count
        at = slots[tensor].next()
        if load:
            self._load(tensor, offset, at, 1, rows, count, (0, stride), (0, count))
        return at, count, at + rows * count

    # -- moving ---------------------------------------------------------------------------------

    def _concat(self, op: Concat) -> None:
        run_y = sum(part[1] for part in op.parts)
        buffers = 2 if self.settings.double_buffer else 1
        room = (self.placement.regions[self._index] - 64) // (2 * buffers) // 64 * 64
        xs, ys = self._slots(room, buffers), self._slots(room, buffers)
        identity = np.arange(-128, 128, dtype=np.int8)
        offset = 0
        resident_y = self._resident(op.y)
        for tensor, run, table in op.parts:
            looks = table is not None or resident_y is not None
            lut = self._weights((identity if table is None else table).tobytes()) if looks else 0
            resident_x = self._resident(tensor)
            for cols in spans(run, min(run, room, _FLAT if looks else run)):
                width = cols[1] - cols[0]
                for rows in spans(op.rows, max(1, min(_SHORT, room // width))):
                    count = rows[1] - rows[0]
                    start = rows[0] * run + cols[0]
                    if resident_x is None:
                        at, row = xs.next(), width
                        self._load(tensor, start, at, 1, count, width, (0, run), (0, width))
                    else:
                        at, row = resident_x + start, run
                    target = rows[0] * run_y + offset + cols[0]
                    if looks:
                        to, to_row = (
                            (ys.next(), width) if resident_y is None
                            else (resident_y + target, run_y)
                        )  # fmt: skip
                        self._copy_rows(at, row, to, to_row, count, width, lut)
                        at, row = to, to_row
                    if resident_y is None:
                        self._store(op.y, target, at, 1, count, width, (0, run_y), (0, row))
            offset += run

    def _copy_rows(
        self, at: int, row: int, to: int, to_row: int, count: int, width: int, lut: int
    ) -> None:
        """Rows of bytes through a table; rows are the instruction's rows, of one pixel each."""
        self.stream.add(
            "lookup",
            [("act", at, at + (count - 1) * row + width), ("weight", lut, lut + 256)],
            [("act", to, to + (count - 1) * to_row + width)],
            x=at, y=to, lut=lut, out_h=count, out_w=1, x_row=row, y_row=to_row, n=width,
        )  # fmt: skip

    def _permute(self, op: Permute) -> None:
        """[outer, a, b] -> [outer, b, a], byte by byte in the store."""
        buffers = 2 if self.settings.double_buffer else 1
        room = (self.placement.regions[self._index] - 64) // buffers // 64 * 64
        xs = self._slots(room, buffers)
        resident = self._resident(op.x)
        for image in range(op.outer):
            base = image * op.a * op.b
            for cols in spans(op.b, min(op.b, room, _SHORT)):
                width = cols[1] - cols[0]
                for rows in spans(op.a, max(1, min(_SHORT, room // width))):
                    count = rows[1] - rows[0]
                    start = base + rows[0] * op.b + cols[0]
                    if resident is None:
                        at, row = xs.next(), width
                        self._load(op.x, start, at, 1, count, width, (0, op.b), (0, width))
                    else:
                        at, row = resident + start, op.b
                    self._store(
                        op.y, base + cols[0] * op.a + rows[0], at, width, count, 1, (op.a, 1),
                        (1, row),
                    )  # fmt: skip


def _end(
    view: _View, rows: tuple[int, int], cols: tuple[int, int], channels: tuple[int, int]
) -> int:
    """One past the last byte of a box whose first pixel is the view's."""
    high, wide = rows[1] - rows[0] - 1, cols[1] - cols[0] - 1
    return view.address + high * view.row + wide * view.pix + channels[1] - channels[0]


def _pair_fields(op: Elementwise) -> dict[str, int]:
    fields = {
        "m1": float_bits(op.m1), "a_zero": op.a_zero, "b_zero": op.b_zero, "zero": op.zero,
        "lo": op.lo, "hi": op.hi,
    }  # fmt: skip
    if op.kind == "add":
        fields |= {"m2": float_bits(op.m2), "c": float_bits(op.c)}
    return fields


def _flat_pieces(size: int) -> Iterator[tuple[int, int, int]]:
    """(first byte, pixels, channels) that cover `size` bytes: full lines, then what is left."""
    lines, rest = divmod(size, _FLAT)
    if lines:
        yield 0, lines, _FLAT
    if rest:
        yield lines * _FLAT, 1, rest


def _pool_parts(
    op: Pool, rows: tuple[int, int], cols: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], tuple[int, int], int]]:
    """(rows, columns, positions to divide by): pieces whose windows count alike."""
    kh, kw = op.window.kernel
    if op.kind == "max" or not op.exclude_pad:
        yield rows, cols, kh * kw
        return
    for part_rows, count_rows in _equal_counts(op, rows, 0):
        for part_cols, count_cols in _equal_counts(op, cols, 1):
            yield part_rows, part_cols, count_rows * count_cols


def _equal_counts(
    op: Pool, outputs: tuple[int, int], axis: int
) -> Iterator[tuple[tuple[int, int], int]]:
    """Maximal runs of outputs whose windows have equally many positions inside the input."""
    size, window = op.shape_in[1 + axis], op.window

    def count(out: int) -> int:
        start = out * window.stride[axis] - window.pad[axis]
        positions = range(start, start + window.extent(axis), window.dilation[axis])
        return max(1, sum(0 <= p < size for p in positions))

    first = outputs[0]
    for out in range(outputs[0] + 1, outputs[1] + 1):
        if out == outputs[1] or count(out) != count(first):
            yield (first, out), count(first)
            first = out


def _channel_blocks(op: Conv, nb: int) -> Sequence[tuple[int, int]]:
    """[first, end) of each block of output channels; none crosses a group."""
    oc = op.shape_out[3]
    per_group = oc if op.depthwise else oc // op.groups
    return [
        (group + first, group + end)
        for group in range(0, oc, per_group)
        for first, end in spans(per_group, nb)
    ]


class _Block:
    """A block of output channels: its weights in chunks of k, its parameters with the last one."""

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

    def place(self, emitter: Emitter) -> None:
        """Load the only chunk of a block that stays."""
        self._fetch(emitter, 0)

    def chunk(self, emitter: Emitter, index: int) -> tuple[int, int]:
        """(address, bytes of weights) of a chunk, loaded unless it is there."""
        if self._loaded != index:
            self._fetch(emitter, index)
        return self._at, self._parts[index][1]

    def forget(self, stay: bool) -> None:
        """Other blocks go through the ring before this one is needed again."""
        if not stay:
            self._loaded = None

    def params(self) -> tuple[int, int]:
        """Addresses of the parameters and of the table; the last chunk must be loaded."""
        at = self._at + align(self._parts[-1][1], 4)
        return at, at + 8 * self.count

    def _fetch(self, emitter: Emitter, index: int) -> None:
        data = self._parts[index][0]
        source = self._sources[index]
        if source is None:
            source = emitter.constant(data)
            self._sources[index] = source
        self._at = emitter.reload(source, len(data))
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
