"""A profile as users hold it: the times of `RunTimes` as a table, JSON, a Chrome trace, a page.

In: times of tasks. Out: text and files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byoc.report.times import RunTimes, TaskTime
from byoc.support.files import write_text

if TYPE_CHECKING:
    from byoc.report.records import ReportRecords

__all__ = ["Profile"]


@dataclass(frozen=True, slots=True)
class Profile(RunTimes):
    """The times of one or several requests: print `table`, or `save` them."""

    def table(self, limit: int | None = None) -> str:
        """Return the tasks as text, in plan order; medians of requests.

        One line for the whole and one per processor come first.

        Args:
            limit: Only so many tasks, the longest first.

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
        path = self.critical_path()
        marked = {t.task for t in path}
        if path:
            lines.append(
                f"  critical path: {len(path)} tasks (*), {sum(t.duration for t in path) / 1e6:.3f}"
                f" ms of work"
            )
        head = ("task", "ms", "share", "wait ms", "border B", "queue", "vendor", "what")
        whole = sum(r[0] for r in rows) or 1
        body = [
            (
                f"{'*' if first.task in marked else ' '}{first.task}",
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
        return "\n".join(lines)

    def _medians(self) -> list[tuple[int, int, TaskTime]]:
        """(duration, waited, first occurrence) per task."""
        groups: dict[tuple[int, str], list[TaskTime]] = {}
        for task in self.tasks:  # one number can be two segments where there is control flow
            groups.setdefault((task.task, task.name), []).append(task)
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
        """Return all of it as one JSON object; times in ns."""
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

        Format: Trace Event Format. Tasks are complete events ("X"), requests asynchronous ones
        ("b", "e"), dependencies flows ("s", "f"), names metadata ("M"). Times in µs.
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
        events += self._flows(rows)
        return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})

    def _flows(self, rows: dict[str, int]) -> Iterator[dict[str, Any]]:
        """An arrow per dependency, from the last ns of one task to the first of the other."""
        found = {(t.request, t.task): t for t in self.tasks}
        number = 0
        for task in self.tasks:
            for dep in task.deps:
                before = found[task.request, dep]
                for phase, end, at in (
                    ("s", before, max(before.start, before.stop - 1)),
                    ("f", task, task.start),
                ):
                    event = {
                        "ph": phase, "cat": "dependency", "name": "dependency", "id": number,
                        "pid": 1, "tid": rows[end.processor], "ts": at / 1e3,
                    }  # fmt: skip
                    yield event if phase == "s" else {**event, "bp": "e"}
                number += 1

    def to_html(self, path: str | PathLike[str], report: ReportRecords | None = None) -> None:
        """Write a page with the timeline; it needs no network.

        Args:
            path: Where to.
            report: `Executable.report`, whose graph and tables are then on the page as well.

        Raises:
            ArtifactError: The file cannot be written.

        """
        from byoc.report.render.html import write_profile

        write_profile(self, path, report)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the profile in the form that the file's name asks for.

        Args:
            path: ``*.trace.json`` for a Chrome trace, ``*.json`` for JSON, ``*.html`` for a page;
                the table for any other name.

        Raises:
            ArtifactError: The file cannot be written.

        """
        path = Path(path)
        if path.suffix == ".html":
            self.to_html(path)
            return
        text = self.table()
        if path.name.endswith(".trace.json"):
            text = self.to_chrome()
        elif path.suffix == ".json":
            text = self.to_json()
        write_text(path, text + "\n", "the profile")


def _what(task: TaskTime) -> str:
    more = f" +{len(task.source) - 1}" if len(task.source) > 1 else ""
    return f"{task.name}  {task.source[0]}{more}" if task.source else task.name
