"""The report as flat rows, for data frames and spreadsheets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from byoc.errors import OptionError, choices
from byoc.report.records import OpRecord, ReportRecords

__all__ = ["KINDS", "rows"]

Row = dict[str, Any]


def rows(report: ReportRecords, kind: str = "ops") -> list[Row]:
    """Return one dict per record: equal keys in all, every value a scalar or None.

    Args:
        report: The report.
        kind: Which records, see `PartitionReport.rows`.

    """
    make = KINDS.get(kind)
    if make is None:
        raise OptionError(f"the report has no rows of {kind!r}; {choices(kind, KINDS)}")
    return make(report)


def _ops(report: ReportRecords) -> list[Row]:
    return [_op(op, report.vendors) for op in report.ops]


def _op(op: OpRecord, vendors: tuple[str, ...]) -> Row:
    row = _flat(op, without=("refusals", "verdicts", "inputs"))
    row["inputs"] = " ".join(map(str, op.inputs))
    verdicts = {v.vendor: (v.kind, v.reason) for v in op.verdicts}
    refused = {r.vendor: ("refused", r.reason) for r in op.refusals}
    for vendor in vendors:
        taken = ("taken", "") if vendor == op.place else (None, None)
        known = verdicts.get(vendor) or refused.get(vendor) or taken
        row[f"verdict.{vendor}"], row[f"reason.{vendor}"] = known
    return row


def _splits(report: ReportRecords) -> list[Row]:
    found = []
    for split in report.splits:
        row = _flat(split, without=("path",))
        row["path"] = " → ".join(f"{op} ({name}, {place})" for op, name, place in split.path)
        found.append(row)
    return found


def _reasons(report: ReportRecords) -> list[Row]:
    return [{**_flat(r, without=("ops",)), "ops": ", ".join(r.ops)} for r in report.reasons()]


def _of(name: str) -> Callable[[ReportRecords], list[Row]]:
    return lambda report: [_flat(record) for record in getattr(report, name)]


def _flat(record: Any, without: tuple[str, ...] = ()) -> Row:
    return {f.name: getattr(record, f.name) for f in fields(record) if f.name not in without}


KINDS: dict[str, Callable[[ReportRecords], list[Row]]] = {
    "ops": _ops,
    "segments": _of("segments"),
    "borders": _of("borders"),
    "plans": _of("plans"),
    "splits": _splits,
    "counterfactuals": _of("counterfactuals"),
    "reasons": _reasons,
}
"""What there are rows of."""
