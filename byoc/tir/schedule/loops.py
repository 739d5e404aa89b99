"""Cutting one loop into vectors, tails included.

In: a loop of a schedule. Out: the same loop in vectors, perhaps in parallel pieces.
"""

from __future__ import annotations

from typing import Any

from byoc.tir.schedule.kernel import Kernel

__all__ = ["largest_divisor", "vectorize_loop"]


def largest_divisor(size: int, limit: int) -> int:
    """Return the largest divisor of `size` that is at most `limit`.

    Args:
        size: The number to divide, 1 or more.
        limit: The largest divisor that is wanted, 1 or more.
    """
    return next(d for d in range(min(size, limit), 0, -1) if size % d == 0)


def vectorize_loop(kernel: Kernel, loop: Any, *, tasks: int = 1) -> None:
    """Vectorise an innermost loop.

    A tail shorter than a vector is partitioned off, so that the main loop has no branch. A loop of
    symbolic extent is left to LLVM's vectoriser, which copes with the unknown tail.

    Args:
        kernel: The kernel.
        loop: The loop.
        tasks: Run up to that many pieces in parallel.

    """
    sch, lanes = kernel.sch, kernel.machine.lanes("float32")
    length = kernel.extent(loop)
    if length is None:
        if tasks > 1:
            sch.parallel(sch.split(loop, factors=[None, 1024])[0])
        return
    vectors, tail = divmod(length, lanes)
    if vectors == 0:
        if length > 1:
            kernel.vectorize(loop)
        return
    if tail:
        loop, rest = sch.loop_partition(loop, [vectors * lanes, None])
        if tail > 1:
            kernel.vectorize(rest)
    pieces = largest_divisor(vectors, tasks)
    if pieces > 1:
        piece, _, vector = sch.split(loop, factors=[pieces, None, lanes])
        sch.parallel(piece)
    else:
        _, vector = sch.split(loop, factors=[None, lanes])
    kernel.vectorize(vector)
