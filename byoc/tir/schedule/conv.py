"""Schedule of `byoc.tir.kernels.conv`: one register tile per step, epilogue on the tile.

::

    parallel n, group, channel block, rows          pad, pack: their own parallel loops before
      for tile in row:
        acc tile = 0
        for input channels, kernel:  acc tile += broadcast x x w        all in registers
        for channel: vectorized pixel:  out = epilogue(acc tile)
"""

from __future__ import annotations

from tvm.s_tir import ScheduleError

from byoc.tir.schedule.injective import vectorize_elementwise
from byoc.tir.schedule.kernel import Kernel, KernelBlock
from byoc.tir.schedule.tile import register_tile, share_out, tiled_reduction

__all__ = ["conv", "copy_padded"]


def conv(kernel: Kernel) -> str | None:
    """Schedule a kernel whose one reduction is `byoc.tir.kernels.conv`; None for any other."""
    parts = tiled_reduction(kernel, "conv")
    if parts is None:
        return None
    acc, last, before = parts
    sch = kernel.sch
    pixels, channels, flat = (int(v) for v in acc.annotations["byoc.tile"])
    groups, blocks = acc.extents[1] or 1, acc.extents[2] or 1

    # 1. Cut the output into tiles.
    (n, o, *space), g = kernel.loops(last), None
    if groups > 1:
        g, o = sch.split(o, factors=[groups, None])
    rows, row = ([], sch.fuse(*space)) if flat and len(space) > 1 else (space[:-1], space[-1])
    length = kernel.extent(row)
    ob, oi = sch.split(o, factors=[blocks, channels if blocks > 1 else None])
    xo, xi = sch.split(row, factors=[None, pixels])
    outer = [n, *([g] if g else []), ob, *rows]
    sch.reorder(*outer, xo, oi, xi)
    sch.compute_at(acc.rv, xo, preserve_unit_loops=True)

    # 2. Share the tiles out, sum each in registers.
    share_out(kernel, acc, outer, xo)
    register_tile(kernel, acc)

    # 3. Epilogue: vectors of neighbouring pixels.
    if pixels > 1 and length is not None and length % pixels == 0:
        sch.vectorize(xi)
    for block in before:
        copy_padded(kernel, block)
    return "conv"


def copy_padded(kernel: Kernel, block: KernelBlock) -> None:
    """Schedule a block that copies, so that its loops are parallel and vectorised.

    A block that pads is split: it writes zeros first, then copies the inside without a branch.

    Args:
        kernel: The kernel that is scheduled.
        block: The block; one whose name begins with "pad" pads.
    """
    sch = kernel.sch
    if block.name.startswith("pad"):
        try:
            zeros = sch.decompose_padding(block.rv, kernel.loops(block)[0])
        except ScheduleError:  # symbolic borders: the test stays in the loop
            pass
        else:
            vectorize_elementwise(kernel, kernel.block(zeros))
    vectorize_elementwise(kernel, kernel.block(block.rv))
