"""Schedule of `byoc.tir.kernels.row_kernels`: all of a row inside one iteration.

Rows run in parallel; every pass over a row, its epilogue included, runs before the next row.
"""

from __future__ import annotations

from byoc.tir.schedule.injective import vectorize_elementwise
from byoc.tir.schedule.inlining import Inlining
from byoc.tir.schedule.kernel import Kernel
from byoc.tir.schedule.loops import vectorize_loop

__all__ = ["rows"]


def rows(kernel: Kernel) -> str | None:
    """Schedule a kernel made by `byoc.tir.kernels.row_kernels`, with its epilogue; else None."""
    marked = [b for b in kernel.blocks if b.annotations.get("byoc.kernel") == "rows"]
    if not marked:
        return None
    sch, last = kernel.sch, kernel.blocks[-1]
    at = kernel.blocks.index(marked[0])
    if last.extents != marked[0].extents:
        return None
    inlining = Inlining(kernel)
    at_last = at + inlining.leading(kernel.blocks[at:])
    for block in inlining.producers(kernel.blocks[at_last + 1 :]):
        vectorize_elementwise(kernel, block)
    last = kernel.blocks[at_last]
    if last.extents != marked[0].extents:
        raise ValueError(f"the rows end in a block over {last.extents}")
    *outer, along = kernel.loops(last)
    row = sch.fuse(*outer) if len(outer) > 1 else outer[0]
    stages = [b for b in kernel.blocks[:at] if b is not last]
    for block in reversed(stages):
        sch.compute_at(block.rv, row, preserve_unit_loops=True)
    if kernel.worth_parallel(last, cost=4):
        sch.parallel(row)
    for block in stages:
        loops = kernel.loops(block)
        if block.injective:
            if len(block.extents) == len(last.extents):
                vectorize_loop(kernel, loops[-1])
        elif block.name.endswith("_lanes"):
            lane, step = loops[-2:]
            sch.reorder(step, lane)
            kernel.vectorize(lane)
            kernel.vectorize(sch.get_loops(sch.decompose_reduction(block.rv, step))[-1])
        elif block.name.endswith("_tail"):
            # Of a symbolic length the tail may be empty: its start value must not wait for a step.
            sch.decompose_reduction(block.rv, loops[-1])
    vectorize_loop(kernel, along)
    return "rows"
