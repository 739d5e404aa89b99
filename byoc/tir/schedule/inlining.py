"""How much of a chain of element-wise blocks becomes one expression.

What is read twice is written out twice: tanh(x) reads x five times once TVM has spelled it out, a
chain of 30 of them the first value 5^30 times. So a block is inlined as long as its readers stay
small, or where it is read once altogether, which writes nothing out twice. Any other is computed by
loops of its own::

    y = tanh(x)   z = tanh(y)   w = tanh(z)        5 reads, 25 reads, 125 reads: y is inlined,
                                                   z is kept in memory
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad
from tvm.s_tir import SBlock, ScheduleError

from byoc.tir.nan_safe import nan_safe
from byoc.tir.schedule.kernel import Kernel, KernelBlock

__all__ = ["Inlining"]

_MOST_READS = 96
"""In one expression, spelled out."""


class Inlining:
    """What the blocks of a kernel read, while some of them are inlined into others."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        reads = _reads(kernel) if len(kernel.blocks) > 1 else {}
        self._reads = {block: reads.get(block.name, Counter()) for block in kernel.blocks}
        self._readers: dict[Any, list[KernelBlock]] = {}
        for block, loads in self._reads.items():
            for buffer in loads:
                self._readers.setdefault(buffer, []).append(block)

    def producers(self, blocks: Sequence[KernelBlock]) -> list[KernelBlock]:
        """Inline the intermediate blocks that can be inlined into their readers.

        Args:
            blocks: Element-wise blocks of the kernel, in order.

        Returns:
            The blocks that remain, in order.
        """
        remaining = []
        for block in blocks:
            if not self._kernel.is_output(block) and self._stay_small(block):
                try:
                    self._inline(block)
                    continue
                except ScheduleError:  # its reader is no plain consumer: it keeps its own loops
                    pass
            remaining.append(block)
        return remaining

    def leading(self, blocks: Sequence[KernelBlock]) -> int:
        """Inline the first of some blocks each into the next, as long as that stays small.

        Args:
            blocks: Element-wise blocks of the kernel, in order; only the last is an output.

        Returns:
            How many are gone: the block of that number holds them.
        """
        for count, block in enumerate(blocks[:-1]):
            if not self._stay_small(block):
                return count
            self._inline(block)
        return len(blocks) - 1

    def _stay_small(self, block: KernelBlock) -> bool:
        """Whether a block is read once, or its readers are short with it inside."""
        (buffer,), size = block.writes, self._reads[block].total()
        readers = [self._reads[reader] for reader in self._readers.get(buffer, ())]
        if [loads[buffer] for loads in readers] == [1]:
            return True
        return all(loads.total() + loads[buffer] * size <= _MOST_READS for loads in readers)

    def _inline(self, block: KernelBlock) -> None:
        self._kernel.sch.compute_inline(block.rv)
        (buffer,), inner = block.writes, self._reads[block]
        for source in inner:
            self._readers[source].remove(block)
        for reader in self._readers.pop(buffer, []):
            loads = self._reads[reader]
            times = loads.pop(buffer)
            for source, count in inner.items():
                if source not in loads:
                    self._readers[source].append(reader)
                loads[source] += times * count


def _reads(kernel: Kernel) -> dict[str, Counter[Any]]:
    """Block → buffer → how often its expression reads it, once TVM has spelled that out."""
    func = nan_safe(kernel.func).with_attr("target", kernel.machine.target)
    spelled = tirx.transform.LowerIntrin()(tvm.IRModule({"main": func}))
    blocks: list[Any] = []
    tvm_ffi.structural_walk(spelled["main"].body, (SBlock, lambda block: blocks.append(block)))
    return {str(block.name_hint): _loads(block) for block in blocks if block.name_hint != "root"}


def _loads(block: Any) -> Counter[Any]:
    loads: Counter[Any] = Counter()
    tvm_ffi.structural_walk(block.body, (TensorLoad, lambda node: loads.update([node.source])))
    return loads
