"""From the executor's traces to a `Profile`: names, borders, waiting, the critical path.

In: one int64 array of times per request, as runtime/src/plan/executor.h writes it. Out: a
`byoc.report.profile.Profile`, the value that users see. The critical path goes back from the last
end of all: see `byoc.report.profile` for the picture.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from byoc.report.profile import Profile
from byoc.report.times import TaskTime
from byoc.runtime.native import device_count
from byoc.runtime.plan import Plan, PlanTensor
from byoc.runtime.program import Program, VmProgram
from byoc.support.dtypes import numpy_dtype

__all__ = ["make_profile"]

_HEAD = 3  # of a trace: submitted, begin, end


def make_profile(program: Program, traces: Sequence[Any]) -> Profile:
    """Make a profile of traced requests.

    Args:
        program: The compiled model.
        traces: One int64 array per request: ns of submission, begin and end, then begin and end of
            every task, then the device of every task (of a VM: number, begin, end and bytes of
            every call of a segment).
    """
    origin = min(int(trace[0]) for trace in traces)
    requests: list[tuple[int, int, int]] = []
    tasks: list[TaskTime] = []
    facts = _Facts(program)
    for number, trace in enumerate(traces):
        times = [int(t) - origin if t else 0 for t in trace]
        times[0] = int(trace[0]) - origin
        submitted, begin, end = times[:_HEAD]
        requests.append((submitted, begin, end))
        if not isinstance(program.body, Plan):
            tasks += _vm_tasks(program, program.body, number, [int(t) for t in trace], origin)
            continue
        tasks += facts.tasks(number, times, [int(t) for t in trace])
    path = _critical(tasks, requests)
    marked = (replace(t, critical=True) if k in path else t for k, t in enumerate(tasks))
    return Profile(program.name, tuple(requests), tuple(marked))


def _vm_tasks(
    program: Program, body: VmProgram, request: int, trace: list[int], origin: int
) -> list[TaskTime]:
    """The run of a VM: what it does itself, and the segments that it calls, one after the other."""
    submitted, begin, end = trace[:_HEAD]
    tasks: list[TaskTime] = []

    def add(name: str, kind: str, vendor: str, start: int, stop: int, nbytes: int) -> None:
        k = len(tasks)
        waited = start - submitted if k == 0 else 0
        deps = (k - 1,) if k else ()
        tasks.append(
            TaskTime(request, k, name, kind, vendor, "cpu", (), start - origin, stop - origin,
                     waited, 0, nbytes, False, deps)
        )  # fmt: skip

    at = begin
    for k in range(_HEAD, len(trace), 4):
        number, start, stop, nbytes = trace[k : k + 4]
        artifact = program.artifacts[number]
        add(body.entry, "vm", "", at, start, 0)
        add(artifact.segment, "segment", artifact.vendor, start, stop, nbytes)
        at = stop
    add(body.entry, "vm", "", at, end, 0)
    return tasks


def _critical(tasks: Sequence[TaskTime], requests: Sequence[tuple[int, int, int]]) -> set[int]:
    """Indices of the tasks on the critical path (see above)."""
    if not tasks:
        return set()
    index = {(t.request, t.task): k for k, t in enumerate(tasks)}
    queues: dict[str, list[int]] = {}
    before: dict[int, int] = {}
    for k in sorted(range(len(tasks)), key=lambda k: (tasks[k].start, k)):
        queue = queues.setdefault(tasks[k].processor, [])
        if queue:
            before[k] = queue[-1]
        queue.append(k)
    last: dict[int, int] = {}  # the task of each request that ended last
    for k, task in enumerate(tasks):
        if task.request not in last or task.stop >= tasks[last[task.request]].stop:
            last[task.request] = k
    ends = sorted((end, number) for number, (_, _, end) in enumerate(requests) if number in last)

    def held_by(k: int) -> Iterator[int]:
        task = tasks[k]
        yield from (index[task.request, dep] for dep in task.deps)
        if k in before and tasks[before[k]].stop <= task.start:
            yield before[k]
        if not task.deps:
            submitted = requests[task.request][0]
            ended = bisect_right(ends, (submitted, len(requests)))
            if ended:
                yield last[ends[ended - 1][1]]

    path: set[int] = set()
    at: int | None = max(range(len(tasks)), key=lambda k: tasks[k].stop)
    while at is not None and at not in path:
        path.add(at)
        at = max(held_by(at), key=lambda k: tasks[k].stop, default=None)
    return path


class _Facts:
    """What a plan tells about its tasks, worked out once."""

    def __init__(self, program: Program) -> None:
        self.plan = program.body
        self.vendors = {a.segment: a.vendor for a in program.artifacts}
        if isinstance(self.plan, Plan):
            self.bytes = [_nbytes(t) for t in self.plan.tensors]
            self.border = [self._border(i) for i in range(len(self.plan.tasks))]

    @staticmethod
    def _device(processor: str, index: int) -> str:
        """The name of one of the devices behind a processor."""
        return f"{processor}:{index}" if device_count(processor) > 1 else processor

    def vendor(self, task: int) -> str:
        assert isinstance(self.plan, Plan)
        found = self.plan.tasks[task]
        return self.vendors.get(found.function if found.kind == "segment" else found.segment, "")

    def _border(self, number: int) -> int:
        """Bytes that task `number` reads of tasks elsewhere."""
        assert isinstance(self.plan, Plan)
        tasks, tensors = self.plan.tasks, self.plan.tensors
        task = tasks[number]
        total = 0
        for arg in task.args[: len(task.args) - task.outputs]:
            for dep in task.deps:
                other = tasks[dep]
                if (self.vendor(dep), other.processor) == (self.vendor(number), task.processor):
                    continue
                written = other.args[len(other.args) - other.outputs :]
                if any(self._overlap(tensors, arg, w) for w in written):
                    total += self.bytes[arg]
                    break
        return total

    def _overlap(self, tensors: Sequence[PlanTensor], a: int, b: int) -> bool:
        x, y = tensors[a], tensors[b]
        return (
            (x.place, x.index) == (y.place, y.index)
            and x.offset < y.offset + self.bytes[b]
            and y.offset < x.offset + self.bytes[a]
        )

    def tasks(self, request: int, times: list[int], numbers: list[int]) -> list[TaskTime]:
        """The tasks of one request; `times` from the first submission on, `numbers` as traced."""
        assert isinstance(self.plan, Plan)
        count = len(self.plan.tasks)
        ends, devices = times[_HEAD : _HEAD + 2 * count], numbers[_HEAD + 2 * count :]
        starts, stops = ends[::2], ends[1::2]
        result = []
        for number, task in enumerate(self.plan.tasks):
            ready = max([times[1], *(stops[dep] for dep in task.deps)])
            name = task.function if task.kind != "copy" else "copy"
            result.append(
                TaskTime(
                    request,
                    number,
                    name,
                    task.kind,
                    self.vendor(number),
                    self._device(task.processor, devices[number]),
                    task.source,
                    starts[number],
                    stops[number],
                    max(0, starts[number] - ready),
                    self.border[number],
                    sum(self.bytes[arg] for arg in task.args),
                    False,
                    tuple(sorted(set(task.deps))),
                )
            )
        return result


def _nbytes(tensor: PlanTensor) -> int:
    return prod(tensor.shape) * numpy_dtype(tensor.dtype).itemsize
