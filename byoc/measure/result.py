"""Predicted against measured, into the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from byoc.measure.cost_model import FittedCosts
from byoc.report.partition_report import PartitionReport
from byoc.report.records import HOST, PlanRecord
from byoc.segment import Segment
from byoc.timing.store import Timed

__all__ = ["finished_report"]


def finished_report(
    report: PartitionReport,
    segments: Sequence[Segment],
    costs: FittedCosts,
    plans: Sequence[tuple[str, float, Timed | None, int, bool]],
    notes: Sequence[str],
) -> PartitionReport:
    """Put measured seconds into the report of the shipped plan.

    Args:
        report: of partitioning the plan that is shipped.
        segments: of that plan.
        costs: what was measured.
        plans: name, predicted seconds, measured time, number of segments and whether it is shipped,
            of every plan that was considered.
        notes: what was said on the way; they become warnings.

    Returns:
        The report that users see, its plans from the fastest to the slowest.
    """
    timed = {s.name: t for s in segments if (t := costs.timer.known(s)) is not None}
    records = tuple(
        replace(record, measured=timed[record.name].seconds)
        if record.name in timed and isfinite(timed[record.name].seconds)
        else record
        for record in report.segments
    )
    places = {record.name: record.vendor for record in report.segments}
    borders = tuple(
        replace(
            border,
            measured=costs.crossing(
                places.get(border.source, HOST), places.get(border.target, HOST), border.bytes
            ),
        )
        for border in report.borders
    )
    table = tuple(
        PlanRecord(
            name=name,
            predicted=predicted if isfinite(predicted) else None,
            measured=None if t is None else t.seconds,
            noise=None if t is None else t.noise,
            segments=count,
            shipped=shipped,
        )
        for name, predicted, t, count, shipped in sorted(
            plans, key=lambda plan: (plan[2] is None, plan[2].seconds if plan[2] else plan[1])
        )
    )
    return replace(
        report,
        placement="measured",
        segments=records,
        borders=borders,
        plans=table,
        warnings=(*report.warnings, *notes),
    )
