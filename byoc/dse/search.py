"""The best machine within limits, in few evaluations: follow what it waits for.

A machine is evaluated, and its vendor tells which unit it waits for and which knobs move that unit.
Every other value of these knobs is a candidate; one that exceeds the limits is paid for by taking
from the knobs that matter least, until it fits. The cheapest level of the ladder predicts what a
candidate scores, corrected by what it was wrong by at its parent; the one with the largest gain for
what it fills of the chip is tried first. Only what holds on the next level climbs to the last one,
where it is a parent in turn. (After AutoDSE, arXiv 2009.14381.)

Words, such as a dataflow, part the space: each part begins with a start of its own.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from byoc.design import DesignSpace
from byoc.dse.ladder import Ladder, Scored
from byoc.dse.limits import fits, utilisation
from byoc.dse.space import Point, Space
from byoc.errors import OptionError

__all__ = ["DesignStep", "Exploration", "explore"]

_SCANNED = 4000  # points that the cheapest level looks at before the search
_SCAN_SHARE = 0.2  # of the budget
_PART = 1.5  # a part of the space whose bound is so much worse is left out
_SMALL_SHARE = 0.05  # units that take less of the time are left alone
_SLACK = 1.02  # how far a level of the ladder may be wrong, and a candidate still climb
_LEAST_AREA = 0.02  # less of the chip is as good as nothing
_PER_AREA = 0.02  # what a gain counts for more when it takes no area
_PLATEAU, _LATER = 0.001, 0.05  # what is predicted to change nothing is tried later
_PATIENCE = 16  # machines in a row that are no better: the search ends
_BETTER = 0.999  # times the best score: what counts as better


@dataclass(frozen=True, slots=True)
class DesignStep:
    """One machine on the way to the best.

    Attributes:
        scored: The machine.
        unit: What its parent waited for; "" at a start.
        share: How much of the parent's time that was.
        changed: Knob → (before, after), the one that moves the unit first, then what paid for it.
        parent: The parent's point; None at a start.
    """

    scored: Scored
    unit: str = ""
    share: float = 0.0
    changed: tuple[tuple[str, int | str, int | str], ...] = ()
    parent: Point | None = None


@dataclass(slots=True)
class Exploration:
    """What was found.

    Attributes:
        default: The vendor's default machine.
        best: The best machine within the limits.
        steps: How it was reached, from a start on.
        scored: Every machine that reached the last level.
        limits: What a machine may take.
        counts: Evaluations by level.
        equal: Machines whose emitted code another one had.
        size: Points of the space.
        seconds: How long it took.
        stopped: Why it ended.
    """

    default: Scored
    best: Scored
    steps: tuple[DesignStep, ...]
    scored: tuple[Scored, ...]
    limits: dict[str, int]
    counts: dict[str, int]
    equal: int
    size: int
    seconds: float
    stopped: str


@dataclass(order=True, slots=True)
class _Candidate:
    """A machine to be tried; the least `rank` comes first."""

    rank: float
    number: int
    point: Point = field(compare=False)
    step: DesignStep = field(compare=False)


def explore(
    design: DesignSpace,
    space: Space,
    limits: Mapping[str, int],
    *,
    seconds: float | None = None,
    evaluations: int | None = None,
    seed: int = 0,
    on_step: Callable[[DesignStep], None] | None = None,
) -> Exploration:
    """Search for the machine with the lowest score within limits.

    Ctrl-C ends the search, and what was found until then is returned.

    Args:
        design: The vendor's machines.
        space: Which of them there are to choose from.
        limits: What a machine may take, by resource; empty: what the default machine takes.
        seconds: How long it may take; None: until nothing promising is left.
        evaluations: How many machines may be compiled; None: any number.
        seed: Of the sample of a space that is too large to be looked at as a whole.
        on_step: Called with each machine that is better than all before.

    Raises:
        OptionError: No machine of the space keeps the limits, or none runs the models.
        CompileError: The default machine cannot run a model.
    """
    search = _Search(Ladder(design, space, limits), seconds, evaluations, on_step)
    if not limits:
        search.ladder.limits = dict(search.ladder.default.area)
    try:
        stopped = search.run(seed)
    except KeyboardInterrupt:
        stopped = "interrupted"
    return search.result(stopped)


class _Search:
    def __init__(
        self,
        ladder: Ladder,
        seconds: float | None,
        evaluations: int | None,
        on_step: Callable[[DesignStep], None] | None,
    ) -> None:
        self.ladder, self.evaluations, self.on_step = ladder, evaluations, on_step
        self.begin = time.perf_counter()
        self.seconds = math.inf if seconds is None else seconds
        self.frontier: list[_Candidate] = []
        self.steps: dict[Point, DesignStep] = {}
        self.best: Scored | None = None
        self.tried: set[Point] = set()
        self.numbers = itertools.count()
        self.idle = 0  # machines in a row that were no better

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.begin

    def run(self, seed: int) -> str:
        """Search until nothing is left to try; returns why it ended."""
        for part in self._parts(seed):
            for point in part:
                if (why := self._spent()) is not None:
                    return why
                if self._climb(point, None):
                    break
        while self.frontier:
            if (why := self._spent()) is not None:
                return why
            candidate = heapq.heappop(self.frontier)
            if candidate.point not in self.tried:
                self._climb(candidate.point, candidate.step)
        return "nothing is left to try"

    def _spent(self) -> str | None:
        if self.elapsed > self.seconds:
            return "the budget is used up"
        compiled = self.compiled
        if self.evaluations is not None and compiled >= self.evaluations:
            return f"{compiled} machines were compiled"
        if self.idle >= _PATIENCE:
            return f"{self.idle} machines in a row were no better"
        return None

    @property
    def compiled(self) -> int:
        """Machines that were compiled, on whatever level."""
        return len(self.tried)

    def _parts(self, seed: int) -> list[list[Point]]:
        """For each part of the space its points, the best bound first; the best parts first."""
        space, level = self.ladder.space, self.ladder.design.levels[0]
        words = [n for n, axis in enumerate(space.axes) if not axis.ordered]
        parts: dict[tuple[int, ...], list[tuple[float, float, Point]]] = {}
        least: dict[str, int] = {}
        machines = 0
        for point in space.points(_SCANNED, seed):
            area = self.ladder.area(point)
            if area is None:
                continue
            machines += 1
            least = {name: min(least.get(name, n), n) for name, n in area.items()}
            if not fits(area, self.ladder.limits):
                continue
            key = tuple(point[n] for n in words)
            full = utilisation(area, self.ladder.limits)
            parts.setdefault(key, []).append((self.ladder.score(point, level), full, point))
            if self.elapsed > _SCAN_SHARE * self.seconds:
                break
        if not parts:
            raise OptionError(_why_none(machines, least, self.ladder.limits))
        ranked = sorted(sorted(part) for part in parts.values())
        enough = _PART * ranked[0][0][0]
        return [[point for _, _, point in part] for part in ranked if part[0][0] <= enough]

    def _climb(self, point: Point, step: DesignStep | None) -> bool:
        """Take a machine up the ladder as far as it holds, and make it a parent at the top.

        Returns whether it came to the top.
        """
        ladder = self.ladder
        self.tried.add(point)
        self.idle += 1
        parent = None if step is None else step.parent
        for level in ladder.design.levels[1:-1]:
            score = ladder.score(point, level)
            if parent is not None:
                score *= ladder.scored[parent].score / ladder.score(parent, level)
            known = math.inf if self.best is None else self.best.score
            if score == math.inf or (parent is not None and score > known * _SLACK):
                return False
        if ladder.score(point, ladder.last) == math.inf:
            return False
        scored = ladder.scored[point]
        self.steps[point] = DesignStep(scored) if step is None else replace(step, scored=scored)
        full = utilisation(scored.area, ladder.limits)
        if self.best is None or (scored.score, full) < (
            self.best.score, utilisation(self.best.area, ladder.limits)
        ):  # fmt: skip
            if self.best is None or scored.score < self.best.score * _BETTER:
                self.idle = 0
            self.best = scored
            if self.on_step is not None:
                self.on_step(self.steps[point])
        if ladder.is_new(scored):
            self._expand(scored)
        return True

    def _expand(self, parent: Scored) -> None:
        """Put what may be better than a machine into the frontier."""
        ladder, level = self.ladder, self.ladder.design.levels[0]
        assert parent.point is not None
        bound = ladder.score(parent.point, level)
        full = utilisation(parent.area, ladder.limits)
        found = ladder.design.bottlenecks(parent.values, parent.evaluation, ladder.weights)
        done: set[Point] = set()
        for bottleneck in found:
            if bottleneck.share < _SMALL_SHARE:
                continue
            for axis in dict.fromkeys(
                axis for knob, _ in bottleneck.knobs for axis in ladder.space.axes_of(knob)
            ):
                for moved in self._moves(parent.point, axis):
                    point = self._paid(moved, axis)
                    if point is None or point in done or point in self.tried:
                        continue
                    done.add(point)
                    if (ratio := ladder.score(point, level) / bound) == math.inf:
                        continue
                    predicted = parent.score * ratio
                    area = ladder.area(point)
                    assert area is not None
                    more = max(utilisation(area, ladder.limits) - full, _LEAST_AREA)
                    gain = -math.log(ratio)
                    changed = self._changed(parent, point, axis)
                    step = DesignStep(
                        parent, bottleneck.unit, bottleneck.share, changed, parent.point
                    )
                    rank = math.log(predicted) - _PER_AREA * gain / more
                    if abs(gain) < _PLATEAU:  # it may be better all the same, but not first
                        rank += _LATER
                    heapq.heappush(
                        self.frontier,
                        _Candidate(rank, next(self.numbers), point, step),
                    )

    def _moves(self, point: Point, axis: int) -> Iterator[Point]:
        """The point with every other value on one axis."""
        for position in range(len(self.ladder.space.axes[axis].choices)):
            if position != point[axis]:
                yield (*point[:axis], position, *point[axis + 1 :])

    def _paid(self, point: Point, kept: int) -> Point | None:
        """The point, or one that gives up elsewhere what it takes too much; None: it cannot."""
        ladder, level = self.ladder, self.ladder.design.levels[0]
        for _ in range(2 * len(point)):
            area = ladder.area(point)
            if area is not None and fits(area, ladder.limits):
                return point
            over = math.inf if area is None else _excess(area, ladder.limits)
            options = []
            for axis in range(len(point)):
                if axis == kept or not ladder.space.axes[axis].ordered:
                    continue
                for other in self._moves(point, axis):
                    less = ladder.area(other)
                    if less is None or (left := _excess(less, ladder.limits)) >= over:
                        continue
                    relief = 1.0 if over == math.inf else (over - left)
                    loss = max(math.log(ladder.score(other, level)), -20.0)
                    options.append((left > 0, loss if left == 0 else loss - relief, other))
            if not options:
                return None
            point = min(options)[2]
        return None

    def _changed(
        self, parent: Scored, point: Point, axis: int
    ) -> tuple[tuple[str, int | str, int | str], ...]:
        values = self.ladder.space.values(point)
        assert values is not None
        first = self.ladder.space.axes[axis].name
        names = sorted(values, key=lambda name: name != first)
        return tuple(
            (name, parent.values[name], values[name])
            for name in names
            if values[name] != parent.values[name]
        )

    def result(self, stopped: str) -> Exploration:
        """What was found, with the way to the best."""
        ladder = self.ladder
        if self.best is None:
            reason = "stopped before any was tried" if stopped == "interrupted" else stopped
            raise OptionError(f"dse: no machine was found that runs the models ({reason})")
        way: list[DesignStep] = []
        at: Point | None = self.best.point
        while at is not None:
            way.append(self.steps[at])
            at = self.steps[at].parent
        return Exploration(
            ladder.default,
            self.best,
            tuple(reversed(way)),
            tuple(ladder.scored.values()),
            dict(ladder.limits),
            dict(ladder.counts),
            ladder.equal,
            ladder.space.size,
            self.elapsed,
            stopped,
        )


def _excess(area: Mapping[str, int], limits: Mapping[str, int]) -> float:
    """How far limits are exceeded, all together; 0: they are kept."""
    return sum(max(0.0, area[n] / max(limit, 1) - 1) for n, limit in limits.items())


def _why_none(machines: int, least: Mapping[str, int], limits: Mapping[str, int]) -> str:
    """The sentence for a space without a legal machine."""
    if not machines:
        return "space: no machine is left: 'where' forbids every combination of values"
    for name, limit in limits.items():
        if least[name] > limit:
            return (
                f"limits: {name}={limit} is less than any machine of the space takes: the smallest "
                f"has {least[name]}"
            )
    shown = ", ".join(f"{name}={limit}" for name, limit in limits.items())
    return f"limits: no machine of the space keeps {shown} at once; raise one of them"
