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

from byoc.errors import ArtifactError
from byoc.partition.report import PartitionReport

__all__ = ["READ_VERSIONS", "SCHEMA_VERSION", "render_json", "report_from_json", "to_dict"]

SCHEMA_VERSION = 2
"""Changes when a field is removed, renamed or changes meaning; new fields do not count."""

READ_VERSIONS = (1, 2)
"""Schema versions that `report_from_json` reads; what an older one lacks is empty."""

_SCHEMA = "byoc.partition-report"
_RECORDS = pydantic.TypeAdapter(PartitionReport)


def to_dict(report: PartitionReport) -> dict[str, Any]:
    """The report as plain dicts and lists. Numbers that are not finite are None, as in JSON."""
    records = json.loads(_RECORDS.dump_json(report))
    coverage = report.coverage
    return {
        "schema": _SCHEMA,
        "version": SCHEMA_VERSION,
        "coverage": {
            "flops": coverage.flops,
            "ops": coverage.ops,
            "by_vendor": dict(coverage.by_vendor),
        },
        "reasons": [{**asdict(reason), "ops": list(reason.ops)} for reason in report.reasons()],
        **records,
    }


def render_json(report: PartitionReport, *, indent: int | None = 2) -> str:
    """The report as JSON text."""
    return json.dumps(to_dict(report), indent=indent, ensure_ascii=False, allow_nan=False)


def report_from_json(text: str) -> PartitionReport:
    """The report that `render_json` wrote.

    Raises ArtifactError when the text is no report, of a schema version that is not read, or
    damaged (the first wrong field is named).
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ArtifactError(f"not a partition report: {error}") from error
    found = data.get("schema") if isinstance(data, dict) else type(data).__name__
    if found != _SCHEMA:
        raise ArtifactError(f"not a partition report: expected schema {_SCHEMA!r}, found {found!r}")
    if data.get("version") not in READ_VERSIONS:
        raise ArtifactError(
            f"partition report of schema version {data.get('version')}, this byoc reads "
            f"{' and '.join(map(str, READ_VERSIONS))}; make the report again with this version"
        )
    try:
        return _RECORDS.validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the report"
        raise ArtifactError(
            f"damaged partition report: {where}: {first['msg'].lower()}; make the report again"
        ) from error
