"""From the lowered `main` to a `Plan`: tasks, their dependencies, one memory plan.

Every binding of the lowered function is a kernel call, a segment call, a view or an alias, so
one walk in order gives the tasks. A *storage* is what one task writes; tensors are windows into
it, views share it. Storages live from the task that writes them to the last that reads them,
and the arena is filled by a best-fit linear scan over those intervals::

    task      0     1     2     3     4
    storage A ██████████                      A and C may share bytes:
    storage B       ████████████              C is born after A's last reader
    storage C                   ████████

With several processors, tasks overlap, and "after" must mean "depends on": bytes are handed on
only when every reader of the old storage is an ancestor of the new writer.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any

from byoc.errors import CompileError
from byoc.ir.arrays import to_numpy
from byoc.runtime.plan import MemorySpace, Plan, PlanTensor, Port, Task
from byoc.segment import Array
from byoc.support.dtypes import numpy_dtype
from byoc.support.memory import round_up

if TYPE_CHECKING:
    from tvm import relax

__all__ = ["Planned", "make_plan"]


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan and the arrays behind its constants.

    Attributes:
        plan: tasks, tensors and where their bytes lie.
        constants: the arrays, in the order in which the plan counts them.
    """

    plan: Plan
    constants: tuple[Array, ...]


@dataclass(slots=True)
class _Storage:
    """Bytes that one task writes, or that a caller or the model provides."""

    place: MemorySpace
    index: int
    nbytes: int
    writer: int = -1  # task that writes it; -1 when it is there from the start
    readers: list[int] = field(default_factory=list)
    offset: int = 0


@dataclass(frozen=True, slots=True)
class _Window:
    """A tensor before offsets are known."""

    shape: tuple[int, ...]
    dtype: str
    storage: _Storage


_Value = _Window | tuple["_Value", ...]


def _nbytes(shape: Sequence[int], dtype: str) -> int:
    return prod(shape) * numpy_dtype(dtype).itemsize


class _Arena:
    """Best-fit free list over one growing block; neighbours coalesce."""

    def __init__(self) -> None:
        self.size = 0
        self._free: list[tuple[int, int]] = []  # (offset, bytes), sorted by offset

    def take(self, nbytes: int) -> int:
        best = min(
            (block for block in self._free if block[1] >= nbytes),
            key=lambda block: block[1],
            default=None,
        )
        if best is not None:
            self._free.remove(best)
            if best[1] > nbytes:
                bisect.insort(self._free, (best[0] + nbytes, best[1] - nbytes))
            return best[0]
        if self._free and sum(self._free[-1]) == self.size:  # grow the block at the end
            offset, _ = self._free.pop()
            self.size = offset + nbytes
            return offset
        offset = self.size
        self.size += nbytes
        return offset

    def give(self, offset: int, nbytes: int) -> None:
        at = bisect.bisect(self._free, (offset, 0))
        if at < len(self._free) and offset + nbytes == self._free[at][0]:
            nbytes += self._free.pop(at)[1]
        if at > 0 and sum(self._free[at - 1]) == offset:
            before, size = self._free.pop(at - 1)
            offset, nbytes = before, size + nbytes
        bisect.insort(self._free, (offset, nbytes))


class _Walk:
    """One pass over the bindings of a lowered function."""

    def __init__(
        self,
        processors: Mapping[str, str],
        sources: Mapping[str, tuple[str, ...]],
        owners: Mapping[str, str],
    ) -> None:
        self.processors = processors
        self.sources = sources
        self.owners = owners
        self.env: dict[Any, _Value] = {}
        self.tasks: list[tuple[Task, list[_Window]]] = []  # args are filled in at the end
        self.storages: list[_Storage] = []
        self.constants: list[Array] = []
        self._constant_ids: dict[int, _Window] = {}

    # -- values ---------------------------------------------------------------------------

    def evaluate(self, expr: Any) -> _Value:
        from tvm import relax
        from tvm.ir import GenericConst

        if isinstance(expr, relax.Var):
            return self.env[expr]
        if isinstance(expr, GenericConst):
            return self._constant(expr)
        if isinstance(expr, relax.Tuple):
            return tuple(self.evaluate(item) for item in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            value = self.evaluate(expr.tuple_value)
            assert isinstance(value, tuple)
            return value[int(expr.index)]
        raise CompileError(f"internal: cannot plan a {type(expr).__name__}: {expr}")

    def _constant(self, const: Any) -> _Window:
        tensor = const.value
        # An array may be read-only here: the constants of a model are never written to.
        key = int(tensor.__chandle__()) if hasattr(tensor, "__chandle__") else id(tensor)
        if key not in self._constant_ids:
            array = to_numpy(tensor)
            storage = _Storage("constant", len(self.constants), array.nbytes)
            self.constants.append(array)
            self._constant_ids[key] = _Window(array.shape, str(array.dtype), storage)
        return self._constant_ids[key]

    def windows(self, expr: Any) -> list[_Window]:
        def flatten(value: _Value) -> list[_Window]:
            if isinstance(value, _Window):
                return [value]
            return [window for item in value for window in flatten(item)]

        return flatten(self.evaluate(expr))

    # -- bindings -------------------------------------------------------------------------

    def bind(self, var: Any, value: Any) -> None:
        from tvm import relax
        from tvm.ir import Call

        if not isinstance(value, Call):
            self.env[var] = self.evaluate(value)
            return
        name = getattr(value.op, "name", "")
        if name == "relax.call_tir":
            self._task("host", value.args[0].name_hint, value, var)
        elif name == "relax.call_dps_packed":
            self._task("segment", str(value.args[0].global_symbol), value, var)
        elif name == "relax.reshape":
            source = self.evaluate(value.args[0])
            assert isinstance(source, _Window)
            shape, dtype = _static(var.ty)
            self.env[var] = _Window(shape, dtype, source.storage)
        else:
            assert isinstance(var, relax.Var)
            raise CompileError(f"internal: the host left op {name or value.op} for {var}")

    def _task(self, kind: Any, function: str, call: Any, var: Any) -> None:
        inputs = self.windows(call.args[1])
        if len(call.args) > 2:
            raise CompileError(f"internal: kernel {function} takes run-time scalars")
        outputs: list[_Window] = []
        number = len(self.tasks)

        def produce(ty: Any) -> _Value:
            if hasattr(ty, "fields"):
                return tuple(produce(item) for item in ty.fields)
            shape, dtype = _static(ty)
            storage = _Storage("arena", 0, _nbytes(shape, dtype), writer=number)
            self.storages.append(storage)
            outputs.append(_Window(shape, dtype, storage))
            return outputs[-1]

        self.env[var] = produce(var.ty)
        for window in inputs:
            window.storage.readers.append(number)
        processor = self.processors.get(function, "cpu")
        name = _name(var)
        source = self.sources.get(name, (name,))
        owner = self.owners.get(name, "")
        task = Task(kind, function, (), len(outputs), (), processor, source, owner)
        self.tasks.append((task, inputs + outputs))

    def copy(self, source: _Window, target: _Window) -> None:
        """Append a task that copies `source` to `target`, an output of the model."""
        number = len(self.tasks)
        source.storage.readers.append(number)
        target.storage.writer = number
        self.tasks.append((Task("copy", "copy", (), 1), [source, target]))


def _name(var: Any) -> str:
    return str(getattr(var, "name_hint", None) or getattr(var, "name", "") or "")


def _static(ty: Any) -> tuple[tuple[int, ...], str]:
    try:
        return tuple(int(dim) for dim in ty.shape), str(ty.dtype)
    except (TypeError, ValueError) as error:
        raise CompileError(f"internal: a static plan met the type {ty}") from error


def _dependencies(tasks: list[tuple[Task, list[_Window]]]) -> list[list[int]]:
    result: list[list[int]] = []
    for number, (task, windows) in enumerate(tasks):
        inputs = windows[: len(windows) - task.outputs]
        writers = {w.storage.writer for w in inputs} - {-1, number}
        result.append(sorted(writers))
    return result


def _assign_offsets(
    storages: list[_Storage], deps: list[list[int]], several_processors: bool
) -> int:
    """Give every arena storage its offset; return the arena's size in bytes."""
    arena = [storage for storage in storages if storage.place == "arena"]
    return _assign_by_order(arena, deps) if several_processors else _assign_in_line(arena)


def _assign_in_line(storages: list[_Storage]) -> int:
    """One queue: a storage is free after the last task that touches it."""
    arena = _Arena()
    ends: list[tuple[int, int]] = []  # (last task, index), a heap
    for index, storage in enumerate(storages):  # in the order of their writers
        while ends and ends[0][0] < storage.writer:
            dead = storages[heapq.heappop(ends)[1]]
            arena.give(dead.offset, round_up(dead.nbytes))
        storage.offset = arena.take(round_up(storage.nbytes))
        heapq.heappush(ends, (max(storage.writer, *storage.readers, -1), index))
    return arena.size


def _assign_by_order(storages: list[_Storage], deps: list[list[int]]) -> int:
    """Several queues: bytes pass to a task only from tasks it depends on. Quadratic, first fit."""
    ancestors: list[int] = []  # bit sets
    for before in deps:
        bits = 0
        for dep in before:
            bits |= ancestors[dep] | 1 << dep
        ancestors.append(bits)
    touched: list[int] = []  # bit sets
    size = 0
    for index, storage in enumerate(storages):
        mine = ancestors[storage.writer]
        taken = sorted(
            (other.offset, other.offset + round_up(other.nbytes))
            for other, bits in zip(storages[:index], touched, strict=True)
            if bits & ~mine
        )
        offset = 0
        for begin, end in taken:
            if begin - offset >= round_up(storage.nbytes):
                break
            offset = max(offset, end)
        storage.offset = offset
        size = max(size, offset + round_up(storage.nbytes))
        touched.append(sum(1 << task for task in {storage.writer, *storage.readers}))
    return size


def make_plan(
    main: relax.Function,
    inputs: Sequence[str],
    outputs: Sequence[str],
    processors: Mapping[str, str] | None = None,
    sources: Mapping[str, tuple[str, ...]] | None = None,
    owners: Mapping[str, str] | None = None,
) -> Planned:
    """Plan a lowered, static function: tasks in order, their dependencies, and one memory plan.

    Args:
        main: only kernel calls, segment calls, reshapes, tuples and aliases (`byoc.host.lower`).
        inputs: the model's input names, in order.
        outputs: its output names, in order.
        processors: segment name → its queue; host kernels run on "cpu".
        sources: variable name → names in the source model, where they differ.
        owners: variable name → segment, of kernels that a vendor gave.

    Returns:
        The plan and its constants.

    Raises:
        CompileError: something else is left in `main`.
    """
    walk = _Walk(processors or {}, sources or {}, owners or {})
    ports: list[tuple[str, _Window]] = []
    for number, (param, name) in enumerate(zip(main.params, inputs, strict=True)):
        shape, dtype = _static(param.ty)
        window = _Window(shape, dtype, _Storage("input", number, _nbytes(shape, dtype)))
        walk.env[param] = window
        ports.append((name, window))
    for block in main.body.blocks:
        for binding in block.bindings:
            walk.bind(binding.var, binding.value)

    results: list[tuple[str, _Window]] = []
    taken: set[int] = set()
    windows = walk.windows(main.body.body)
    for number, (window, name) in enumerate(zip(windows, outputs, strict=True)):
        storage = window.storage
        if storage.place == "arena" and id(storage) not in taken:
            storage.place, storage.index = "output", number  # written where the caller reads
            taken.add(id(storage))
        else:
            own = _Storage("output", number, storage.nbytes)
            target = _Window(window.shape, window.dtype, own)
            walk.copy(window, target)
            window = target
        results.append((name, window))

    deps = _dependencies(walk.tasks)
    used = {task.processor for task, _ in walk.tasks}
    arena_bytes = _assign_offsets(walk.storages, deps, len(used) > 1)
    return Planned(_freeze(walk, ports, results, deps, arena_bytes), tuple(walk.constants))


def _freeze(
    walk: _Walk,
    ports: list[tuple[str, _Window]],
    results: list[tuple[str, _Window]],
    deps: list[list[int]],
    arena_bytes: int,
) -> Plan:
    """Number the windows and write the plan down."""
    tensors: list[PlanTensor] = []
    numbers: dict[PlanTensor, int] = {}

    def number(window: _Window) -> int:
        s = window.storage
        tensor = PlanTensor(window.shape, window.dtype, s.place, s.index, s.offset)
        if tensor not in numbers:
            numbers[tensor] = len(tensors)
            tensors.append(tensor)
        return numbers[tensor]

    tasks = []
    for (task, windows), before in zip(walk.tasks, deps, strict=True):
        args = tuple(number(w) for w in windows)
        tasks.append(replace(task, args=args, deps=tuple(before)))
    return Plan(
        inputs=tuple(Port(name, number(w)) for name, w in ports),
        outputs=tuple(Port(name, number(w)) for name, w in results),
        tensors=tuple(tensors),
        tasks=tuple(tasks),
        arena_bytes=arena_bytes,
    )
