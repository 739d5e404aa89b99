"""The report as JSON. The schema is documented in docs/report.md; `SCHEMA_VERSION` counts it.

The records are the schema: pydantic writes and reads the dataclasses as they are, so a new field
needs no line here. What is computed from them (coverage, reasons) is written beside them for
readers in other languages, and left out when read.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pydantic

from byoc.report.records import ReportRecords

__all__ = ["SCHEMA", "SCHEMA_VERSION", "render_json", "to_dict"]

SCHEMA_VERSION = 2
"""Changes when a field is removed, renamed or changes meaning; new fields do not count."""

SCHEMA = "byoc.partition-report"
"""What names the schema in the text."""

_RECORDS = pydantic.TypeAdapter(ReportRecords)


def to_dict(report: ReportRecords) -> dict[str, Any]:
    """Return the report as plain dicts and lists; numbers that are not finite are None."""
    records = json.loads(_RECORDS.dump_json(report))
    coverage = report.coverage
    return {
        "schema": SCHEMA,
        "version": SCHEMA_VERSION,
        "coverage": {
            "flops": coverage.flops,
            "ops": coverage.ops,
            "by_vendor": dict(coverage.by_vendor),
        },
        "reasons": [{**asdict(reason), "ops": list(reason.ops)} for reason in report.reasons()],
        **records,
    }


def render_json(report: ReportRecords, *, indent: int | None = 2) -> str:
    """Return the report as JSON text.

    Args:
        report: The records of the report.
        indent: Spaces per level; None writes everything on one line.
    """
    return json.dumps(to_dict(report), indent=indent, ensure_ascii=False, allow_nan=False)
