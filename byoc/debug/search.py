"""The ops of one segment that a vendor does not do right.

    the segment ──fine?──▶ its units, each alone, fed with the host's values
                               │ some are bad          they are at fault, not what follows them
                               │ none is, the segment is
                               ▼
                           the shortest run of units that is bad: by bisection from its end, then
                           from its beginning

An op is fed with what the host computed before it, so that it answers for itself only. Where the
whole is off and no part is, the units are run one after the other on each other's results: a gap
that shows there too is their rounding added up, no fault. Inside a unit at fault, smaller matches
of the vendor's patterns tell which op it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from byoc.debug.diagnosis import Kind
from byoc.debug.gap import Gap, gap_of, tolerance_of
from byoc.debug.outcome import TrialOutcome
from byoc.debug.pieces import Piece, cut, rematched, units_of, whole
from byoc.segment import Array, Segment, TensorType

if TYPE_CHECKING:
    from byoc.debug.reference import HostValues
    from byoc.debug.trials import Trials
    from byoc.vendor import Vendor

__all__ = ["OpFault", "Search", "Tried"]

_CALLS = 3
_MOST_DEADLY = 3  # pieces that crash or hang; each costs a process, or the limit
_ROUNDING = 4.0  # a gap this many times what its parts add up to is more than rounding
_UNPROVEN = 100.0  # the same in tolerances, where the parts cannot be run one by one
_DEADLY = ("crash", "hang")


@dataclass(frozen=True, eq=False)
class Tried:
    """A piece, and what became of it.

    Attributes:
        piece: what was tried.
        outcome: how that ended.
        gap: to the host; None unless it was computed.
        tolerance: what rounding explains.
        found: what is wrong; empty when it is fine.
        note: what else there is to say.
    """

    piece: Piece
    outcome: TrialOutcome
    gap: Gap | None
    tolerance: float
    found: Kind | Literal[""]
    note: str = ""


@dataclass(frozen=True, eq=False)
class OpFault:
    """Nodes of a segment at fault.

    Attributes:
        nodes: which nodes of the segment.
        tried: the piece that shows it: these nodes, or them and what the vendor takes with them.
        alone: the vendor does one unit wrong by itself; else several only together.
    """

    nodes: tuple[int, ...]
    tried: Tried
    alone: bool = True


class Search:
    """The search in one segment.

    Args:
        segment: as its vendor receives it.
        function: the same as a Relax function.
        vendor: the vendor, for its patterns.
        values: what the host computed.
        trials: where pieces are tried.
        tolerance: relative gap that is no fault; None: what rounding explains.
    """

    def __init__(
        self,
        segment: Segment,
        function: Any,
        vendor: Vendor,
        values: HostValues,
        trials: Trials,
        tolerance: float | None,
    ) -> None:
        self.segment, self._function, self._vendor = segment, function, vendor
        self._values, self._trials, self._tolerance = values.values, trials, tolerance
        self._count = 0
        self.units = units_of(segment)
        self.remarks: list[str] = []
        self.whole = self.tried(whole(segment), calls=_CALLS)
        self.singles: dict[int, Tried] = {}
        """Unit → what became of it alone."""

    # -- trying ------------------------------------------------------------------------------------

    def tried(
        self, piece: Piece, *, calls: int = 1, fed: Mapping[int, Array] | None = None
    ) -> Tried:
        """Try a piece, fed with the host's values.

        Args:
            piece: a piece of the segment.
            calls: how often to call it.
            fed: values to feed instead of the host's.

        Returns:
            What became of it.
        """
        values = self._values if fed is None else {**self._values, **fed}
        inputs = [values[v] for v in piece.inputs]
        expected = [self._values[v] for v in piece.outputs]
        types = [
            TensorType(array.shape, self.segment.type(v).dtype)
            for v, array in zip(piece.outputs, expected, strict=True)
        ]
        outcome = self._trials.run(piece.segment, inputs, types, calls=calls)
        rounding = tolerance_of(piece.segment)
        tolerance = rounding if self._tolerance is None else self._tolerance
        if outcome.state != "done":
            return Tried(piece, outcome, None, tolerance, outcome.state)
        gap = gap_of(outcome.outputs, expected, inputs, rounded=rounding > 0)
        found: Kind | Literal[""] = ""
        if gap.not_finite:
            found = "nan"
        elif gap.relative > tolerance:
            found = "wrong"
        return Tried(piece, outcome, gap, tolerance, found)

    def evidence(self, piece: Piece) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Give the inputs of a piece, and what the host makes of them."""
        return (
            tuple(self._values[v] for v in piece.inputs),
            tuple(self._values[v] for v in piece.outputs),
        )

    def _name(self) -> str:
        self._count += 1
        return f"{self.segment.name}_part{self._count}"

    # -- searching ---------------------------------------------------------------------------------

    def faults(self, *, ops: bool) -> list[OpFault]:
        """Find what is wrong with the numbers, or does not give any.

        Args:
            ops: look into a segment that is fine as a whole, too.

        Returns:
            The faults, in the order of the segment.
        """
        if not self.whole.found and not ops:
            return []
        self._try_singles()
        guilty = [unit for unit, tried in self.singles.items() if self._counts(tried)]
        if guilty:
            return [self._narrowed(self.units[u], self.singles[u]) for u in guilty]
        if not self.whole.found:
            return []
        if len(self.units) == 1:
            return [self._narrowed(self.units[0], self.whole)]
        if not self._beyond_rounding(self.whole, 0, len(self.units)):
            self.remarks.append(
                f"segment {self.segment.name!r}: its gap is the rounding of {len(self.units)} "
                f"right pieces added up"
            )
            self.whole = _fine(self.whole)
            return []
        return [self._shortest_run()]

    def _try_singles(self) -> None:
        if len(self.units) == 1:
            self.singles[0] = self.whole
            return
        deadly = 0
        for number, unit in enumerate(self.units):
            tried = self.tried(cut(self.segment, unit, self._name()), calls=_CALLS)
            self.singles[number] = tried
            deadly += tried.found in _DEADLY
            if deadly == _MOST_DEADLY and number + 1 < len(self.units):
                self.remarks.append(
                    f"segment {self.segment.name!r}: {deadly} pieces crash or hang; the other "
                    f"{len(self.units) - number - 1} were not tried"
                )
                return

    def _counts(self, tried: Tried) -> bool:
        """Whether what became of a unit alone is a fault of the model, too."""
        if tried.found in _DEADLY:
            return self.whole.found in _DEADLY
        if tried.found == "error":  # vendors may refuse what is too little for them
            return self.whole.found == "error"
        return tried.found != ""

    def _same_kind(self, tried: Tried) -> bool:
        if self.whole.found in _DEADLY:
            return tried.found in _DEADLY
        if self.whole.found in ("nan", "wrong"):
            return tried.found in ("nan", "wrong")
        return tried.found == self.whole.found

    def _shortest_run(self) -> OpFault:
        """The shortest run of units that shows what the whole does."""
        count = len(self.units)
        seen = {(0, count): self.whole}

        def bad(start: int, stop: int) -> bool:
            if (start, stop) not in seen:
                nodes = [n for unit in self.units[start:stop] for n in unit]
                seen[start, stop] = self.tried(cut(self.segment, nodes, self._name()))
            tried = seen[start, stop]
            return self._same_kind(tried) and self._beyond_rounding(tried, start, stop)

        good, stop = 1, count
        while stop - good > 1:
            middle = (good + stop) // 2
            good, stop = (good, middle) if bad(0, middle) else (middle, stop)
        start, over = 0, stop - 1
        while over - start > 1:
            middle = (start + over) // 2
            start, over = (middle, over) if bad(middle, stop) else (start, middle)
        nodes = tuple(n for unit in self.units[start:stop] for n in unit)
        return OpFault(nodes, seen[start, stop], alone=False)

    def _beyond_rounding(self, tried: Tried, start: int, stop: int) -> bool:
        """Whether a run of units is further off than its units one after the other."""
        if tried.gap is None:
            return True
        own: dict[int, Array] = {}
        for number in range(start, stop):
            single = self.singles.get(number)
            if single is None or single.outcome.state != "done":
                return tried.gap.relative > _UNPROVEN * tried.tolerance
            again = self.tried(single.piece, fed=own)
            if again.outcome.state != "done":
                return tried.gap.relative > _UNPROVEN * tried.tolerance
            own.update(zip(single.piece.outputs, again.outcome.outputs, strict=True))
        inputs, expected = self.evidence(tried.piece)
        found = [own[v] for v in tried.piece.outputs]
        added = gap_of(found, expected, inputs, rounded=tolerance_of(self.segment) > 0)
        return tried.gap.relative > max(_ROUNDING * added.relative, tried.tolerance)

    # -- inside a unit -----------------------------------------------------------------------------

    def _narrowed(self, nodes: tuple[int, ...], tried: Tried) -> OpFault:
        """The ops of a unit that are at fault, by what the vendor takes of it in smaller matches.

        The shortest part from the unit's beginning that is bad ends with the culprit.
        """
        good, bad, shown = 0, len(nodes), tried
        for length in range(1, len(nodes)):
            part = self._part(nodes[:length])
            if part is None:
                continue
            if self._is_like(part, tried):
                bad, shown = length, part
                break
            if not part.found:
                good = length
        left = nodes[good:bad]
        if len(left) > 1:
            for node in left:
                part = self._part((node,))
                if part is not None and self._is_like(part, tried):
                    return OpFault((node,), part)
        return OpFault(left, shown)

    def slow_part(self, unit: int, seconds: float) -> tuple[int, ...]:
        """Find the ops of a slow unit that take its time, by what the vendor takes of it alone.

        Args:
            unit: which one.
            seconds: that it takes.

        Returns:
            The nodes from the end of the longest part that is quick to that of the shortest that
            takes at least half of the time.
        """
        nodes = self.units[unit]
        good, bad = 0, len(nodes)
        for length in range(1, len(nodes)):
            part = self._part(nodes[:length], calls=_CALLS)
            if part is None or part.outcome.seconds is None:
                continue
            if part.outcome.seconds >= seconds / 2:
                bad = length
                break
            good = length
        return nodes[good:bad]

    def _part(self, nodes: Sequence[int], *, calls: int = 1) -> Tried | None:
        piece = rematched(self._function, self.segment, nodes, self._vendor, self._name())
        return None if piece is None else self.tried(piece, calls=calls)

    @staticmethod
    def _is_like(part: Tried, tried: Tried) -> bool:
        numbers = ("nan", "wrong")
        return part.found == tried.found or (part.found in numbers and tried.found in numbers)


def _fine(tried: Tried) -> Tried:
    return Tried(tried.piece, tried.outcome, tried.gap, tried.tolerance, "", "rounding")
