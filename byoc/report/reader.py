"""A report read back from the JSON that `byoc.report.render.json` wrote."""

from __future__ import annotations

import json

import pydantic

from byoc.errors import ArtifactError
from byoc.report.partition_report import PartitionReport
from byoc.report.render.json import SCHEMA
from byoc.support.validation import first_problem

__all__ = ["READ_VERSIONS", "report_from_json"]

READ_VERSIONS = (1, 2)
"""Schema versions that `report_from_json` reads; what an older one lacks is empty."""

_RECORDS = pydantic.TypeAdapter(PartitionReport)


def report_from_json(text: str) -> PartitionReport:
    """Read the report that `byoc.report.render.json.render_json` wrote.

    Args:
        text: The JSON.

    Examples:
        >>> report_from_json(exe.report.to_json()) == exe.report
        True

    Raises:
        ArtifactError: The text is no report, of a schema version that is not read, or damaged (the
            first wrong field is named).

    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ArtifactError(f"not a partition report: {error}") from error
    found = data.get("schema") if isinstance(data, dict) else type(data).__name__
    if found != SCHEMA:
        raise ArtifactError(f"not a partition report: expected schema {SCHEMA!r}, found {found!r}")
    if data.get("version") not in READ_VERSIONS:
        raise ArtifactError(
            f"partition report of schema version {data.get('version')}, this byoc reads "
            f"{' and '.join(map(str, READ_VERSIONS))}; make the report again with this version"
        )
    try:
        return _RECORDS.validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        problem = first_problem(error, "the report")
        raise ArtifactError(
            f"damaged partition report: {problem}; make the report again"
        ) from error
