"""What convolution and matrix product share: a tile of sums that stays in vector registers."""

from __future__ import annotations

from math import prod
from typing import Any

from byoc.tir.schedule.injective import vectorize_elementwise
from byoc.tir.schedule.inlining import Inlining
from byoc.tir.schedule.kernel import Kernel, KernelBlock

__all__ = ["register_tile", "share_out", "tiled_reduction"]

_PARALLEL_FLOPS = 1 << 16


def tiled_reduction(
    kernel: Kernel, name: str
) -> tuple[KernelBlock, KernelBlock, tuple[KernelBlock, ...]] | None:
    """Match a kernel whose one reduction is byoc's `name`, followed by element-wise blocks.

    What lies between the reduction and the last of these is inlined, as far as that stays small.

    Args:
        kernel: The kernel.
        name: "conv" or "matmul".

    Returns:
        The reduction, the last block over the same elements, the blocks before the reduction; None
        for another kernel.

    """
    heavy = [b for b in kernel.blocks if not b.injective]
    if len(heavy) != 1 or heavy[0].annotations.get("byoc.kernel") != name:
        return None
    at = kernel.blocks.index(heavy[0])
    before, after = kernel.blocks[:at], kernel.blocks[at + 1 :]
    same = [block for block in after if block.extents == after[0].extents]
    *inner, last = after[: len(same)]
    if last is not same[-1] or any(kernel.is_output(block) for block in inner):
        return None
    inlining = Inlining(kernel)
    gone = inlining.leading(same)
    # What broadcasts the result further, or would be too long, runs after it in loops of its own.
    for block in inlining.producers(after[gone + 1 :]):
        vectorize_elementwise(kernel, block)
    return heavy[0], same[gone], before


def share_out(kernel: Kernel, acc: KernelBlock, outer: list[Any], tiles: Any) -> None:
    """Fuse outer loops and run them in parallel where there is enough work.

    Args:
        kernel: The kernel that is scheduled.
        acc: The block that accumulates sums.
        outer: The outer loops, outermost first.
        tiles: The loop over tiles, just inside; it is fused too where `outer` has too few
            iterations for all threads.
    """
    if prod(kernel.extent(loop) or 64 for loop in outer) < 2 * kernel.machine.threads:
        outer = [*outer, tiles]
    task = kernel.sch.fuse(*outer) if len(outer) > 1 else outer[0]
    work = prod(e or 64 for e in acc.extents)
    if kernel.machine.threads > 1 and work >= _PARALLEL_FLOPS:
        kernel.sch.parallel(task)


def register_tile(kernel: Kernel, acc: KernelBlock) -> None:
    """Unroll and vectorise a tile of sums so that it stays in vector registers.

    Args:
        kernel: The kernel that is scheduled.
        acc: The block that accumulates sums. Its innermost loops are pixel, vector, lane, and then
            the reductions.
    """
    sch, sums = kernel.sch, acc.kinds.count("R")
    loops = kernel.loops(acc)
    reduce, (pixel, vectors, lane) = loops[-sums:], loops[-sums - 3 : -sums]
    sch.reorder(*reduce, pixel, vectors, lane)
    sch.vectorize(lane)
    sch.unroll(vectors)
    sch.unroll(pixel)
    sch.decompose_reduction(acc.rv, reduce[0])
