"""How one operation is cut into pieces that fit the scratchpads; chosen by the cycle model.

A convolution is cut along output rows (th) and columns (tw) into input tiles, along output
channels (nb) into weight blocks, and along k (kc) where one block is still too large; sums of a
block are held for `ah` rows of a tile at a time::

    for tile: for block: for rows of the tile: for chunk of k: conv …; requant; store    "tiles"
    for block: for tile: …                                                                "blocks"

Every candidate is timed: the four units overlap, so a step takes as long as its busiest unit, plus
filling and draining. Without double buffering the units mostly take turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from byoc.errors import CompileError
from byoc.vendor_templates.npu.config import NpuConfig
from byoc.vendor_templates.npu.cost import ConvReads, ceil_div, conv_cycles, copy_cycles
from byoc.vendor_templates.npu.graph import Conv, Pool, Window

__all__ = ["Resident", "Settings", "WindowPlan", "align", "input_span", "plan_conv", "plan_window"]

_PARAM_BYTES = 8  # bias, scale
_TABLE_BYTES = 256
_HAND_OVER = 12  # cycles a step loses where units wait for each other, about
_GOOD = 1.03  # a cut this near to the lower bound ends the search


@dataclass(frozen=True, slots=True)
class Settings:
    """What the compiler may do. residency: keep intermediates on the chip."""

    double_buffer: bool = True
    residency: bool = True


@dataclass(frozen=True, slots=True)
class Resident:
    """Which tensors of an operation stay in the activation scratchpad."""

    x: bool = False
    y: bool = False
    r: bool = False


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Cuts of a convolution or pooling, and what the model says they cost.

    th, tw: output rows and columns of an input tile. ah: rows summed up at a time. nb: output
    channels of a block. kc: k of a chunk. slots: how many buffers of each kind. weights_stay: all
    blocks are loaded once and kept. x_slot, y_slot: bytes of a buffer (0: resident).
    """

    th: int
    tw: int
    ah: int
    nb: int
    kc: int
    order: Literal["tiles", "blocks"]
    weights_stay: bool
    x_slots: int
    y_slots: int
    x_slot: int
    y_slot: int
    r_slot: int
    cycles: int
    region: int = 0


def align(value: int, to: int = 64) -> int:
    """The next multiple of `to`."""
    return -(-value // to) * to


def input_span(first: int, end: int, size: int, window: Window, axis: int) -> tuple[int, int]:
    """Input positions [begin, stop) that outputs [first, end) look at, inside the input."""
    begin = first * window.stride[axis] - window.pad[axis]
    stop = (end - 1) * window.stride[axis] - window.pad[axis] + window.extent(axis)
    return max(begin, 0), min(stop, size)


def _cuts(size: int) -> list[int]:
    """Tile sizes worth trying, largest first: size / 1, / 2, / 3, … down to 1."""
    parts = [1, 2, 3, 4, 6, 8, 12, 16, 28, 56, 112]
    return sorted({ceil_div(size, p) for p in parts if p < size} | {1, size}, reverse=True)


def _tile_input(window: Window, axis: int, outputs: int, size: int) -> int:
    """Largest number of input positions a tile of `outputs` needs."""
    return min(size, (outputs - 1) * window.stride[axis] + window.extent(axis))


@dataclass(frozen=True, slots=True)
class _Load:
    """Cycles spent on each unit by a candidate, and before and after they overlap."""

    load: float
    compute: float
    vector: float
    store: float
    edges: float

    def cycles(self, overlap: bool) -> int:
        if overlap:
            return round(max(self.load, self.compute, self.vector, self.store) + self.edges)
        # One buffer of each kind: only a store runs beside the next step's sums.
        return round(self.load + self.vector + max(self.compute, self.store) + self.edges)


def plan_conv(
    config: NpuConfig, op: Conv, region: int, resident: Resident, settings: Settings
) -> WindowPlan:
    """The cheapest cut of a convolution whose buffers fit `region` bytes.

    Raises CompileError with the reason when there is none.
    """
    best: WindowPlan | None = None
    enough = _GOOD * _lower_bound(config, op, resident)
    for plan in _conv_candidates(config, op, region, resident, settings):
        if best is None or plan.cycles < best.cycles:
            best = plan
            if best.cycles <= enough:
                break
    if best is None:
        raise CompileError(_refusal(config, op, region))
    return best


def _lower_bound(config: NpuConfig, op: Conv, resident: Resident) -> float:
    """Cycles no cut can go below: the array, or the bytes that must move."""
    n, h, w, c = op.shape_in
    x = 0 if resident.x else n * h * w * c
    lanes = config.array.columns if op.depthwise else config.peak_macs
    return max(op.macs / lanes, (x + op.weights.size) / config.dma.width)


def weight_block_bytes(n: int, k: int) -> int:
    """Bytes of packed weights: columns in 16s, k in 4s."""
    return align(n, 16) * align(k, 4)


def _refusal(config: NpuConfig, op: Conv, region: int) -> str:
    _, h, w, c = op.shape_in
    kh, kw = op.window.kernel
    rows = _tile_input(op.window, 0, 1, h) * _tile_input(op.window, 1, 1, w) * c
    return (
        f"npu: op {op.source!r}: kernel {kh}x{kw}x{c} does not fit: one window of input is "
        f"{rows} bytes of {region} in the activation scratchpad, 16 columns of weights take "
        f"{weight_block_bytes(16, 4)} bytes or more of {config.weight.size}"
    )


def _blocks(channels: int) -> Iterator[int]:
    sizes = {channels} | {n for n in (16, 32, 48, 64, 96, 128, 256, 512, 1024) if n < channels}
    return iter(sorted(sizes, reverse=True))


def _conv_candidates(
    config: NpuConfig, op: Conv, region: int, resident: Resident, settings: Settings
) -> Iterator[WindowPlan]:
    _, h, w, c = op.shape_in
    _, oh, ow, oc = op.shape_out
    per_group = oc // op.groups
    buffers = 2 if settings.double_buffer else 1
    acc = config.acc_words // buffers
    depthwise = op.depthwise
    k = op.weights[0].size
    for nb in _blocks(oc if depthwise else per_group):
        extra = _PARAM_BYTES * nb + (_TABLE_BYTES if op.table is not None else 0) + 64
        budget = config.weight.size // buffers - extra
        if depthwise:
            block = align(k * nb, 4)
            if block > budget:
                continue
            kc, chunks = k, 1
        else:
            block = weight_block_bytes(nb, k)
            kc = k
            if block > budget:
                fits = budget // align(nb, 16) // 4 * 4
                if fits < min(k, config.array.rows):
                    continue
                kc = ceil_div(k, ceil_div(k, fits))
                kc = min(align(kc, config.array.rows), fits)
            chunks = ceil_div(k, kc)
        blocks = (oc // nb + (oc % nb > 0)) if depthwise else op.groups * ceil_div(per_group, nb)
        total = blocks * align(block + extra)
        stay = chunks == 1 and total <= config.weight.size
        channels = nb if depthwise else c
        yield from _spatial(
            config, op, region, resident, settings,
            WindowPlan(0, 0, 0, nb, kc, "tiles", stay, 0, 0, 0, 0, 0, 0, region),
            acc, blocks, chunks, channels, (h, w, oh, ow),
        )  # fmt: skip


def _spatial(
    config: NpuConfig,
    op: Conv,
    region: int,
    resident: Resident,
    settings: Settings,
    base: WindowPlan,
    acc: int,
    blocks: int,
    chunks: int,
    channels: int,
    sizes: tuple[int, int, int, int],
) -> Iterator[WindowPlan]:
    h, w, oh, ow = sizes
    images = op.shape_in[0]
    buffers = 2 if settings.double_buffer else 1
    nb = base.nb
    for tw in _cuts(ow):
        if tw * nb > acc:
            continue
        for th in _cuts(oh):
            tiles = images * ceil_div(oh, th) * ceil_div(ow, tw)
            in_rows = _tile_input(op.window, 0, th, h)
            in_cols = _tile_input(op.window, 1, tw, w)
            loads = 0 if resident.x else tiles * (blocks if op.depthwise else 1)
            x_slots = 0 if resident.x else min(loads, buffers)
            x_slot = 0 if resident.x else align(in_rows * in_cols * channels)
            if x_slot * x_slots > region:
                continue
            ah = min(th, acc // (tw * nb))
            ah = ceil_div(th, ceil_div(th, ah))
            subs = tiles * ceil_div(th, ah)
            y_slots = min(subs * blocks, buffers)
            y_slot = 0 if resident.y else align(ah * tw * nb)
            r_slot = 0 if resident.r or op.residual is None else align(ah * tw * nb)
            if x_slot * x_slots + (y_slot + r_slot) * y_slots > region:
                # Fewer rows at a time may still fit beside the input tile.
                room = (region - x_slot * x_slots) // (y_slots * (bool(y_slot) + bool(r_slot)))
                ah = (room - 64) // (tw * nb)
                if ah < 1:
                    continue
                subs = tiles * ceil_div(th, ah)
                y_slot = align(ah * tw * nb) if y_slot else 0
                r_slot = align(ah * tw * nb) if r_slot else 0
            for order in ("tiles", "blocks"):
                if order == "blocks" and (tiles == 1 or blocks == 1 or op.depthwise):
                    continue
                plan = replace(
                    base, th=th, tw=tw, ah=ah, order=order, x_slots=x_slots, y_slots=y_slots,
                    x_slot=x_slot, y_slot=y_slot, r_slot=r_slot,
                )  # fmt: skip
                work = _conv_work(
                    config, op, plan, resident, tiles, subs, blocks, chunks, channels,
                    (in_rows, in_cols),
                )  # fmt: skip
                yield replace(plan, cycles=work.cycles(settings.double_buffer))


def _conv_work(
    config: NpuConfig,
    op: Conv,
    plan: WindowPlan,
    resident: Resident,
    tiles: int,
    subs: int,
    blocks: int,
    chunks: int,
    channels: int,
    tile_input: tuple[int, int],
) -> _Load:
    """What a candidate asks of each unit."""
    images, _, w, c = op.shape_in
    _, oh, ow, oc = op.shape_out
    pixels = images * oh * ow
    mean = max(1, round(pixels / subs))  # pixels of one conv instruction
    k = op.weights[0].size
    in_rows, in_cols = tile_input
    # Input.
    x_one = 0
    if not resident.x:
        x_one = copy_cycles(
            config,
            {
                "planes": in_rows, "rows": in_cols, "bytes": channels, "dram_row": c,
                "dram_plane": w * c, "spm_row": channels, "spm_plane": in_cols * channels,
            },
        )  # fmt: skip
    again = blocks if plan.order == "blocks" and tiles > 1 else 1
    x_loads = tiles * (blocks if op.depthwise else again)
    # Weights.
    extra = _PARAM_BYTES * plan.nb + (_TABLE_BYTES if op.table is not None else 0)
    block = (k * plan.nb if op.depthwise else weight_block_bytes(plan.nb, k)) + extra
    w_one = ceil_div(block, config.dma.width)
    if plan.weights_stay:
        w_times = blocks
    elif chunks > 1:
        w_times = blocks * subs
    else:
        w_times = blocks if plan.order == "blocks" or op.depthwise else blocks * tiles
    # Results.
    out = {
        "planes": plan.ah, "rows": plan.tw, "bytes": plan.nb, "dram_row": oc,
        "dram_plane": ow * oc, "spm_row": plan.nb, "spm_plane": plan.tw * plan.nb,
    }  # fmt: skip
    y_one = copy_cycles(config, out)
    load = x_loads * x_one + w_times * w_one
    if op.residual is not None and not resident.r:
        load += subs * blocks * y_one
    vector_one = mean * ceil_div(plan.nb, config.vector.lanes)
    # Sums.
    if op.depthwise:
        taps = op.window.kernel[0] * op.window.kernel[1]
        n_tiles = ceil_div(plan.nb, config.array.columns)
        one = config.array.rows + n_tiles * taps * mean
    else:
        cg = op.weights.shape[3]
        row, pix = (w * c, c) if resident.x else (in_cols * channels, channels)
        reads = ConvReads(0, row, pix, cg, op.window.kernel[1], *op.window.dilation)
        args = (config, mean, plan.nb, reads)
        last = (chunks - 1) * plan.kc
        one = conv_cycles(*args, last, k - last)
        if chunks > 1:
            one += (chunks - 1) * conv_cycles(*args, 0, plan.kc)
    edges = (
        x_one + w_one / chunks + vector_one + y_one
        + 2 * config.dma.latency + config.array.rows + config.array.columns
    )  # fmt: skip
    store = 0 if resident.y else subs * blocks * y_one
    steps = subs * blocks
    compute = steps * (one + chunks * _HAND_OVER)
    return _Load(load, compute, steps * (vector_one + _HAND_OVER), store, edges)


def plan_window(
    config: NpuConfig, op: Pool, region: int, resident: Resident, settings: Settings
) -> WindowPlan:
    """The cheapest cut of a pooling; blocks of channels are loaded apart, as for depthwise.

    Raises CompileError when one window of sixteen channels does not fit.
    """
    images, h, w, c = op.shape_in
    _, oh, ow, _ = op.shape_out
    buffers = 2 if settings.double_buffer else 1
    best: WindowPlan | None = None
    for nb in _blocks(c):
        blocks = ceil_div(c, nb)
        for tw in _cuts(ow):
            for th in _cuts(oh):
                tiles = images * ceil_div(oh, th) * ceil_div(ow, tw) * blocks
                rows = _tile_input(op.window, 0, th, h)
                cols = _tile_input(op.window, 1, tw, w)
                slots = min(tiles, buffers)
                x_slot = 0 if resident.x else align(rows * cols * nb)
                y_slot = 0 if resident.y else align(th * tw * nb)
                if slots * (x_slot + y_slot) > region:
                    continue
                x_one = 0 if resident.x else copy_cycles(config, _box(rows, cols, nb, w, c))
                y_one = 0 if resident.y else copy_cycles(config, _box(th, tw, nb, ow, c))
                taps = op.window.kernel[0] * op.window.kernel[1] + (op.table is not None)
                one = th * tw * taps * ceil_div(nb, config.vector.lanes) + _HAND_OVER
                work = _Load(tiles * x_one, 0, tiles * one, tiles * y_one, x_one + y_one + one)
                cycles = work.cycles(settings.double_buffer)
                if best is None or cycles < best.cycles:
                    best = WindowPlan(
                        th, tw, th, nb, 0, "blocks", True, 0 if resident.x else slots, slots,
                        x_slot, y_slot, 0, cycles, region,
                    )  # fmt: skip
    if best is None:
        kh, kw = op.window.kernel
        raise CompileError(
            f"npu: op {op.source!r}: a pooling window of {kh}x{kw} pixels does not fit the "
            f"activation scratchpad: {region} bytes are free"
        )
    return best


def _box(rows: int, cols: int, channels: int, width: int, all_channels: int) -> dict[str, int]:
    return {
        "planes": rows, "rows": cols, "bytes": channels, "dram_row": all_channels,
        "dram_plane": width * all_channels, "spm_row": channels, "spm_plane": cols * channels,
    }  # fmt: skip


def spans(size: int, step: int) -> Iterable[tuple[int, int]]:
    """[0, step), [step, 2 step), … up to `size`."""
    return ((first, min(first + step, size)) for first in range(0, size, step))
