"""Reductions without a template of their own (pooling, sums, arg-max, …).

Each reduction keeps its own loop nest, parallel over what is kept, vectorised one of two ways::

    vertical: the result's last axis is contiguous in what is read     pooling, sums over rows
        for reduced: vectorized kept:  out[kept] += x[…, kept]
    horizontal: the last reduced axis is contiguous                    sums along rows
        part[lane] += x[…, lane];  out += part[lane]                   (`rfactor`)

Element-wise producers are inlined, those that follow run as loops of their own.
"""

from __future__ import annotations

from math import prod
from typing import Any

from tvm.s_tir import ScheduleError

from byoc.tir.schedule.conv import copy_padded
from byoc.tir.schedule.injective import accesses_of, uses, vectorize_elementwise
from byoc.tir.schedule.inlining import Inlining
from byoc.tir.schedule.kernel import Kernel, KernelBlock
from byoc.tir.schedule.loops import largest_divisor, vectorize_loop

__all__ = ["reduction"]


def reduction(kernel: Kernel) -> str | None:
    """Schedule a kernel of spatial and reduction loops only; None for any other."""
    if not all(block.kinds and set(block.kinds) <= {"S", "R"} for block in kernel.blocks):
        return None
    at = max(i for i, b in enumerate(kernel.blocks) if not b.injective)
    pads = tuple(b for b in kernel.blocks[:at] if b.name.startswith("pad"))
    producers = tuple(b for b in kernel.blocks[:at] if b.injective and b not in pads)
    inlining = Inlining(kernel)
    loops = inlining.producers(producers)
    loops += inlining.producers(kernel.blocks[at + 1 :])
    notes = {_reduce(kernel, block) for block in kernel.blocks if not block.injective}
    for block in pads:
        copy_padded(kernel, block)
    for block in loops:
        vectorize_elementwise(kernel, block)
    return "reduction " + "+".join(sorted(notes))


def _reduce(kernel: Kernel, block: KernelBlock) -> str:
    sch, loops = kernel.sch, kernel.loops(block)
    kept = [loop for loop, kind in zip(loops, block.kinds, strict=True) if kind == "S"]
    reduced = [loop for loop, kind in zip(loops, block.kinds, strict=True) if kind == "R"]
    stmt = sch.get(block.rv)
    loads = [(b, i) for b, i in accesses_of(stmt) if b not in block.writes]
    variables = [v.var for v in stmt.iter_vars]
    last_kept = next((v for v, k in zip(variables, block.kinds, strict=True) if k == "S"), None)
    for variable, kind in zip(variables, block.kinds, strict=True):
        last_kept = variable if kind == "S" else last_kept
    last_reduced = [v for v, k in zip(variables, block.kinds, strict=True) if k == "R"][-1]
    lanes = kernel.machine.lanes("float32")
    wide = bool(kept) and (kernel.extent(kept[-1]) or lanes) >= 4
    if 0 in block.extents:  # fused, loops that never run would divide by 0
        return "empty"
    # Reductions of several values at once (arg-max) carry a value that vectors cannot.
    if len(block.writes) > 1:
        _parallel(kernel, block, kept)
        return "scalar"
    if wide and all(not _last_uses(i, last_reduced) or _last_uses(i, last_kept) for _, i in loads):
        *outer, inner = kept
        sch.reorder(*outer, *reduced, inner)
        _parallel(kernel, block, outer)
        rv = sch.decompose_reduction(block.rv, reduced[0])
        for part in (rv, block.rv):
            vectorize_loop(kernel, sch.get_loops(part)[-1])
        return "vertical"
    extent = kernel.extent(reduced[-1])
    width = largest_divisor(extent, 2 * lanes) if extent else 1
    if width >= 4:
        try:
            _, lane = sch.split(reduced[-1], factors=[None, width])
            partial = sch.rfactor(lane, factor_axis=len(kept))
        except ScheduleError:
            pass
        else:
            _horizontal(kernel, block, partial, len(kept))
            return "horizontal"
    _parallel(kernel, block, kept)
    return "scalar"


def _horizontal(kernel: Kernel, block: KernelBlock, partial: Any, kept: int) -> None:
    sch = kernel.sch
    final = sch.get_loops(block.rv)
    if kept:
        sch.compute_at(partial, final[kept - 1], preserve_unit_loops=True)
    stmt = sch.get(partial)
    loops = sch.get_loops(partial)[-len(stmt.iter_vars) :]
    if kept:  # `compute_at` made the loops anew, in the order of the block's variables
        lane, reduced = loops[kept], loops[kept + 1 :]
        sch.reorder(*reduced, lane)
    else:
        reduced = loops[:-1]
    _parallel(kernel, block, list(final[:kept]))
    init = sch.decompose_reduction(partial, reduced[0])
    for part in (init, partial):
        kernel.vectorize(sch.get_loops(part)[-1])


def _parallel(kernel: Kernel, block: KernelBlock, loops: list[Any]) -> None:
    if not loops or not kernel.worth_parallel(block):
        return
    if prod(kernel.extent(loop) or 64 for loop in loops) > 1:
        kernel.sch.parallel(kernel.sch.fuse(*loops) if len(loops) > 1 else loops[0])


def _last_uses(indices: Any, variable: Any) -> bool:
    """True when the contiguous axis of an access moves with `variable`."""
    return bool(len(indices)) and variable is not None and uses(indices[-1], variable)
