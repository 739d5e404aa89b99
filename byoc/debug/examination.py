"""One vendor's segments of one model: tried, searched, timed, and told of.

In: a partitioned model with the host's values, and a vendor. Out: a row for every piece that was
tried, and the culprits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from byoc.debug.diagnosis import KINDS, Culprit, Evidence, Op, Row
from byoc.debug.gap import gap_of, tolerance_of
from byoc.debug.opinion import outputs_of, values_of
from byoc.debug.search import OpFault, Search, Tried
from byoc.debug.slowness import expected_seconds, is_slow
from byoc.debug.trials import Trials
from byoc.segment import Array, Segment

if TYPE_CHECKING:
    from byoc.debug.reference import HostValues, Reference
    from byoc.partition import PartitionResult
    from byoc.plugins.discovery import Requested

__all__ = ["Examination"]

_AGAIN = 8  # calls of what seems slow


class Examination:
    """What one vendor does with its segments.

    Args:
        parts: the partitioned model.
        reference: the same, as the host computed it.
        request: the vendor.
        ops: look into segments that are fine, too.
        limit: seconds a call may take.
        tolerance: relative gap that is no fault; None: what rounding explains.
        slow: how many times as long as expected is slow.
        second_opinion: ask ONNX Runtime, too.

    Attributes:
        segments: a row for each of the vendor's segments.
        ops: rows of what was tried inside.
        culprits: what is at fault, in the order of the model.
        remarks: what else there is to say.
    """

    def __init__(
        self,
        parts: PartitionResult,
        reference: Reference,
        request: Requested,
        *,
        ops: bool,
        limit: float,
        tolerance: float | None,
        slow: float,
        second_opinion: bool,
    ) -> None:
        self._request, self._slow, self._opinion = request, slow, second_opinion
        self.segments: list[Row] = []
        self.ops: list[Row] = []
        self.culprits: list[Culprit] = []
        self.remarks: list[str] = []
        searches: list[tuple[Search, HostValues]] = []
        with closing(Trials(request, limit)) as trials:
            for segment in parts.segments:
                if segment.vendor != request.vendor.name:
                    continue
                values = reference.segments.get(segment.name)
                if values is None:
                    self.remarks.append(
                        f"segment {segment.name!r} was not tried: these inputs do not reach it"
                    )
                    continue
                search = Search(
                    segment,
                    reference.functions[segment.name],
                    request.vendor,
                    values,
                    trials,
                    tolerance,
                )
                faults = search.faults(ops=ops)
                self.culprits += [self._culprit(search, values, fault) for fault in faults]
                self.remarks += search.remarks
                searches.append((search, values))
            slow_ones = self._slow_ones(searches)
        for search, values in searches:
            self._tell(search, values, slow_ones)

    # -- numbers -----------------------------------------------------------------------------------

    def _culprit(self, search: Search, values: HostValues, fault: OpFault) -> Culprit:
        tried, segment = fault.tried, search.segment
        kind = tried.found
        assert kind != ""
        inputs, expected = search.evidence(tried.piece)
        ops = _ops(segment, fault.nodes)
        message = tried.outcome.message
        if tried.gap is not None:
            message = KINDS[kind]
            if kind == "wrong":
                message += (
                    f": a gap of {tried.gap.relative:.2g} of the largest value, "
                    f"{tried.tolerance:.2g} is allowed"
                )
            message += self._who_is_right(tried, inputs, expected)
        if len(tried.piece.nodes) > len(fault.nodes):
            message += f"; shown with {len(tried.piece.nodes)} ops, as the vendor takes them"
        if not fault.alone:
            message += "; each of them alone is fine"
        elif not search.whole.found:
            message += "; the segment's own outputs do not show it with these inputs"
        return Culprit(
            kind=kind,
            vendor=segment.vendor,
            segment=segment.name,
            ops=ops,
            step=tried.outcome.step,
            message=message,
            gap=None if tried.gap is None else tried.gap.relative,
            tolerance=tried.tolerance,
            seconds=tried.outcome.seconds,
            host_seconds=_sum(values, tried.piece.nodes),
            evidence=Evidence(tried.piece.segment, inputs, expected),
        )

    def _who_is_right(
        self, tried: Tried, inputs: Sequence[Array], expected: Sequence[Array]
    ) -> str:
        """What ONNX Runtime says about results that differ."""
        found = outputs_of(tried.piece.segment, inputs) if self._opinion else None
        if found is None:
            return ""
        rounding = tolerance_of(tried.piece.segment)
        allowed = max(rounding, tried.tolerance)
        of_host = gap_of(expected, found, inputs, rounded=rounding > 0).relative
        of_vendor = gap_of(tried.outcome.outputs, found, inputs, rounded=rounding > 0).relative
        if max(of_host, of_vendor) <= allowed:
            return "; ONNX Runtime is as near to either as rounding lets expect"
        if of_host <= allowed:
            return "; ONNX Runtime agrees with the host"
        if of_vendor <= allowed:
            return "; ONNX Runtime agrees with the vendor: byoc's host is at fault, report it"
        return "; ONNX Runtime agrees with neither"

    # -- seconds -----------------------------------------------------------------------------------

    def _slow_ones(self, searches: Sequence[tuple[Search, HostValues]]) -> set[tuple[str, int]]:
        """Segment and unit of what is slow; each is measured again before it is named."""
        places: list[tuple[Search, HostValues, int]] = []
        seconds: list[float] = []
        host: list[float] = []
        for search, values in searches:
            for unit, tried in search.singles.items():
                known = _sum(values, search.units[unit])
                if known is None or tried.outcome.seconds is None:
                    continue
                places.append((search, values, unit))
                seconds.append(tried.outcome.seconds)
                host.append(known)
        found: set[tuple[str, int]] = set()
        for number, (search, values, unit) in enumerate(places):
            expected = expected_seconds(number, seconds, host)
            if not is_slow(seconds[number], expected, self._slow):
                continue
            again = search.tried(search.singles[unit].piece, calls=_AGAIN)
            seconds[number] = min(seconds[number], again.outcome.seconds or seconds[number])
            if not _matters(seconds[number], search.whole.outcome.seconds):
                continue
            if not is_slow(seconds[number], expected, self._slow):
                continue
            found.add((search.segment.name, unit))
            self.culprits.append(
                self._slow_culprit(search, values, unit, seconds[number], expected)
            )
        return found

    def _slow_culprit(
        self, search: Search, values: HostValues, unit: int, seconds: float, expected: float
    ) -> Culprit:
        tried, segment = search.singles[unit], search.segment
        inputs, outputs = search.evidence(tried.piece)
        nodes = search.slow_part(unit, seconds)
        return Culprit(
            kind="slow",
            vendor=segment.vendor,
            segment=segment.name,
            ops=_ops(segment, nodes),
            step="run",
            message=(
                f"{seconds * 1e3:.3g} ms; its other ops let expect {expected * 1e3:.3g} ms, the "
                f"host takes {(_sum(values, search.units[unit]) or 0.0) * 1e3:.3g} ms"
            ),
            gap=None if tried.gap is None else tried.gap.relative,
            tolerance=tried.tolerance,
            seconds=seconds,
            host_seconds=_sum(values, search.units[unit]),
            evidence=Evidence(tried.piece.segment, inputs, outputs),
        )

    # -- telling -----------------------------------------------------------------------------------

    def _tell(self, search: Search, values: HostValues, slow_ones: set[tuple[str, int]]) -> None:
        segment = search.segment
        other = values_of(segment, values.values) if self._opinion else {}
        everything = tuple(range(len(segment.nodes)))
        self.segments.append(_row(segment, everything, search.whole, "", values, other, False))
        for unit, tried in search.singles.items():
            patterns = [c.pattern for c in segment.composites if search.units[unit][0] in c.nodes]
            self.ops.append(
                _row(
                    segment,
                    search.units[unit],
                    tried,
                    patterns[0] if patterns else "",
                    values,
                    other,
                    (segment.name, unit) in slow_ones,
                )
            )


def _row(
    segment: Segment,
    nodes: Sequence[int],
    tried: Tried,
    pattern: str,
    values: HostValues,
    other: Mapping[int, Array],
    slow: bool,
) -> Row:
    against = None
    if other:
        against = gap_of(
            [values.values[v] for v in tried.piece.outputs],
            [other[v] for v in tried.piece.outputs],
            [values.values[v] for v in tried.piece.inputs],
            rounded=tolerance_of(segment) > 0,
        ).relative
    return Row(
        segment=segment.name,
        vendor=segment.vendor,
        ops=_ops(segment, nodes),
        pattern=pattern,
        found=tried.found or ("slow" if slow else ""),
        gap=None if tried.gap is None else tried.gap.relative,
        tolerance=tried.tolerance,
        against=against,
        seconds=tried.outcome.seconds,
        host_seconds=_sum(values, nodes),
        note=tried.note or tried.outcome.message,
    )


def _matters(seconds: float, whole: float | None) -> bool:
    """Whether an op takes a good part of its segment's time, and the segment shows it."""
    return whole is not None and whole / 4 <= seconds <= whole * 2


def _ops(segment: Segment, nodes: Sequence[int]) -> tuple[Op, ...]:
    return tuple(
        Op(" + ".join(segment.nodes[n].source) or f"node {n}", segment.nodes[n].op) for n in nodes
    )


def _sum(values: HostValues, nodes: Sequence[int]) -> float | None:
    return sum(values.seconds[n] for n in nodes) if values.seconds else None
