"""Where the time of a run went: every task with its begin, end, queue, vendor, borders, waiting.

::

    cpu  │ t0 ██ t1 █████ ........... t4 ███ │      .. idle      a task *waits* when all it reads is
    npu  │ ......... t2 ████ t3 █████ ...... │                   there but its queue is busy

The critical path goes back from the last end of all: from each task to what ended last of all that
it had to wait for, be it a task it reads, the task before it on its queue (of another request,
perhaps), or, for a task that reads only inputs, the request whose end let this one begin. Here:
t4, t3, t2, t1, t0. What is not on it could take longer without being noticed.

Times are those of the executor's own threads; see `Session.profile`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RunTimes", "TaskTime"]


@dataclass(frozen=True, slots=True)
class TaskTime:
    """One task of one request; times in ns since the first request was submitted.

    task: its number in the plan, or in the order of a VM's run, where borders are not known.
    kind: "host", "segment", "copy", or "vm" for what a VM does before, between, after segments.
    waited: ns between the moment all it reads was there and its start. border_bytes: read from
    tasks of another vendor or processor. nbytes: read and written. critical: on the critical path.
    deps: the tasks of the same request it reads from or must not overtake.
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
    deps: tuple[int, ...] = ()

    @property
    def duration(self) -> int:
        """How long the task ran, in ns."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class RunTimes:
    """The times of one or several requests; `Profile` is this and what it can be shown as.

    requests: (submitted, begin, end) of each, in ns since the first was submitted.
    """

    model: str
    requests: tuple[tuple[int, int, int], ...]
    tasks: tuple[TaskTime, ...]

    @property
    def seconds(self) -> float:
        """Seconds from the first submission to the last end."""
        return max(end for _, _, end in self.requests) / 1e9

    def busy(self) -> dict[str, float]:
        """Return the share of the time that each processor worked, by name."""
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

    def critical_path(self) -> tuple[TaskTime, ...]:
        """Return the tasks that held up the last end, in the order they ran."""
        return tuple(sorted((t for t in self.tasks if t.critical), key=lambda t: (t.start, t.task)))
