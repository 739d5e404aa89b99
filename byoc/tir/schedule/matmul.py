"""Schedule of `byoc.tir.kernels.matmul`: one register tile per step, epilogue on the tile.

::

    parallel batch, panel of columns
      for tile of rows:
        acc tile = 0;  for k: acc tile += broadcast a x panel row      all in registers
        for row: vectorized column:  out = epilogue(acc tile)
"""

from __future__ import annotations

from byoc.tir.schedule.conv import copy_padded
from byoc.tir.schedule.kernel import Kernel
from byoc.tir.schedule.tile import register_tile, share_out, tiled_reduction

__all__ = ["matmul"]


def matmul(kernel: Kernel) -> str | None:
    """Schedule a kernel whose one reduction is `byoc.tir.kernels.matmul`; None for any other."""
    parts = tiled_reduction(kernel, "matmul")
    if parts is None:
        return None
    acc, last, before = parts
    sch = kernel.sch
    rows, columns, flat = (int(v) for v in acc.annotations["byoc.tile"])

    *batch, m, n = kernel.loops(last)
    if flat:
        m, batch = sch.fuse(*batch, m) if batch else m, []
    width = kernel.extent(n)
    panel, inner = sch.split(n, factors=[None, columns])
    step, row = sch.split(m, factors=[None, rows])
    sch.reorder(*batch, panel, step, row, inner)
    sch.compute_at(acc.rv, step, preserve_unit_loops=True)
    share_out(kernel, acc, [*batch, panel], step)
    register_tile(kernel, acc)
    if width is not None and width % columns == 0:
        sch.vectorize(sch.split(inner, factors=[None, kernel.machine.lanes("float32")])[1])
    for block in before:
        copy_padded(kernel, block)
    return "matmul"
