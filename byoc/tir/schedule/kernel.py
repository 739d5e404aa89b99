"""One PrimFunc under scheduling: its blocks, what they read and write, and small helpers.

In: a PrimFunc and the machine it is for. Out: handles and facts for the rules, and at last the
scheduled function.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import Schedule

from byoc.tir.target import Machine

__all__ = ["Kernel", "KernelBlock", "extent_of"]

# Forking the thread pool costs a few microseconds: about as much as this many simple operations.
_PARALLEL_WORK = 1 << 14

_VECTOR = "byoc.vector"

_FAR = 1 << 40
"""No dimension is longer."""


@dataclass(frozen=True, eq=False)
class KernelBlock:
    """One block of a kernel, as the schedule stood when it was looked at.

    Attributes:
        name: Its name.
        rv: Its handle in the schedule.
        kinds: A letter for each of its loops, in order: "S" spatial, "R" reduction, "O" other.
        extents: Of its loops, None when symbolic; 0 too where an expression is 0 for all lengths.
        writes: Buffers.
        reads: Buffers.
        stmt: The block itself.

    """

    name: str
    rv: Any
    kinds: str
    extents: tuple[int | None, ...]
    writes: tuple[Any, ...]
    reads: tuple[Any, ...]
    stmt: Any

    @property
    def injective(self) -> bool:
        """Whether no loop is a reduction."""
        return "R" not in self.kinds

    @property
    def annotations(self) -> dict[str, Any]:
        """What the kernel's author wrote on the block."""
        return {str(k): v for k, v in self.stmt.annotations.items()}


class Kernel:
    """A PrimFunc with its schedule; a rule changes `sch`."""

    def __init__(self, func: tirx.PrimFunc, machine: Machine) -> None:
        self.machine = machine
        self.func = func
        self.sch = Schedule(func)
        self.params = set(func.params)
        self.blocks = self._blocks()
        symbolic = any(None in block.extents for block in self.blocks)
        if symbolic and any("byoc.kernel" in block.annotations for block in self.blocks):
            # TVM cannot prove that a padded symbolic size covers what is read of it, and refuses
            # most primitives then. byoc's own kernels are known to be right.
            self.sch = Schedule(func, enable_check=False)
            self.blocks = self._blocks()

    def _blocks(self) -> tuple[KernelBlock, ...]:
        root = self.sch.get_sblock("root")
        return tuple(self.block(rv) for rv in self.sch.get_child_blocks(root))

    def block(self, rv: Any) -> KernelBlock:
        """Return what is behind a handle, as the schedule stands now."""
        stmt = self.sch.get(rv)
        letters = {tirx.IterVar.DataPar: "S", tirx.IterVar.CommReduce: "R"}
        return KernelBlock(
            name=str(stmt.name_hint),
            rv=rv,
            kinds="".join(letters.get(v.iter_type, "O") for v in stmt.iter_vars),
            extents=tuple(_known_extent(v.dom.extent) for v in stmt.iter_vars),
            writes=tuple(region.source for region in stmt.writes),
            reads=tuple(region.source for region in stmt.reads),
            stmt=stmt,
        )

    def is_output(self, block: KernelBlock) -> bool:
        """Return whether the block writes a parameter of the kernel."""
        return any(buffer in self.params for buffer in block.writes)

    @property
    def empty(self) -> bool:
        """Whether some loop never runs. Fused with others, it would make TVM divide by 0."""
        return any(0 in block.extents for block in self.blocks)

    def work(self, block: KernelBlock) -> int | None:
        """Return the iterations of the block, None when a loop is symbolic."""
        if any(e is None for e in block.extents):
            return None
        return prod(e for e in block.extents if e is not None)

    def worth_parallel(self, block: KernelBlock, cost: int = 1) -> bool:
        """Return whether the block is large enough for several threads.

        Args:
            block: The block.
            cost: Simple operations of one iteration.

        """
        work = self.work(block)
        return self.machine.threads > 1 and (work is None or work * cost >= _PARALLEL_WORK)

    def loops(self, block: KernelBlock) -> list[Any]:
        """Return the loops around the block, outermost first."""
        return list(self.sch.get_loops(block.rv))

    def extent(self, loop: Any) -> int | None:
        """Return the extent of a loop, None when symbolic."""
        return extent_of(self.sch.get(loop).extent)

    def vectorize(self, loop: Any) -> None:
        """Vectorise a loop that the rule knows to be independent.

        `Schedule.vectorize` refuses loops of a decomposed reduction, because it can no longer
        tell that its two halves are one reduction; a mark on the loop is turned in `result`.
        """
        self.sch.annotate(loop, _VECTOR, 1)

    def result(self) -> tirx.PrimFunc:
        """Return the scheduled function."""
        func = self.sch.mod["main"]
        return func.with_body(tvm_ffi.structural_map(func.body, (tirx.For, _turn)))


def _turn(loop: tirx.For) -> tirx.For:
    if _VECTOR not in loop.annotations:
        return loop
    rest = {key: value for key, value in loop.annotations.items() if key != _VECTOR}
    return tirx.For(
        loop.loop_var,
        loop.min,
        loop.extent,
        tirx.stmt.ForKind.VECTORIZED,
        loop.body,
        annotations=rest,
        step=loop.step,
    )


def _known_extent(value: Any) -> int | None:
    extent = extent_of(value)
    if extent is not None or isinstance(value, tirx.Var):
        return extent
    analyzer = tvm.sym.Analyzer()
    for variable in tirx.analysis.undefined_vars(value):
        analyzer.bind(variable, tvm.ir.Range(0, _FAR))
    return 0 if extent_of(analyzer.simplify(value)) == 0 else None


def extent_of(value: Any) -> int | None:
    """Return a dimension as an int, None when it is symbolic."""
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, tirx.IntImm) else None
