"""The report as JSON. The schema is documented in docs/report.md; `SCHEMA_VERSION` counts it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from byoc.errors import ArtifactError
from byoc.partition.report import OpRecord, PartitionReport, Refusal, SegmentRecord

__all__ = ["SCHEMA_VERSION", "render_json", "report_from_json", "to_dict"]

SCHEMA_VERSION = 1
"""Changes when a field is removed, renamed or changes meaning; new fields do not count."""


def to_dict(report: PartitionReport) -> dict[str, Any]:
    """The report as plain dicts and lists."""
    coverage = report.coverage
    return {
        "schema": "byoc.partition-report",
        "version": SCHEMA_VERSION,
        "vendors": list(report.vendors),
        "coverage": {
            "flops": coverage.flops,
            "ops": coverage.ops,
            "by_vendor": dict(coverage.by_vendor),
        },
        "segments": [asdict(segment) for segment in report.segments],
        "reasons": [asdict(reason) for reason in report.reasons()],
        "ops": [asdict(op) for op in report.ops],
    }


def render_json(report: PartitionReport, *, indent: int | None = 2) -> str:
    """The report as JSON text."""
    return json.dumps(to_dict(report), indent=indent, ensure_ascii=False)


def report_from_json(text: str) -> PartitionReport:
    """The report that `render_json` wrote.

    Raises ArtifactError when the text is no report, or of another schema version.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ArtifactError(f"not a partition report: {error}") from error
    found = data.get("schema") if isinstance(data, dict) else type(data).__name__
    if found != "byoc.partition-report":
        raise ArtifactError(
            f"not a partition report: expected schema 'byoc.partition-report', found {found!r}"
        )
    if data.get("version") != SCHEMA_VERSION:
        raise ArtifactError(
            f"partition report of schema version {data.get('version')}, this byoc reads "
            f"{SCHEMA_VERSION}; make the report again with this version"
        )
    try:
        return PartitionReport(
            vendors=tuple(data["vendors"]),
            ops=tuple(
                OpRecord(**{**op, "refusals": tuple(Refusal(**r) for r in op["refusals"])})
                for op in data["ops"]
            ),
            segments=tuple(SegmentRecord(**segment) for segment in data["segments"]),
        )
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"damaged partition report: {error}") from error
