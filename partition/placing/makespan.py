"""The makespan: how long tasks take on processors that work at the same time.

In: tasks with seconds, a processor, and the tasks they wait for. Out: seconds until the last one
ends, by a list schedule::

    cpu  ██ a ██ c ████ d
    npu       ████ b ███         b waits for a, d waits for b and c

Each processor runs one task at a time; of those that are ready, the one whose longest path to
the end is longest goes first. With one processor the result is the sum.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from byoc.partition.snapshot.topological import topological_order

__all__ = ["TimedTask", "elapsed", "makespan"]


@dataclass(slots=True)
class TimedTask:
    """A segment or a host op, as the schedule sees it.

    Attributes:
        seconds: how long it takes.
        processor: where it runs.
        after: indices of the tasks it waits for.
    """

    seconds: float
    processor: str
    after: set[int] = field(default_factory=set)


def elapsed(tasks: Sequence[TimedTask]) -> float:
    """Seconds of all tasks: their sum on one processor, else the makespan."""
    if len({task.processor for task in tasks}) < 2:
        return sum([task.seconds for task in tasks])
    return makespan(tasks)


def makespan(tasks: Sequence[TimedTask]) -> float:
    """Seconds until the last task ends, by a list schedule with the longest path first."""
    count = len(tasks)
    succs: list[list[int]] = [[] for _ in range(count)]
    waiting = [len(task.after) for task in tasks]
    for k, task in enumerate(tasks):
        for before in task.after:
            succs[before].append(k)
    order = topological_order({k: task.after for k, task in enumerate(tasks)})
    assert len(order) == count, "tasks wait for each other; this is a bug in grouping"
    tail = [0.0] * count
    for k in reversed(order):
        tail[k] = tasks[k].seconds + max([tail[s] for s in succs[k]], default=0.0)
    ready: dict[str, list[tuple[float, int]]] = {}
    free: dict[str, float] = {}
    begin = [0.0] * count
    events: list[tuple[float, int]] = []
    for k in range(count):
        free.setdefault(tasks[k].processor, 0.0)
        if waiting[k] == 0:
            heapq.heappush(ready.setdefault(tasks[k].processor, []), (-tail[k], k))
    now, end = 0.0, 0.0
    busy: dict[str, bool] = dict.fromkeys(free, False)
    while True:
        for processor, queue in ready.items():
            if queue and not busy[processor]:
                _, k = heapq.heappop(queue)
                begin[k] = now
                busy[processor] = True
                heapq.heappush(events, (now + tasks[k].seconds, k))
        if not events:
            return end
        now, k = heapq.heappop(events)
        end = max(end, now)
        busy[tasks[k].processor] = False
        for succ in succs[k]:
            waiting[succ] -= 1
            if waiting[succ] == 0:
                home = tasks[succ].processor
                heapq.heappush(ready.setdefault(home, []), (-tail[succ], succ))
