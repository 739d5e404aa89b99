"""Schedule of `kernels.conv`: one register tile per step, epilogue on the tile::

    parallel n, group, channel block, rows          pad, pack: their own parallel loops before
      for tile in row:
        acc tile = 0
        for input channels, kernel:  acc tile += broadcast x × w        all in registers
        for channel: vectorized pixel:  out = epilogue(acc tile)
"""

from __future__ import annotations

from math import prod

from tvm.s_tir import ScheduleError

from .injective import vectorize_elementwise
from .kernel import Block, Kernel

__all__ = ["conv"]


def conv(kernel: Kernel) -> str | None:
    """Match kernels whose one reduction is `kernels.conv`."""
    heavy = [b for b in kernel.blocks if not b.injective]
    if len(heavy) != 1 or heavy[0].annotations.get("byoc.kernel") != "conv":
        return None
    sch, acc = kernel.sch, heavy[0]
    at = kernel.blocks.index(acc)
    before, (unpack, *epilogue) = kernel.blocks[:at], kernel.blocks[at + 1 :]
    last = kernel.blocks[-1]
    if last.extents != unpack.extents or not all(b.injective for b in epilogue):
        return None
    pixels, channels, flat = (int(v) for v in acc.annotations["byoc.tile"])
    for block in (unpack, *epilogue):
        if block is not last:
            sch.compute_inline(block.rv)

    # 1. Cut the output into tiles.
    n, o, *space = kernel.loops(last)
    rows, row = ([], sch.fuse(*space)) if flat and len(space) > 1 else (space[:-1], space[-1])
    groups, blocks = acc.extents[1] or 1, acc.extents[2] or 1
    outputs = (last.extents[1] or 1) // groups
    length = kernel.extent(row)
    outer = [n]
    if groups > 1:
        g, o = sch.split(o, factors=[groups, outputs])
        outer.append(g)
    ob, oi = sch.split(o, factors=[blocks, channels if blocks > 1 else None])
    xo, xi = sch.split(row, factors=[None, pixels])
    sch.reorder(*outer, ob, *rows, xo, oi, xi)
    tasks = [*outer, ob, *rows]
    if prod(kernel.extent(loop) or 64 for loop in tasks) < 2 * kernel.machine.threads:
        tasks.append(xo)
    task = sch.fuse(*tasks)
    if kernel.machine.threads > 1 and prod(e or 64 for e in acc.extents) >= 1 << 16:
        sch.parallel(task)

    # 2. Fill one tile of sums at a time, in registers.
    sch.compute_at(acc.rv, task if tasks[-1] is xo else xo, preserve_unit_loops=True)
    sums = acc.kinds.count("R")  # n group block *space vector lane | chunk *kernel channel
    loops = kernel.loops(acc)[-len(acc.kinds) :]
    reduce, (pixel, vectors, lane) = loops[-sums:], loops[-sums - 3 : -sums]
    sch.reorder(*reduce, pixel, vectors, lane)
    sch.vectorize(lane)
    sch.unroll(vectors)
    sch.unroll(pixel)
    sch.decompose_reduction(acc.rv, reduce[0])

    # 3. Epilogue: vectors of neighbouring pixels.
    if pixels > 1 and length is not None and length % pixels == 0:
        sch.vectorize(xi)
    for block in before:
        _copy(kernel, block)
    return "conv"


def _copy(kernel: Kernel, block: Block) -> None:
    """Padding: zeros first, then the inside without a branch."""
    sch = kernel.sch
    if block.name.startswith("pad"):
        loops = kernel.loops(block)
        try:
            zeros = sch.decompose_padding(block.rv, loops[0])
        except ScheduleError:
            zeros = None
        if zeros is not None:
            vectorize_elementwise(kernel, kernel.block(zeros))
        vectorize_elementwise(kernel, kernel.block(block.rv))
        return
    vectorize_elementwise(kernel, block)
