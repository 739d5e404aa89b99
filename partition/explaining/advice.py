"""Warnings and advice: what looks wrong in a finished report, and what would make it faster.

Judged by predicted seconds: a segment's *gain* is what its ops would take on the host, less what
it takes itself and less its borders. Everything is one pass over segments and borders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from byoc.report.partition_report import PartitionReport
from byoc.report.records import SegmentRecord
from byoc.support.text import percent, seconds

__all__ = ["LOW_COVERAGE", "advise", "told_of_kept", "warn"]

LOW_COVERAGE = 0.5
"""Share of the work that vendors do below which a user is warned."""

_NOTEWORTHY = 0.005
"""Share of the predicted time below which a loss is not worth a word."""

_NAMED = 5
"""Ops of one kind that a warning names."""


def warn(report: PartitionReport) -> tuple[str, ...]:
    """Sentences on what looks wrong in a report: low coverage, segments that lose time."""
    found = []
    if report.vendors and report.ops:
        low = _low_coverage(report)
        if low:
            found.append(low)
    losing = _losing(report)
    if losing:
        worst, loss = losing[0]
        more = f", {len(losing) - 1} more lose too" if len(losing) > 1 else ""
        found.append(
            f"{worst.name} is predicted to take {seconds(loss)} longer, borders included, than its "
            f"{worst.ops} op{'s' * (worst.ops != 1)} on the host{more}"
        )
    return tuple(found)


def told_of_kept(kept: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    """Say which operators of the model's own framework run there, not in what byoc compiles.

    Args:
        kept: Operators, the name of the op that holds them, and its place.

    Returns:
        A sentence for each kind: how often, and where in the model the first stand.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for operators, name, place in kept:
        found.setdefault((operators, place), []).append(name)
    return tuple(
        f"{operators} {'run' if ', ' in operators else 'runs'} in {place}, "
        f"{len(names)} time{'s' * (len(names) != 1)}: {', '.join(names[:_NAMED])}"
        f"{', …' if len(names) > _NAMED else ''}"
        for (operators, place), names in found.items()
    )


def advise(report: PartitionReport) -> tuple[str, ...]:
    """Sentences on what to set: a threshold that removes the segments which lose time."""
    losing = _losing(report)
    if not losing:
        return ()
    gains = _gains(report)
    ranked = sorted(
        (
            (s.flops, gains[s.name])
            for s in report.segments
            if s.flops is not None and s.name in gains
        ),
        key=lambda pair: pair[0],
    )
    best, total, upto = 0.0, 0.0, 0
    for k, (flops, gain) in enumerate(ranked):
        total += gain
        last = k + 1 == len(ranked) or ranked[k + 1][0] > flops  # equal ones go together
        if last and total < best:
            best, upto = total, k + 1
    if upto:
        above = ranked[upto][0] if upto < len(ranked) else None
        limit = _round_limit(ranked[upto - 1][0], above)
        what = f"{upto} segment{'s' * (upto != 1)} that lose{'s' * (upto == 1)} {seconds(-best)}"
        return (f"min_segment_flops={limit} would remove {what}",)
    if report.placement == "order":
        lost = seconds(sum(loss for _, loss in losing))
        return (
            f'placement="model" weighs costs: {len(losing)} segment{"s" * (len(losing) != 1)} '
            f"of this placement lose{'s' * (len(losing) == 1)} {lost}",
        )
    return ()


def _low_coverage(report: PartitionReport) -> str | None:
    coverage = report.coverage
    share, unit = (coverage.ops, "ops") if coverage.flops is None else (coverage.flops, "FLOPs")
    if share >= LOW_COVERAGE or (coverage.flops == 0 and coverage.ops >= LOW_COVERAGE):
        return None
    text = f"only {percent(share)} of {unit} are offloaded"
    flops: Counter[str] = Counter()
    for op in report.host_ops:
        flops[op.op] += 1 + (op.flops or 0)
    if not flops:
        return text
    kind = flops.most_common(1)[0][0]
    ops = [op for op in report.host_ops if op.op == kind]
    refusal = next((r for op in ops for r in op.refusals), None)
    why = f" ({refusal})" if refusal else ""
    return f"{text}; most of the rest is {len(ops)} {kind}{why}"


def _gains(report: PartitionReport) -> dict[str, float]:
    """Segment → predicted seconds it saves; those whose costs are not known are left out."""
    gains = {
        s.name: s.on_host - s.predicted
        for s in report.segments
        if s.on_host is not None and s.predicted is not None
    }
    for border in report.borders:
        # Between two segments it is the reader's: alone, either would have one to the host.
        name = border.target if border.target in gains else border.source
        if name in gains and border.predicted is not None:
            gains[name] -= border.predicted
    return gains


def _losing(report: PartitionReport) -> list[tuple[SegmentRecord, float]]:
    """Segments that lose, the worst first, with their loss."""
    gains = _gains(report)
    shipped = next((p.predicted for p in report.plans if p.shipped and p.predicted), None)
    whole = shipped or sum(s.predicted or 0.0 for s in report.segments)
    losing = [(s, -gains[s.name]) for s in report.segments if gains.get(s.name, 0.0) < 0]
    if sum(loss for _, loss in losing) <= _NOTEWORTHY * whole:
        return []
    return sorted(losing, key=lambda pair: -pair[1])


def _round_limit(below: int, above: int | None) -> str:
    """A short number greater than `below` and not greater than `above`."""
    scale = 10 ** max(len(str(below)) - 2, 0)
    while True:
        value = (below // scale + 1) * scale
        if above is None or value <= above or scale == 1:
            return f"{value:g}" if float(f"{value:g}") == value else str(value)
        scale //= 10
