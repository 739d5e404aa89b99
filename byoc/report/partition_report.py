"""The report as users hold it: the records of `ReportRecords` and what they can be shown as.

In: records. Out: text, JSON, rows and pages, each rendered by a module of `byoc.report.render`
that is imported when it is asked for.
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
    """What `partition_module` did: print it, or ask `table`, `to_json`, `to_html`, `why`."""

    def rows(self, kind: str = "ops") -> list[dict[str, Any]]:
        """Return the report as flat dicts: ``pandas.DataFrame(report.rows())``.

        Args:
            kind: "ops" for one dict per op; or "segments", "borders", "plans", "splits",
                "counterfactuals", "reasons".

        Raises:
            OptionError: There is no such kind.

        Examples:
            >>> [row["vendor"] for row in exe.report.rows("segments")]
            ['dnnl']
        """
        from byoc.report.render.rows import rows

        return rows(self, kind)

    def why(self, op: str) -> str:
        """Say why an op is where it is.

        Args:
            op: Its name, or "#12" for its index.

        Returns:
            Its place, each vendor's verdict, its segment, and the splits around it, in sentences.

        Raises:
            OptionError: No op is called so; the message has the nearest names.

        Examples:
            >>> "dnnl" in exe.report.why("#0")
            True
        """
        from byoc.report.render.why import why

        return why(self, op)

    def table(self, *, ops: bool = False, width: int | None = None) -> str:
        """Return the report for a terminal.

        Args:
            ops: Add one line per op.
            width: Columns; default 120.

        """
        from byoc.report.render.table import render_table

        return render_table(self, ops=ops, width=width)

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the report as JSON; docs/report.md has the schema, which is versioned.

        Args:
            indent: Spaces per level, None for one line.

        """
        from byoc.report.render.json import render_json

        return render_json(self, indent=indent)

    def to_html(self, path: str | PathLike[str], profile: RunTimes | None = None) -> None:
        """Write the report as one self-contained page, whole or not at all.

        Args:
            path: Where to.
            profile: Of a run of the model (`Executable.profile`): adds its timeline.

        Raises:
            ArtifactError: The file cannot be written.

        """
        from byoc.report.render.html import write_html

        write_html(self, path, profile)

    def __str__(self) -> str:
        return self.table()
