"""Where every tensor lies: in the activation scratchpad, or at an address of work memory.

In: the int8 graph and the machine. Out: a `MemoryLayout`, addresses and a plan per operation.
Two memories, one idea: a tensor lives from the operation that writes it to the last that reads
it, and takes the first gap that is free all that time::

    scratchpad   [ tiles of the running operation … free … | resident | resident ]
                 0 ─────────────── region of op i ────────▶   from the top down

A tensor is made resident when the operations that see it, planned anew with what is left of the
scratchpad, take fewer cycles together. Small tensors are asked first: they cost least room.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from byoc.errors import CompileError
from byoc.vendor_templates.npu.lowering.int8_graph import (
    Concat,
    Conv,
    Elementwise,
    Int8Graph,
    Operation,
    Permute,
    Pool,
)
from byoc.vendor_templates.npu.machine.config import NpuConfig
from byoc.vendor_templates.npu.planning.conv_tiling import plan_conv
from byoc.vendor_templates.npu.planning.cycle_model import ceil_div
from byoc.vendor_templates.npu.planning.plans import Resident, Settings, WindowPlan, align
from byoc.vendor_templates.npu.planning.pool_tiling import plan_pool

__all__ = ["MemoryLayout", "lay_out_memory"]

_Lifetime: TypeAlias = tuple[int, int]
"""(first, last) operation that needs a tensor; -1 and the number of operations are the borders."""

_SMALLEST = 2048  # bytes of tiles that any operation can be cut down to


@dataclass(slots=True)
class MemoryLayout:
    """The addresses of all tensors of a graph, and how its operations are cut.

    Args:
        resident: Tensor -> address in the activation scratchpad.
        work: Tensor -> address in work memory (on the device, off the chip).
        work_bytes: Size of work memory.
        plans: For each operation how it is cut, None where it takes bytes as they come.
        regions: For each operation how many bytes of the scratchpad, from 0 up, are for buffers.
        cycles: What the plans cost together, by the cycle model of the compiler.
    """

    resident: dict[int, int] = field(default_factory=dict)
    work: dict[int, int] = field(default_factory=dict)
    work_bytes: int = 0
    plans: list[WindowPlan | None] = field(default_factory=list)
    regions: list[int] = field(default_factory=list)
    cycles: int = 0


def lay_out_memory(graph: Int8Graph, config: NpuConfig, settings: Settings) -> MemoryLayout:
    """Choose the tensors that stay on the chip, plan every operation, and give addresses.

    Args:
        graph: The int8 graph.
        config: The accelerator.
        settings: What the compiler may do.

    Raises:
        CompileError: An operation cannot be cut to fit, or work memory exceeds 32-bit addresses.
    """
    lives = _lifetimes(graph)
    chooser = _Residency(graph, config, settings, lives)
    if settings.residency:
        chooser.choose()
    layout = MemoryLayout(
        chooser.addresses,
        plans=chooser.plans,
        regions=chooser.regions,
        cycles=sum(chooser.cycles),
    )
    off_chip = [t for t in lives if t not in chooser.addresses and graph.tensors[t].data is None]
    layout.work, layout.work_bytes = _pack(graph, lives, off_chip)
    return layout


def _lifetimes(graph: Int8Graph) -> dict[int, _Lifetime]:
    """Owner of bytes -> (first, last operation that needs them); borders live to the ends."""
    last = len(graph.operations)
    lives: dict[int, _Lifetime] = {}

    def extend(tensor: int, at: int) -> None:
        first, end = lives.get(tensor, (at, at))
        lives[tensor] = (min(first, at), max(end, at))

    for index, op in enumerate(graph.operations):
        for tensor in (*graph.reads(op), graph.base(op.y)):
            extend(tensor, index)
    for border in graph.feeds:
        extend(graph.base(border.tensor), -1)
    for border in graph.results:
        extend(graph.base(border.tensor), last)
    return lives


def _meet(a: _Lifetime, b: _Lifetime) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def _pack(
    graph: Int8Graph, lives: dict[int, _Lifetime], tensors: list[int]
) -> tuple[dict[int, int], int]:
    """First-fit, largest first; returns addresses and the size of work memory."""
    placed: dict[int, int] = {}
    size = 0
    for tensor in sorted(tensors, key=lambda t: -graph.tensors[t].nbytes):
        need = align(graph.tensors[tensor].nbytes)
        taken = sorted(
            (address, address + align(graph.tensors[other].nbytes))
            for other, address in placed.items()
            if _meet(lives[tensor], lives[other])
        )
        at = 0
        for first, end in taken:
            if at + need <= first:
                break
            at = max(at, end)
        placed[tensor] = at
        size = max(size, at + need)
    if size >= 1 << 32:
        raise CompileError(f"npu: segment {graph.name!r} needs {size} bytes, addresses are 32 bits")
    return placed, size


class _Residency:
    """Greedy choice of residents; `plans` and `regions` always fit `addresses`."""

    def __init__(
        self, graph: Int8Graph, config: NpuConfig, settings: Settings, lives: dict[int, _Lifetime]
    ) -> None:
        self.graph, self.config, self.settings, self.lives = graph, config, settings, lives
        self.addresses: dict[int, int] = {}
        self.memo: dict[tuple[object, ...], WindowPlan | None] = {}
        self.regions = [int(config.activation.size)] * len(graph.operations)
        self.plans = [self._plan(i, self.regions[i], Resident()) for i in range(len(self.regions))]
        self.cycles = [self._cycles(i, self.plans[i], Resident()) for i in range(len(self.regions))]

    def choose(self) -> None:
        borders = {self.graph.base(b.tensor) for b in (*self.graph.feeds, *self.graph.results)}
        by_dma = {self.graph.base(op.y) for op in self.graph.operations if isinstance(op, Permute)}
        limit = int(self.config.activation.size) * 7 // 8
        candidates = [
            tensor
            for tensor in self.lives
            if tensor not in borders | by_dma
            and self.graph.tensors[tensor].data is None
            and self.graph.tensors[tensor].nbytes <= limit
        ]
        for tensor in sorted(candidates, key=lambda t: self.graph.tensors[t].nbytes):
            self._try(tensor)

    def _try(self, tensor: int) -> None:
        """Make a tensor resident when that saves cycles."""
        address = self._address(tensor)
        if address is None:
            return
        first, last = self.lives[tensor]
        trial = {**self.addresses, tensor: address}
        span = range(max(first, 0), min(last, len(self.plans) - 1) + 1)
        plans: list[tuple[int, int, WindowPlan | None, int]] = []
        for index in span:
            region = min(self.regions[index], address)
            resident = self._flags(index, trial)
            try:
                plan = self._plan(index, region, resident)
            except CompileError:
                return
            plans.append((index, region, plan, self._cycles(index, plan, resident)))
        if sum(p[3] for p in plans) >= sum(self.cycles[index] for index in span):
            return
        self.addresses = trial
        for index, region, plan, cycles in plans:
            self.regions[index], self.plans[index], self.cycles[index] = region, plan, cycles

    def _address(self, tensor: int) -> int | None:
        """The highest free place while the tensor lives, or None."""
        need = align(self.graph.tensors[tensor].nbytes)
        taken = sorted(
            (
                (address, address + align(self.graph.tensors[other].nbytes))
                for other, address in self.addresses.items()
                if _meet(self.lives[tensor], self.lives[other])
            ),
            reverse=True,
        )
        top = int(self.config.activation.size) // 64 * 64
        for first, end in taken:
            if end + need <= top:
                break
            top = min(top, first)
        return top - need if top >= need else None

    def _flags(self, index: int, addresses: dict[int, int]) -> Resident:
        op = self.graph.operations[index]
        second = -1
        if isinstance(op, Conv) and op.residual is not None:
            second = self.graph.base(op.residual.tensor)
        if isinstance(op, Elementwise) and op.b is not None:
            second = self.graph.base(op.b)
        x = self.graph.base(op.parts[0][0] if isinstance(op, Concat) else op.x)
        return Resident(x in addresses, self.graph.base(op.y) in addresses, second in addresses)

    def _plan(self, index: int, region: int, resident: Resident) -> WindowPlan | None:
        op = self.graph.operations[index]
        key = (*_signature(op), region, resident)
        if key not in self.memo:
            plan: WindowPlan | None = None
            if isinstance(op, Conv):
                plan = plan_conv(self.config, op, region, resident, self.settings)
            elif isinstance(op, Pool):
                plan = plan_pool(self.config, op, region, resident, self.settings)
            elif region < _SMALLEST:
                raise CompileError(
                    f"npu: op {op.source!r} does not fit: {region} bytes of the activation "
                    f"scratchpad are free for tiles, {_SMALLEST} at least are needed"
                )
            self.memo[key] = plan
        return self.memo[key]

    def _cycles(self, index: int, plan: WindowPlan | None, resident: Resident) -> int:
        if plan is not None:
            return plan.cycles
        return _move_cycles(self.config, self.graph, self.graph.operations[index], resident)


def _signature(op: Operation) -> tuple[object, ...]:
    """What a plan depends on: operations that are alike share one."""
    if isinstance(op, Conv):
        shape = (op.shape_in, op.shape_out, op.window, op.groups)
        return ("conv", *shape, op.residual is not None, op.table is not None)
    if isinstance(op, Pool):
        return ("pool", op.shape_in, op.shape_out, op.window, op.table is not None)
    return (type(op).__name__,)


def _move_cycles(config: NpuConfig, graph: Int8Graph, op: Operation, resident: Resident) -> int:
    """Cycles of an operation that takes each byte once: its busiest unit."""
    size = graph.tensors[op.y].nbytes
    width, lanes = config.dma.width, config.vector.lanes
    if isinstance(op, Permute):  # single bytes: a burst each
        return ceil_div(size * config.dma.latency, config.dma.outstanding) + size
    vector = ceil_div(size, lanes)
    if isinstance(op, Concat) and not resident.y and not any(p[2] is not None for p in op.parts):
        vector = 0
    operands = 2 if isinstance(op, Elementwise) and op.b is not None and not op.broadcast else 1
    loads = operands - resident.x - (resident.r and operands == 2)
    store = 0 if resident.y else ceil_div(size, width)
    return max(vector, loads * ceil_div(size, width), store) + 4 * config.dma.latency
