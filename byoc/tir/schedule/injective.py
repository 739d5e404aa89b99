"""Element-wise work: every output element on its own, read patterns may permute or broadcast.

Intermediate blocks are inlined, so that each output is one loop nest (`inlining`). Its trailing
loops are fused as long as every access stays contiguous over them, then cut into vectors::

    for p in parallel(outer):                  the loops that cannot be part of the run
      for i in range(run // 16):               a contiguous run
        for v in vectorized(16): …
      for v in vectorized(run % 16): …         its tail, partitioned off: no branch in the loop
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad, Var

from byoc.tir.schedule.inlining import Inlining
from byoc.tir.schedule.kernel import Kernel, KernelBlock
from byoc.tir.schedule.loops import vectorize_loop

__all__ = [
    "accesses_of",
    "contiguous_from",
    "injective",
    "uses",
    "vectorize_elementwise",
]

_TASKS_PER_THREAD = 4


def injective(kernel: Kernel) -> str | None:
    """Schedule a kernel without any reduction; None for any other."""
    if not all(block.kinds and set(block.kinds) <= {"S"} for block in kernel.blocks):
        return None
    for block in Inlining(kernel).producers(kernel.blocks):
        vectorize_elementwise(kernel, block)
    return "injective"


def vectorize_elementwise(kernel: Kernel, block: KernelBlock) -> None:
    """Make the loops of one element-wise block parallel and vectorised.

    Args:
        kernel: The kernel that is scheduled.
        block: A block whose output elements do not depend on each other.
    """
    sch, loops = kernel.sch, kernel.loops(block)
    if not loops or 0 in block.extents:  # fused, loops that never run would divide by 0
        return
    first = contiguous_from(sch.get(block.rv), len(loops))
    run = sch.fuse(*loops[first:]) if len(loops) - first > 1 else loops[first]
    outer = sch.fuse(*loops[:first]) if first > 1 else (loops[0] if first else None)
    tasks = kernel.machine.threads * _TASKS_PER_THREAD if kernel.worth_parallel(block) else 1
    if outer is not None and tasks > 1 and kernel.extent(outer) != 1:
        sch.parallel(outer)
        tasks = 1
    vectorize_loop(kernel, run, tasks=tasks)


def accesses_of(stmt: Any) -> list[tuple[Any, Any]]:
    """Return (buffer, indices) of every load and store of a block."""
    accesses: list[tuple[Any, Any]] = []
    tvm_ffi.structural_walk(
        stmt.body,
        (
            (tirx.BufferStore, lambda node: accesses.append((node.buffer, node.indices))),
            (TensorLoad, lambda node: accesses.append((node.source, node.indices))),
        ),
    )
    return accesses


def contiguous_from(stmt: Any, count: int) -> int:
    """Find the longest run of inner loops over which every access is contiguous or constant.

    Args:
        stmt: The block.
        count: How many loops it has.

    Returns:
        Position of the first loop of the run.

    """
    iters = [v.var for v in stmt.iter_vars]
    if len(iters) != count:
        return count - 1
    extents = [v.dom.extent for v in stmt.iter_vars]
    accesses = accesses_of(stmt)
    first = count - 1
    while first > 0 and all(
        _contiguous(buffer, indices, iters[first - 1 :], extents[first - 1 :])
        for buffer, indices in accesses
    ):
        first -= 1
    return first


def _contiguous(buffer: Any, indices: Any, suffix: list[Any], extents: list[Any]) -> bool:
    """True when `buffer[indices]` walks memory in step with the fused loops `suffix`."""
    used = [any(uses(index, var) for var in suffix) for index in indices]
    if not any(used):
        return True
    head, tail = indices[: -len(suffix)], list(indices[-len(suffix) :])
    if len(tail) != len(suffix) or any(used[: len(head)]):
        return False
    same = all(index.same_as(var) for index, var in zip(tail, suffix, strict=True))
    dims = list(buffer.ty.shape)[-len(suffix) :]
    full = all(
        tvm_ffi.structural_equal(dim, extent) if not isinstance(dim, int) else dim == extent
        for dim, extent in zip(dims[1:], extents[1:], strict=True)
    )
    return same and full


def uses(expr: Any, var: Any) -> bool:
    """Return whether a variable occurs in an expression.

    Args:
        expr: The TIR expression.
        var: The TIR variable.
    """
    found: list[Any] = []
    tvm_ffi.structural_walk(expr, (Var, lambda node: found.append(node)))
    return any(node.same_as(var) for node in found)
