"""Measured seconds in the form the search asks for them (`byoc.partition.placing.Measured`).

A search predicts composites; what can be built and timed are segments. So each distinct composite
is timed as a segment of its own, T, and the segments of whole plans too, S. What the lone ones
pay and a whole segment pays once tells the cost of a call and of a border, per vendor::

    ΣT - S  =  launch · (n - 1)  +  seconds per byte · (Σ own borders - the segment's border)

Least squares over all segments that were timed give both, and a composite inside a segment is
then T less one call and its own border. Segments that were timed as they are keep their figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from statistics import median

import numpy as np

from byoc.measure.extract import segment_of_match
from byoc.measure.kernels import HostOp
from byoc.measure.segment_timing import SegmentTimer
from byoc.partition.placing import Costs
from byoc.partition.snapshot.flops import op_work, type_bytes
from byoc.plugins.discovery import Requested
from byoc.report.records import HOST
from byoc.segment import Array, Composite, Node, Segment, TensorType
from byoc.timing.keys import match_content
from byoc.vendor import Match, Rates

__all__ = ["FittedCosts"]

_Piece = tuple[str, str, str]
"""Vendor, pattern, content."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A composite of a segment, as a match."""

    segment: Segment
    composite: Composite

    @property
    def pattern(self) -> str:
        return self.composite.pattern

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple([self.segment.nodes[k] for k in self.composite.nodes])

    @property
    def parts(self) -> Mapping[str, int]:
        return self.composite.parts

    def _value(self, part: str | int) -> int:
        return part if isinstance(part, int) else self.composite.parts[part]

    def node(self, part: str) -> Node:
        value = self._value(part)
        return next(n for n in self.segment.nodes if value in n.outputs)

    def has(self, part: str) -> bool:
        return part in self.composite.parts

    def type(self, part: str | int) -> TensorType:
        return self.segment.type(self._value(part))

    def constant(self, part: str | int) -> Array | None:
        return self.segment.constants.get(self._value(part))


@dataclass
class FittedCosts:
    """A cost model fitted to what was timed so far; it grows while the search asks and is measured.

    Attributes:
        timer: builds and times segments.
        requests: the vendors that were asked for.
        wanted: composites that a search has asked for, as segments of their own.
        host_ops: source name → op of the host.
        host: content of an op → its seconds on the host.
    """

    timer: SegmentTimer
    requests: Sequence[Requested]
    wanted: dict[_Piece, Segment] = field(default_factory=dict)
    host_ops: dict[str, HostOp] = field(default_factory=dict)
    host: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rates: dict[str, Rates] = {}
        self._pieces: dict[_Piece, float] = {}
        self._segments: dict[tuple[str, str], float] = {}
        self._asked: dict[_Piece, int] = {}
        self._processors = {r.vendor.name: r.vendor.processor for r in self.requests}
        self.fitted: set[str] = set()

    # -- what the search asks ----------------------------------------------------------------------

    def piece(self, place: str, match: Match) -> float | None:
        """Seconds of one composite inside a segment (`byoc.partition.placing.Measured`).

        Args:
            place: a vendor's name, or the host.
            match: the composite; one that is asked for the first time is noted in `wanted`.

        Returns:
            Seconds; None: not known yet.
        """
        content = match_content(match)
        if place == HOST:
            (node,) = match.nodes
            found = HostOp(content, _work(match))
            for name in node.source:
                self.host_ops[name] = found
            return self.host.get(content)
        key = (place, match.pattern, content)
        self._asked[key] = self._asked.get(key, 0) + 1
        if key not in self.wanted:
            parts: Mapping[str, int] = getattr(match, "parts", {})
            name = f"{place}_piece"
            self.wanted[key] = segment_of_match(match, place, name, parts)
        return self._pieces.get(key)

    def segment(self, place: str, match: Match) -> float | None:
        """Seconds of a whole segment (`byoc.partition.placing.Measured`).

        Args:
            place: a vendor's name.
            match: all ops of the segment.

        Returns:
            Seconds without its border; None: no such segment was timed.
        """
        if not self._segments:
            return None
        return self._segments.get((place, match_content(match)))

    def border(self, source: str, target: str, nbytes: int) -> float | None:
        """Seconds of one border: not known here, as the rates of `costs` hold what was fitted.

        Args:
            source: a vendor's name, or the host.
            target: the same, of what reads.
            nbytes: size of the tensor that crosses.

        Returns:
            None.
        """
        return None

    # -- what was measured -------------------------------------------------------------------------

    def pieces_to_time(self) -> list[Segment]:
        """List the composites that are not timed yet.

        Returns:
            Each as a segment of its own, those with most work first.
        """
        unknown = [
            (key, segment)
            for key, segment in self.wanted.items()
            if segment.is_static and self.timer.known(segment) is None
        ]
        unknown.sort(key=lambda item: -self._asked[item[0]] * _segment_work(item[1]))
        return [segment for _, segment in unknown]

    def costs(self, given: Costs | None) -> Costs:
        """Tell a search what is known: the measured costs, over those the user has given.

        Args:
            given: the user's rates; None: the vendors' own.

        Returns:
            Costs that ask this model for composites and segments.
        """
        rates = {**(given.rates if given else {}), **self._rates}
        return Costs(rates=rates, measured=self)

    def learn(self, segments: Iterable[Segment]) -> None:
        """Fit launch, border and composites of each vendor to all that is timed by now.

        Args:
            segments: those of whole plans.
        """
        timed = [(s, t) for s in segments if (t := self.timer.known(s)) is not None]
        for request in self.requests:
            vendor = request.vendor.name
            lone = {
                key: t.seconds
                for key, segment in self.wanted.items()
                if key[0] == vendor and (t := self.timer.known(segment)) is not None
            }
            whole = [(s, t.seconds) for s, t in timed if s.vendor == vendor]
            self._learn_vendor(request.vendor.rates, vendor, lone, whole)
        for segment, t in timed:  # a segment run alone pays for its own border
            border = _border_bytes(segment) / self._rates[segment.vendor].border_bytes
            self._segments[segment.vendor, self.timer.content(segment)[0]] = (
                max(t.seconds - border, 0.2 * t.seconds) if isfinite(t.seconds) else inf
            )

    def crossing(self, source: str, target: str, nbytes: int | None) -> float | None:
        """Seconds of a border between two places by what was measured.

        Args:
            source: a vendor's name, or the host.
            target: the same, of what reads.
            nbytes: size of the tensor that crosses; None: not known.

        Returns:
            Seconds; None where neither place was fitted or the size is not known.
        """
        places = [place for place in (source, target) if place in self.fitted]
        if not places or nbytes is None:
            return None
        rates = [self._rates[place] for place in places]
        return sum(r.border + nbytes / r.border_bytes for r in rates)

    def _learn_vendor(
        self,
        rates: Rates,
        vendor: str,
        lone: Mapping[_Piece, float],
        whole: Sequence[tuple[Segment, float]],
    ) -> None:
        rows = []
        for segment, seconds in whole:
            keys = [(vendor, p.pattern, match_content(p)) for p in _parts(segment)]
            if (
                len(keys) > 1
                and isfinite(seconds)
                and all(isfinite(lone.get(k, inf)) for k in keys)
            ):
                rows.append((segment, seconds, keys))
        launch, per_byte = rates.launch, 1 / rates.border_bytes
        processor = self._processors[vendor]
        hop = self.timer.queue_hop(processor) if lone or whole else rates.border
        if rows:
            self.fitted.add(vendor)
            launch, per_byte = _fit(
                [
                    (
                        len(keys) - 1,
                        sum(_border_bytes(self.wanted[k]) for k in keys) - _border_bytes(segment),
                        sum(lone[k] for k in keys) - seconds,
                        seconds,
                    )
                    for segment, seconds, keys in rows
                ]
            )
        own = {
            key: max(seconds - launch - per_byte * _border_bytes(self.wanted[key]), 0.05 * seconds)
            for key, seconds in lone.items()
        }
        scale = 1.0
        if rows:  # what vendors fuse across composites, no time of a lone one can show
            shares = []
            for segment, seconds, keys in rows:
                inside = seconds - launch - per_byte * _border_bytes(segment)
                shares.append(inside / max(sum(own[k] for k in keys), 1e-12))
            scale = min(2.0, max(0.25, median(shares)))
        for key, seconds in own.items():
            self._pieces[key] = seconds * scale if isfinite(seconds) else inf
        self._rates[vendor] = replace(
            rates, launch=launch, border=hop, border_bytes=1 / per_byte if per_byte > 0 else inf
        )


def _fit(rows: Sequence[tuple[float, float, float, float]]) -> tuple[float, float]:
    """Least squares of ``a·x + b·y = z``, neither below 0; rows (a, b, z, weight⁻¹)."""
    table = np.array(rows, float)
    left, right = table[:, :2] / table[:, 3:], table[:, 2] / table[:, 3]
    best, error = (0.0, 0.0), float(np.sum(right**2))
    for columns in ((0, 1), (0,), (1,)):
        answer = np.linalg.lstsq(left[:, columns], right, rcond=None)[0]
        if (answer < 0).any():
            continue
        full = np.zeros(2)
        full[list(columns)] = answer
        residual = float(np.sum((left @ full - right) ** 2))
        if residual < error * (1 - 1e-9):
            best, error = (float(full[0]), float(full[1])), residual
    return best


def _parts(segment: Segment) -> list[_Part]:
    return [_Part(segment, composite) for composite in segment.composites]


def _border_bytes(segment: Segment) -> int:
    values = {*segment.inputs, *segment.outputs}
    return sum(type_bytes(segment.type(v)) or 0 for v in values)


def _node_work(node: Node, types: Sequence[TensorType], results: Sequence[TensorType]) -> float:
    """Seconds of an op on an ordinary machine, roughly: to share a kernel's time among its ops."""
    found = op_work(node.op, node.attrs, types, results)
    moved = sum(type_bytes(t) or 0 for t in (*types, *results))
    return found.least / 20e9 + moved / 1e12


def _work(match: Match) -> float:
    return sum(
        _node_work(n, [match.type(v) for v in n.inputs], [match.type(v) for v in n.outputs])
        for n in match.nodes
    )


def _segment_work(segment: Segment) -> float:
    return sum(
        _node_work(n, [segment.type(v) for v in n.inputs], [segment.type(v) for v in n.outputs])
        for n in segment.nodes
    )
