"""The report as users hold it: the records of `ReportRecords` and what they can be shown as.

Renderings are imported when asked for: a report is made far more often than it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

from byoc.report.records import ReportRecords
from byoc.report.times import RunTimes

__all__ = ["PartitionReport"]


@dataclass(frozen=True, slots=True)
class PartitionReport(ReportRecords):
    """What `partition_module` did. Print it, or ask `table`, `to_json`, `to_html`."""

    def rows(self, kind: str = "ops") -> list[dict[str, Any]]:
        """One flat dict per op, or per entry of "segments", "borders", "plans", "splits",
        "counterfactuals" or "reasons": ``pandas.DataFrame(report.rows())``.

        Raises OptionError for another kind.
        """
        from byoc.report.render.rows import rows

        return rows(self, kind)

    def why(self, op: str) -> str:
        """Why an op is where it is: its place, each vendor's verdict, its segment, the splits
        around it. op: its name, or "#12" for its index.

        Raises OptionError when no op is called so; the message has the nearest names.
        """
        from byoc.report.render.why import why

        return why(self, op)

    def table(self, *, ops: bool = False, width: int | None = None) -> str:
        """The report for a terminal; `ops` adds one line per op."""
        from byoc.report.render.table import render_table

        return render_table(self, ops=ops, width=width)

    def to_json(self, *, indent: int | None = 2) -> str:
        """The report as JSON; the schema is versioned and documented in docs/report.md."""
        from byoc.report.render.json import render_json

        return render_json(self, indent=indent)

    def to_html(self, path: str | PathLike[str], profile: RunTimes | None = None) -> None:
        """Write the report as one self-contained page.

        profile: (optional) of a run of the model, `Executable.profile`: adds its timeline.
        Raises ArtifactError when the file cannot be written; no half-written file is left.
        """
        from byoc.report.render.html import write_html

        write_html(self, path, profile)

    def __str__(self) -> str:
        return self.table()
