"""A profile as the page embeds it.

What does not change from request to request (a task's name, place, bytes, dependencies) is there
once; of every request only the times are, in ns::

    tasks     task 0, task 1, …       packed records
    requests  {submitted, begin, end, start: [t0, t1, …], length: […], waited: […]}
    critical  [[request, position in tasks], …] in the order they ran
"""

from __future__ import annotations

from typing import Any

from byoc.report.render.pack import pack
from byoc.report.times import RunTimes, TaskTime

__all__ = ["timeline_data"]


def timeline_data(profile: RunTimes) -> dict[str, Any]:
    """Return a profile as JSON values, packed in columns where it is long."""
    kinds: dict[tuple[object, ...], int] = {}  # equal in all that is not time
    firsts: list[TaskTime] = []
    requests: list[dict[str, Any]] = [
        {
            "submitted": submitted, "begin": begin, "end": end,
            "which": [], "start": [], "length": [], "waited": [],
        }
        for submitted, begin, end in profile.requests
    ]  # fmt: skip
    critical = []
    for t in profile.tasks:
        key = (t.task, t.name, t.processor, t.vendor)
        which = kinds.setdefault(key, len(kinds))
        if which == len(firsts):
            firsts.append(t)
        times = requests[t.request]
        if t.critical:
            critical.append((t.start, t.task, [t.request, len(times["which"])]))
        times["which"].append(which)
        times["start"].append(t.start)
        times["length"].append(t.duration)
        times["waited"].append(t.waited)
    for times in requests:
        if times["which"] == list(range(len(firsts))):
            times["which"] = None  # all of them, in order
    busy = profile.busy()
    return {
        "model": profile.model,
        "end": max((end for _, _, end in profile.requests), default=0),
        "processors": [
            {
                "name": name,
                "busy": busy[name],
                "waited": sum(t.waited for t in profile.tasks if t.processor == name),
                "border_bytes": sum(t.border_bytes for t in profile.tasks if t.processor == name),
            }
            for name in sorted(busy, key=lambda name: (name != "cpu", name))
        ],
        "tasks": pack(
            [
                {
                    "task": t.task, "name": t.name, "kind": t.kind, "vendor": t.vendor,
                    "processor": t.processor, "source": list(t.source), "deps": list(t.deps),
                    "border_bytes": t.border_bytes, "nbytes": t.nbytes,
                }
                for t in firsts
            ]
        ),
        "requests": requests,
        "critical": [place for _, _, place in sorted(critical)],
    }  # fmt: skip
