"""Where the time of a run went: every task with its begin, end, queue, vendor, borders, waiting.

::

    cpu  │ t0 ██ t1 █████ ........... t4 ███ │      .. idle      a task *waits* when all it reads is
    npu  │ ......... t2 ████ t3 █████ ...... │                   there but its queue is busy

Times are those of the executor's own threads; see `Session.profile`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from .native import numpy_dtype
from .plan import Plan, PlanTensor
from .program import Program

__all__ = ["Profile", "TaskTime", "make_profile"]

_HEAD = 3  # of a trace: submitted, begin, end


@dataclass(frozen=True, slots=True)
class TaskTime:
    """One task of one request; times in ns since the first request was submitted.

    task: its number in the plan. kind: "host", "segment", "copy", or "vm" for a whole run of a VM.
    waited: ns between the moment all it reads was there and its start. border_bytes: read from
    tasks of another vendor or processor. nbytes: read and written. critical: on the critical path.
    """

    request: int
    task: int
    name: str
    kind: str
    vendor: str
    processor: str
    source: tuple[str, ...]
    start: int
    stop: int
    waited: int
    border_bytes: int
    nbytes: int
    critical: bool

    @property
    def duration(self) -> int:
        """In ns."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Profile:
    """The times of one or several requests.

    requests: (submitted, begin, end) of each, in ns since the first was submitted.
    """

    model: str
    requests: tuple[tuple[int, int, int], ...]
    tasks: tuple[TaskTime, ...]

    @property
    def seconds(self) -> float:
        """From the first submission to the last end."""
        return max(end for _, _, end in self.requests) / 1e9

    def busy(self) -> dict[str, float]:
        """Share of the time each processor worked, by name."""
        total: dict[str, int] = {}
        until: dict[str, int] = {}
        # A task that waits for another processor works off its queue meanwhile: times may overlap.
        for task in sorted(self.tasks, key=lambda t: t.start):
            name = task.processor
            start = max(task.start, until.get(name, 0))
            total[name] = total.get(name, 0) + max(0, task.stop - start)
            until[name] = max(task.stop, until.get(name, 0))
        whole = max(end for _, _, end in self.requests) or 1
        return {name: ns / whole for name, ns in sorted(total.items())}

    def table(self, limit: int | None = None) -> str:
        """The tasks as text, in plan order (`limit`: the longest ones only); medians of requests.

        One line for the whole and one per processor come first.
        """
        rows = self._medians()
        order = sorted(rows, key=lambda r: -r[0])[:limit] if limit else rows
        lines = [
            f"{self.model}: {len(self.requests)} request(s), {self.seconds * 1e3:.3f} ms, "
            f"{len(rows)} tasks"
        ]
        for name, share in self.busy().items():
            waited = sum(t.waited for t in self.tasks if t.processor == name)
            border = sum(t.border_bytes for t in self.tasks if t.processor == name)
            lines.append(
                f"  {name}: busy {share:.1%}, idle {max(0.0, 1 - share):.1%}, tasks waited "
                f"{waited / 1e6:.3f} ms, {border / len(self.requests):,.0f} bytes at borders"
            )
        head = ("task", "ms", "share", "wait ms", "border B", "queue", "vendor", "what")
        whole = sum(r[0] for r in rows) or 1
        body = [
            (
                f"{'*' if first.critical else ' '}{first.task}",
                f"{ns / 1e6:.4f}",
                f"{ns / whole:.1%}",
                f"{wait / 1e6:.4f}",
                f"{first.border_bytes:,}",
                first.processor,
                first.vendor or "host",
                _what(first),
            )
            for ns, wait, first in order
        ]
        widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
        for row in (head, *body):
            cells = [
                cell.ljust(width) if i >= 5 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        if any(t.critical for t in self.tasks):
            lines.append("* on the critical path of the first request")
        return "\n".join(lines)

    def _medians(self) -> list[tuple[int, int, TaskTime]]:
        """(duration, waited, first occurrence) per task."""
        groups: dict[int, list[TaskTime]] = {}
        for task in self.tasks:
            groups.setdefault(task.task, []).append(task)
        rows = []
        for _, group in sorted(groups.items()):
            middle = len(group) // 2
            rows.append(
                (
                    sorted(t.duration for t in group)[middle],
                    sorted(t.waited for t in group)[middle],
                    group[0],
                )
            )
        return rows

    def to_json(self) -> str:
        """All of it as one JSON object; times in ns."""
        return json.dumps(
            {
                "model": self.model,
                "seconds": self.seconds,
                "busy": self.busy(),
                "requests": [
                    dict(zip(("submitted", "begin", "end"), r, strict=True)) for r in self.requests
                ],
                "tasks": [asdict(task) for task in self.tasks],
            }
        )

    def to_chrome(self) -> str:
        """A trace for Perfetto (ui.perfetto.dev) or chrome://tracing: a track per processor.

        Format: Trace Event Format, complete ("X") and metadata ("M") events, times in µs.
        """
        names = sorted({task.processor for task in self.tasks})
        rows = {name: number + 1 for number, name in enumerate(names)}
        events: list[dict[str, Any]] = [
            {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": f"byoc {self.model}"}}
        ]
        events += [
            {"ph": "M", "pid": 1, "tid": row, "name": "thread_name", "args": {"name": name}}
            for name, row in rows.items()
        ]
        for number, (submitted, _, end) in enumerate(self.requests):
            for phase, at in (("b", submitted), ("e", end)):
                events.append(
                    {"ph": phase, "cat": "request", "id": number, "pid": 1, "tid": 0,
                     "name": f"request {number}", "ts": at / 1e3}
                )  # fmt: skip
        for task in self.tasks:
            events.append(
                {
                    "ph": "X",
                    "cat": task.vendor or task.kind,
                    "pid": 1,
                    "tid": rows[task.processor],
                    "name": task.name,
                    "ts": task.start / 1e3,
                    "dur": task.duration / 1e3,
                    "args": {
                        "request": task.request,
                        "task": task.task,
                        "vendor": task.vendor or "host",
                        "source": ", ".join(task.source),
                        "waited_us": task.waited / 1e3,
                        "border_bytes": task.border_bytes,
                        "bytes": task.nbytes,
                        "critical": task.critical,
                    },
                }
            )
        return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})

    def save(self, path: str | Path) -> None:
        """Write a Chrome trace to ``*.trace.json``, JSON to ``*.json``, else the table."""
        path = Path(path)
        text = self.table()
        if path.name.endswith(".trace.json"):
            text = self.to_chrome()
        elif path.suffix == ".json":
            text = self.to_json()
        path.write_text(text + "\n", encoding="utf-8")


def _what(task: TaskTime) -> str:
    more = f" +{len(task.source) - 1}" if len(task.source) > 1 else ""
    return f"{task.name}  {task.source[0]}{more}" if task.source else task.name


def make_profile(program: Program, traces: Sequence[Any]) -> Profile:
    """Profile from the executor's traces (see executor.h), one int64 array per request."""
    origin = min(int(trace[0]) for trace in traces)
    requests, tasks = [], []
    facts = _Facts(program)
    for number, trace in enumerate(traces):
        times = [int(t) - origin if t else 0 for t in trace]
        times[0] = int(trace[0]) - origin
        submitted, begin, end = times[:_HEAD]
        requests.append((submitted, begin, end))
        if not isinstance(program.body, Plan):
            tasks.append(
                TaskTime(number, 0, program.body.entry, "vm", "", "cpu", (), begin, end,
                         begin - submitted, 0, 0, False)
            )  # fmt: skip
            continue
        tasks += facts.tasks(number, times, critical=number == 0)
    return Profile(program.name, tuple(requests), tuple(tasks))


class _Facts:
    """What a plan tells about its tasks, worked out once."""

    def __init__(self, program: Program) -> None:
        self.plan = program.body
        self.vendors = {a.segment: a.vendor for a in program.artifacts}
        if isinstance(self.plan, Plan):
            self.bytes = [_nbytes(t) for t in self.plan.tensors]
            self.border = [self._border(i) for i in range(len(self.plan.tasks))]

    def vendor(self, task: int) -> str:
        assert isinstance(self.plan, Plan)
        found = self.plan.tasks[task]
        return self.vendors.get(found.function, "") if found.kind == "segment" else ""

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

    def tasks(self, request: int, times: list[int], critical: bool) -> list[TaskTime]:
        assert isinstance(self.plan, Plan)
        starts, stops = times[_HEAD::2], times[_HEAD + 1 :: 2]
        path = self._critical(stops) if critical else set()
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
                    task.processor,
                    task.source,
                    starts[number],
                    stops[number],
                    max(0, starts[number] - ready),
                    self.border[number],
                    sum(self.bytes[arg] for arg in task.args),
                    number in path,
                )
            )
        return result

    def _critical(self, stops: list[int]) -> set[int]:
        """Back from the last task to end: each time what ended last of all it had to wait for."""
        assert isinstance(self.plan, Plan)
        if not stops:
            return set()
        before: list[int | None] = []
        last: dict[str, int] = {}
        for number, task in enumerate(self.plan.tasks):
            before.append(last.get(task.processor))
            last[task.processor] = number
        path: set[int] = set()
        at: int | None = max(range(len(stops)), key=stops.__getitem__)
        while at is not None:
            path.add(at)
            previous = before[at]
            held_by = [*self.plan.tasks[at].deps, *([] if previous is None else [previous])]
            at = max(held_by, key=stops.__getitem__, default=None)
        return path


def _nbytes(tensor: PlanTensor) -> int:
    return prod(tensor.shape) * numpy_dtype(tensor.dtype).itemsize
