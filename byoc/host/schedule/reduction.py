"""Reductions without a template of their own: parallel over what is kept."""

from __future__ import annotations

from .injective import inline_producers, vectorize_elementwise
from .kernel import Block, Kernel

__all__ = ["reduction"]


def reduction(kernel: Kernel) -> str | None:
    """Match kernels of spatial and reduction loops only."""
    if not all(block.kinds and set(block.kinds) <= {"S", "R"} for block in kernel.blocks):
        return None
    last_reduction = max(i for i, b in enumerate(kernel.blocks) if not b.injective)
    producers = tuple(b for b in kernel.blocks[:last_reduction] if b.injective)
    kept = inline_producers(kernel, producers)
    tail = tuple(b for b in kernel.blocks[last_reduction + 1 :])
    kept += inline_producers(kernel, tail)
    for block in kept:
        vectorize_elementwise(kernel, block)
    for block in kernel.blocks:
        if not block.injective:
            _parallel(kernel, block)
    return "reduction"


def _parallel(kernel: Kernel, block: Block) -> None:
    loops = [
        loop for loop, kind in zip(kernel.loops(block), block.kinds, strict=True) if kind == "S"
    ]
    if not loops or not kernel.worth_parallel(block):
        return
    kernel.sch.parallel(kernel.sch.fuse(*loops) if len(loops) > 1 else loops[0])
