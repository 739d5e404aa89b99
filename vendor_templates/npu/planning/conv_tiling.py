"""How a convolution is cut into pieces that fit the scratchpads; chosen by the cycle model.

A convolution is cut along output rows (th) and columns (tw) into input tiles, along output
channels (nb) into weight blocks, and along k (kc) where one block is still too large; sums of a
block are held for `ah` rows of a tile at a time::

    for tile: for block: for rows of the tile: for chunk of k: conv …; requant; store    "tiles"
    for block: for tile: …                                                                "blocks"

Every candidate is timed: the four units overlap, so a step takes as long as its busiest unit, plus
filling and draining. Without double buffering the units mostly take turns. The search goes from
large pieces to small and ends at the first cut that is within 3 % of a lower bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from byoc.errors import CompileError
from byoc.vendor_templates.npu.lowering.int8_graph import Conv
from byoc.vendor_templates.npu.machine.config import NpuConfig
from byoc.vendor_templates.npu.planning.cycle_model import (
    HAND_OVER,
    ConvReads,
    ceil_div,
    conv_cycles,
    tile_copy_cycles,
)
from byoc.vendor_templates.npu.planning.plans import (
    Resident,
    Settings,
    StepCycles,
    WindowPlan,
    align,
    block_sizes,
    tile_input,
    tile_sizes,
)

__all__ = ["plan_conv"]

_PARAM_BYTES = 8  # bias, scale
_TABLE_BYTES = 256
_GOOD = 1.03  # a cut this near to the lower bound ends the search


@dataclass(frozen=True, slots=True)
class _Problem:
    """One convolution to be cut: what stays the same over all candidates.

    region: bytes of the activation scratchpad that are free for buffers.
    """

    config: NpuConfig
    op: Conv
    region: int
    resident: Resident
    settings: Settings

    @property
    def accumulators(self) -> int:
        """int32 sums that one buffer of the accumulator memory holds."""
        return self.config.acc_words // self.settings.buffers

    @property
    def k(self) -> int:
        """Products of each sum."""
        return int(self.op.weights[0].size)

    @property
    def block_extra(self) -> int:
        """Bytes of the table that lies behind each block of weights; 0 without one."""
        return _TABLE_BYTES if self.op.table is not None else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _WeightCut:
    """How the weights are cut: the part of a plan that does not depend on tiles.

    nb: output channels of a block. kc: products of a sum in a chunk. blocks, chunks: how many there
    are. stay: all of them fit at once and are loaded once. channels: input channels of a tile.
    """

    nb: int
    kc: int
    blocks: int
    chunks: int
    stay: bool
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _TileCounts:
    """How many pieces a cut makes, and how large the input of a tile is.

    tiles: input tiles. subs: pieces of `ah` rows whose sums are held at a time. in_rows, in_cols:
    input pixels of a tile.
    """

    tiles: int
    subs: int
    in_rows: int
    in_cols: int


def plan_conv(
    config: NpuConfig, op: Conv, region: int, resident: Resident, settings: Settings
) -> WindowPlan:
    """Return the cheapest cut of a convolution whose buffers fit the scratchpads.

    Args:
        config: The accelerator.
        op: The convolution or matrix product.
        region: Bytes of the activation scratchpad that are free for buffers.
        resident: Which of its tensors need no buffers.
        settings: What the compiler may do.

    Raises:
        CompileError: No cut fits; the message gives the bytes that the smallest one needs.
    """
    problem = _Problem(config, op, region, resident, settings)
    best: WindowPlan | None = None
    enough = _GOOD * _lower_bound(config, op, resident)
    for cut in _weight_cuts(problem):
        for plan in _plans(problem, cut):
            if best is None or plan.cycles < best.cycles:
                best = plan
                if best.cycles <= enough:
                    return best
    if best is None:
        raise CompileError(_refusal(config, op, region))
    return best


def _lower_bound(config: NpuConfig, op: Conv, resident: Resident) -> float:
    """Cycles no cut can go below: the array, or the bytes that must move."""
    n, h, w, c = op.shape_in
    x = 0 if resident.x else n * h * w * c
    lanes = config.array.columns if op.depthwise else config.peak_macs
    return max(op.macs / lanes, (x + op.weights.size) / config.dma.width)


def _packed_bytes(n: int, k: int) -> int:
    """Bytes of packed weights: columns in 16s, k in 4s."""
    return align(n, 16) * align(k, 4)


def _refusal(config: NpuConfig, op: Conv, region: int) -> str:
    _, h, w, c = op.shape_in
    kh, kw = op.window.kernel
    rows = tile_input(op.window, 0, 1, h) * tile_input(op.window, 1, 1, w) * c
    return (
        f"npu: op {op.source!r}: kernel {kh}x{kw}x{c} does not fit: one window of input is "
        f"{rows} bytes of {region} in the activation scratchpad, 16 columns of weights take "
        f"{_packed_bytes(16, 4)} bytes or more of {config.weight.size}"
    )


def _weight_cuts(problem: _Problem) -> Iterator[_WeightCut]:
    """Cuts of the weights that fit the weight scratchpad, large blocks first."""
    config, op, k = problem.config, problem.op, problem.k
    oc = op.shape_out[3]
    per_group = oc // op.groups
    for nb in block_sizes(oc if op.depthwise else per_group):
        extra = _PARAM_BYTES * nb + problem.block_extra + 64
        budget = config.weight.size // problem.settings.buffers - extra
        kc, chunks = k, 1
        if op.depthwise:
            block = align(k * nb, 4)
            if block > budget:
                continue
            blocks = ceil_div(oc, nb)
        else:
            block = _packed_bytes(nb, k)
            if block > budget:
                fits = budget // align(nb, 16) // 4 * 4
                if fits < min(k, config.array.rows):
                    continue
                kc = ceil_div(k, ceil_div(k, fits))
                kc = min(align(kc, config.array.rows), fits)
            chunks = ceil_div(k, kc)
            blocks = op.groups * ceil_div(per_group, nb)
        total = blocks * align(block + extra)
        yield _WeightCut(
            nb=nb,
            kc=kc,
            blocks=blocks,
            chunks=chunks,
            stay=chunks == 1 and total <= config.weight.size,
            channels=nb if op.depthwise else op.shape_in[3],
        )


def _plans(problem: _Problem, cut: _WeightCut) -> Iterator[WindowPlan]:
    """The plans with these weights: every tile that fits accumulators and scratchpad, timed."""
    op, region, resident = problem.op, problem.region, problem.resident
    images, h, w, _ = op.shape_in
    _, oh, ow, _ = op.shape_out
    buffers, sums = problem.settings.buffers, problem.accumulators
    nb, blocks = cut.nb, cut.blocks
    for tw in tile_sizes(ow):
        if tw * nb > sums:
            continue
        for th in tile_sizes(oh):
            tiles = images * ceil_div(oh, th) * ceil_div(ow, tw)
            in_rows = tile_input(op.window, 0, th, h)
            in_cols = tile_input(op.window, 1, tw, w)
            loads = 0 if resident.x else tiles * (blocks if op.depthwise else 1)
            x_buffers = 0 if resident.x else min(loads, buffers)
            x_bytes = 0 if resident.x else align(in_rows * in_cols * cut.channels)
            if x_bytes * x_buffers > region:
                continue
            ah = min(th, sums // (tw * nb))
            ah = ceil_div(th, ceil_div(th, ah))
            subs = tiles * ceil_div(th, ah)
            y_buffers = min(subs * blocks, buffers)
            y_bytes = 0 if resident.y else align(ah * tw * nb)
            r_bytes = 0 if resident.r or op.residual is None else align(ah * tw * nb)
            if x_bytes * x_buffers + (y_bytes + r_bytes) * y_buffers > region:
                # Fewer rows at a time may still fit beside the input tile.
                kinds = bool(y_bytes) + bool(r_bytes)
                room = (region - x_bytes * x_buffers) // (y_buffers * kinds)
                ah = (room - 64) // (tw * nb)
                if ah < 1:
                    continue
                subs = tiles * ceil_div(th, ah)
                y_bytes = align(ah * tw * nb) if y_bytes else 0
                r_bytes = align(ah * tw * nb) if r_bytes else 0
            counts = _TileCounts(tiles=tiles, subs=subs, in_rows=in_rows, in_cols=in_cols)
            plan = WindowPlan(
                th=th,
                tw=tw,
                ah=ah,
                nb=nb,
                kc=cut.kc,
                order="tiles",
                weights_stay=cut.stay,
                x_buffers=x_buffers,
                y_buffers=y_buffers,
                x_bytes=x_bytes,
                y_bytes=y_bytes,
                r_bytes=r_bytes,
                cycles=0,
                region=region,
            )
            yield _timed(problem, cut, counts, plan)
            if tiles > 1 and blocks > 1 and not op.depthwise:
                yield _timed(problem, cut, counts, replace(plan, order="blocks"))


def _timed(problem: _Problem, cut: _WeightCut, counts: _TileCounts, plan: WindowPlan) -> WindowPlan:
    step = _step_cycles(problem, cut, counts, plan)
    return replace(plan, cycles=step.total(problem.settings.double_buffer))


def _step_cycles(
    problem: _Problem, cut: _WeightCut, counts: _TileCounts, plan: WindowPlan
) -> StepCycles:
    """What a candidate asks of each unit."""
    config, op, resident = problem.config, problem.op, problem.resident
    images, _, w, c = op.shape_in
    _, oh, ow, oc = op.shape_out
    steps = counts.subs * cut.blocks
    pixels = max(1, round(images * oh * ow / counts.subs))  # of one conv instruction, on average
    x_copy = 0
    if not resident.x:
        tile = (counts.in_rows, counts.in_cols, cut.channels)
        x_copy = tile_copy_cycles(config, tile=tile, tensor=(w, c))
    y_copy = tile_copy_cycles(config, tile=(plan.ah, plan.tw, plan.nb), tensor=(ow, oc))
    weights = problem.k * plan.nb if op.depthwise else _packed_bytes(plan.nb, problem.k)
    block_bytes = weights + _PARAM_BYTES * plan.nb + problem.block_extra
    block_copy = ceil_div(block_bytes, config.dma.width)
    load = _x_loads(op, cut, counts, plan) * x_copy
    load += _block_loads(op, cut, counts, plan) * block_copy
    if op.residual is not None and not resident.r:
        load += steps * y_copy
    requantised = pixels * ceil_div(plan.nb, config.vector.lanes)
    summed = _sum_cycles(problem, cut, counts, pixels)
    edges = (
        x_copy + block_copy / cut.chunks + requantised + y_copy
        + 2 * config.dma.latency + config.array.rows + config.array.columns
    )  # fmt: skip
    return StepCycles(
        load=load,
        compute=steps * (summed + cut.chunks * HAND_OVER),
        vector=steps * (requantised + HAND_OVER),
        store=0 if resident.y else steps * y_copy,
        edges=edges,
    )


def _x_loads(op: Conv, cut: _WeightCut, counts: _TileCounts, plan: WindowPlan) -> int:
    """How often a tile of input is loaded."""
    again = plan.order == "blocks" and counts.tiles > 1
    return counts.tiles * (cut.blocks if op.depthwise or again else 1)


def _block_loads(op: Conv, cut: _WeightCut, counts: _TileCounts, plan: WindowPlan) -> int:
    """How often a block of weights is loaded."""
    if plan.weights_stay:
        return cut.blocks
    if cut.chunks > 1:
        return cut.blocks * counts.subs
    return cut.blocks if plan.order == "blocks" or op.depthwise else cut.blocks * counts.tiles


def _sum_cycles(problem: _Problem, cut: _WeightCut, counts: _TileCounts, pixels: int) -> int:
    """Cycles of the array for the sums of one step: `pixels` pixels of one block."""
    config, op, k = problem.config, problem.op, problem.k
    if op.depthwise:
        taps = op.window.kernel[0] * op.window.kernel[1]
        return config.array.rows + ceil_div(cut.nb, config.array.columns) * taps * pixels
    _, _, w, c = op.shape_in
    row, pix = (w * c, c) if problem.resident.x else (counts.in_cols * cut.channels, cut.channels)
    reads = ConvReads(
        x=0,
        x_row=row,
        x_pix=pix,
        channels=op.weights.shape[3],
        kw=op.window.kernel[1],
        dh=op.window.dilation[0],
        dw=op.window.dilation[1],
    )
    last = (cut.chunks - 1) * cut.kc
    cycles = conv_cycles(config, pixels=pixels, n=cut.nb, reads=reads, begin=last, count=k - last)
    if cut.chunks > 1:
        chunk = conv_cycles(config, pixels=pixels, n=cut.nb, reads=reads, begin=0, count=cut.kc)
        cycles += (cut.chunks - 1) * chunk
    return cycles
