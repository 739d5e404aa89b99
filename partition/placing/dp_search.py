"""Least predicted time: dynamic programming over the ops in order; what still matters is state.

    ops    a ── b ── c ── d          after b, all that the rest can notice:
            └── e ───────┘           where the live values a and b are, which open segments made or
    step   1    2    3   …           read them, and which of these lead to which

A *state* says, per live value (made, and read by a later op): its backend, the open segment that
made it, the segments that read it, whether the host has it. Segments are open while an op to come
could join them: while they made or read a live value. For each the state knows which other open
segments lead to it: joining a segment from which an input comes *through another backend* would
be a cycle, and is not offered. Two ways to the same state differ only in the past: the cheaper
stays. Candidates of several ops are begun at their first op and settled at their last.

What is exact. A state forgets nothing that a later cost depends on, and every way in which
grouping may join ops is a way through the states, so the least cost found is a *lower bound* on
the objective of every choice; grouping joins what it can, and where the choice, truly grouped,
reaches the bound, it is optimal: `SearchResult.exact`. Chains and trees always do; so does
whatever has segments that grouping joins as well as can be. The bound is lost where more than
`limit` states were met (a wide graph) and only the best were kept, where an op touches more than
`_NEAR` open segments, where so many values are alive that nothing is searched (then local search
starts from first come, first served), and on several processors, where the sum is not the
objective. `SearchResult.gap` says how much is left open.

The cost per op is states x choices. Equal steps share their transitions (see `steps.py`), so
a deep model costs little more than one of its layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from byoc.partition.placing.problem import EvaluatedChoice, Problem
from byoc.partition.placing.search_state import (
    INSIDE,
    NO_SEGMENT,
    ON_HOST,
    OUTSIDE,
    START,
    LiveValue,
    OpenSegment,
    SearchState,
    state_after,
)
from byoc.partition.placing.search_step import (
    NOWHERE,
    Offer,
    Perturbation,
    SearchStep,
    Unfinished,
)
from byoc.partition.placing.steps import make_steps
from byoc.report.records import HOST

__all__ = ["SearchResult", "search"]

_WORK = 20_000  # states over the whole scope, about
_LEAST, _MOST = 48, 1024  # states per step …
_WIDE = 6  # … and at least so many where more than 8 values are alive
_NEAR = 3  # open segments that an op may join in every combination

_new = tuple.__new__  # see search_state.py

_NO_OFFER = -1  # no candidate was finished at this step


class _Move(NamedTuple):
    """A way from a state over one step. offer: number of the candidate it finishes."""

    target: SearchState
    seconds: float
    offer: int


class _Origin(NamedTuple):
    """How a state was reached: from which state, finishing which candidate."""

    state: SearchState
    offer: int


class _Path(NamedTuple):
    """The cheapest way through all steps.

    offers: number of the candidate finished at each step. cost: seconds. complete: whether no
    state was dropped and no combination skipped on the way.
    """

    offers: list[int]
    cost: float
    complete: bool


@dataclass(frozen=True)
class SearchResult:
    """The choice that a search found, and what is proved of it.

    Attributes:
        chosen: indices of candidates.
        evaluated: the choice, grouped, with its cost.
        bound: no choice costs less (penalties and seconds); None when that is not known.
    """

    chosen: tuple[int, ...]
    evaluated: EvaluatedChoice
    bound: float | None

    @property
    def exact(self) -> bool:
        """Whether it is proved that no choice is better."""
        return self.gap is not None and self.gap <= 1e-9

    @property
    def gap(self) -> float | None:
        """How much better a choice could at most be, as a share of this one's cost, 0..1."""
        if self.bound is None:
            return None
        cost = self.evaluated.penalty + self.evaluated.seconds
        return max(0.0, (cost - self.bound) / cost) if cost > 0 else 0.0


def search(
    problem: Problem, perturbation: Perturbation | None = None, most: int | None = None
) -> SearchResult:
    """Find the choice of least predicted sum of penalties, composites, launches and borders.

    Args:
        problem: one scope.
        perturbation: search under changed costs; the result is evaluated under the true ones,
            and has no bound.
        most: states kept per step; fewer are quicker. None: as many as the number of ops allows.
    """
    made = make_steps(problem, perturbation or Perturbation())
    if made is None:  # too wide to walk through: local search starts from what order gives
        chosen = tuple(sorted(problem.greedy()))
        return SearchResult(chosen, problem.evaluate(chosen), None)
    path = _Walk(problem, perturbation or Perturbation()).run(made.steps, most)
    chosen = tuple(
        sorted(
            made.ending[step][number]
            for step, number in enumerate(path.offers)
            if number != _NO_OFFER
        )
    )
    evaluated = problem.evaluate(chosen)  # first: it may meet a segment measured as a whole
    proved = path.complete and perturbation is None and problem.additive
    return SearchResult(chosen, evaluated, path.cost if proved else None)


class _Walk:
    """One pass over the steps."""

    def __init__(self, problem: Problem, perturbation: Perturbation) -> None:
        cost_model = problem.cost_model
        self.backends = [HOST, *problem.vendors]
        self.launch = [
            0.0,
            *[cost_model.launch(v) + perturbation.launch for v in problem.vendors],
        ]
        self.scale = perturbation.border
        self.cost_model = cost_model
        self.borders: dict[tuple[int, int, int], float] = {}
        self.skipped = False

    def run(self, steps: list[SearchStep], most: int | None = None) -> _Path:
        width = sum([len(step.keep) for step in steps])
        least = _LEAST if width <= 8 * len(steps) else _WIDE
        limit = most or min(_MOST, max(least, _WORK // max(1, len(steps) + width // 2)))
        complete = True
        known: dict[SearchStep, int] = {}
        reach: list[dict[SearchState, list[tuple[SearchState, float, _Origin]]]] = []
        frontier: dict[SearchState, float] = {START: 0.0}
        trail: list[dict[SearchState, _Origin]] = []
        for step in steps:
            number = known.setdefault(step, len(reach))
            if number == len(reach):
                reach.append({})
            moves = reach[number]
            following: dict[SearchState, float] = {}
            came: dict[SearchState, _Origin] = {}
            for state, cost in frontier.items():
                found = moves.get(state)
                if found is None:
                    found = moves[state] = self._best(step, state)
                for target, seconds, origin in found:
                    total = cost + seconds
                    known_cost = following.get(target)
                    if known_cost is None or total < known_cost:
                        following[target] = total
                        came[target] = origin
            if len(following) > limit:
                complete = False
                # By cost, then by when it was met: the same in every run.
                best = sorted(following.items(), key=lambda item: item[1])[:limit]
                following = dict(best)
                came = {state: came[state] for state in following}
            frontier = following
            trail.append(came)
        ((state, cost),) = frontier.items() if steps else [(START, 0.0)]
        offers: list[int] = []
        for came in reversed(trail):
            state, offer = came[state]
            offers.append(offer)
        return _Path(offers[::-1], cost, complete and not self.skipped)

    def _best(
        self, step: SearchStep, state: SearchState
    ) -> list[tuple[SearchState, float, _Origin]]:
        """The moves from a state, the cheapest to each target: (target, seconds, origin)."""
        best: dict[SearchState, tuple[float, int]] = {}
        for target, seconds, offer in self._moves(step, state):
            found = best.get(target)
            if found is None or seconds < found[0]:
                best[target] = (seconds, offer)
        return [
            (target, seconds, _Origin(state, offer)) for target, (seconds, offer) in best.items()
        ]

    def _moves(self, step: SearchStep, state: SearchState) -> Iterator[_Move]:
        unfinished, segments, live = state
        values = [*live, *[OUTSIDE] * step.fresh]
        covering = next((p for p in unfinished if p in step.covers), None)
        if covering is not None:
            if covering.ahead:
                yield self._inside(step, unfinished, segments, values)
                return
            rest = tuple([p for p in unfinished if p != covering])
            yield from self._take(step, step.offers[covering.number], rest, segments, values)
            return
        yield self._on_host(step, unfinished, segments, values)
        for offer in step.offers:
            if offer.single:
                yield from self._take(step, offer, unfinished, segments, values)
        for begun in step.begins:
            if begun.clashes.isdisjoint(unfinished):
                yield self._inside(step, (*unfinished, begun.candidate), segments, values)

    def _inside(
        self,
        step: SearchStep,
        unfinished: tuple[Unfinished, ...],
        segments: tuple[OpenSegment, ...],
        values: list[LiveValue],
    ) -> _Move:
        """The op is part of a candidate that ends later."""
        target = state_after(step, unfinished, segments, [*values, *[INSIDE] * len(step.outs)])
        return _Move(target, 0.0, _NO_OFFER)

    def _on_host(
        self,
        step: SearchStep,
        unfinished: tuple[Unfinished, ...],
        segments: tuple[OpenSegment, ...],
        values: list[LiveValue],
    ) -> _Move:
        """The op runs on the host: what it reads goes there."""
        fused = step.fed != NOWHERE and values[step.fed].backend == ON_HOST
        seconds = step.host.fused if fused else step.host.alone
        before = 0
        values = list(values)
        for at, size in step.reads:
            backend, segment, leads, readers, on_host = values[at]
            before |= leads
            if backend > ON_HOST and not on_host:
                seconds += self._border(backend, ON_HOST, size)
                values[at] = _new(LiveValue, (backend, segment, leads, readers, True))
        made = _new(LiveValue, (ON_HOST, NO_SEGMENT, before, 0, True))
        values.extend([made] * len(step.outs))
        return _Move(state_after(step, unfinished, segments, values), seconds, _NO_OFFER)

    def _take(
        self,
        step: SearchStep,
        offer: Offer,
        unfinished: tuple[Unfinished, ...],
        segments: tuple[OpenSegment, ...],
        values: list[LiveValue],
    ) -> Iterator[_Move]:
        """The offer in a segment of its own, or in any open ones it touches and may join."""
        near: dict[int, None] = {}
        for at, _ in offer.reads:
            value = values[at]
            if value.segment >= 0 and segments[value.segment].backend == offer.backend:
                near[value.segment] = None
            if value.readers:
                for k, other in enumerate(segments):
                    if value.readers >> k & 1 and other.backend == offer.backend:
                        near[k] = None
        for joined in self._ways(near, segments):
            move = self._join(step, offer, joined, unfinished, segments, values)
            if move is not None:
                yield move

    def _ways(
        self, near: Iterable[int], segments: tuple[OpenSegment, ...]
    ) -> Iterator[tuple[int, ...]]:
        """Which open segments to join: every combination of a few; of many none, one, or all
        that do not lead to each other.
        """
        near = tuple(near)
        if len(near) <= _NEAR:
            for size in range(len(near) + 1):
                yield from combinations(near, size)
            return
        self.skipped = True
        yield ()
        together: list[int] = []
        mask = before = 0
        for segment in near:
            yield (segment,)
            if not (before >> segment & 1 or segments[segment].leads & mask):
                together.append(segment)
                mask |= 1 << segment
                before |= segments[segment].leads
        yield tuple(together)

    def _join(
        self,
        step: SearchStep,
        offer: Offer,
        joined: tuple[int, ...],
        unfinished: tuple[Unfinished, ...],
        segments: tuple[OpenSegment, ...],
        values: list[LiveValue],
    ) -> _Move | None:
        """The offer in one segment with those it joins; None where that would be a cycle."""
        backend, mask = offer.backend, 0
        for segment in joined:
            mask |= 1 << segment
        before = 0  # open segments that lead to the joined one
        for segment in joined:
            if segments[segment].leads & mask & ~(1 << segment):
                return None  # one leads to the other through something else
            before |= segments[segment].leads
        seconds = offer.seconds + self.launch[backend] * (1 - len(joined))
        for at, size in offer.reads:
            source, segment, leads, readers, _ = values[at]
            if segment >= 0 and mask >> segment & 1:
                continue
            if leads & mask:
                return None  # the way to this input leaves the segment
            before |= leads
            if not readers & mask:
                seconds += self._border(source, backend, size)
        before &= ~mask
        me = joined[0] if joined else len(segments)
        bit = 1 << me
        table = list(segments)
        if joined:
            table[me] = OpenSegment(backend, before)
        else:
            table.append(OpenSegment(backend, before))

        def lead(leads: int) -> int:
            # What the joined segments lead to, this one and all before it lead to now.
            return (leads & ~mask) | bit | before if leads & mask else leads

        if mask:
            table = [
                u if k == me else _new(OpenSegment, (u.backend, lead(u.leads)))
                for k, u in enumerate(table)
            ]
            merged = []
            for source, segment, leads, readers, on_host in values:
                if segment >= 0 and mask >> segment & 1:
                    segment = me
                if readers & mask:
                    readers = (readers & ~mask) | bit
                if leads & mask:
                    leads = (leads & ~mask) | bit | before
                merged.append(_new(LiveValue, (source, segment, leads, readers, on_host)))
            values = merged
        else:
            values = list(values)
        for at, _ in offer.reads:
            source, segment, leads, readers, on_host = values[at]
            if segment != me:
                values[at] = _new(LiveValue, (source, segment, leads, readers | bit, on_host))
        for size, leaves in step.outs:
            if leaves:
                seconds += self._border(backend, ON_HOST, size)
            values.append(_new(LiveValue, (backend, me, bit | before, 0, leaves)))
        return _Move(state_after(step, unfinished, tuple(table), values), seconds, offer.number)

    def _border(self, source: int, target: int, size: int) -> float:
        key = (source, target, size)
        found = self.borders.get(key)
        if found is None:
            backends = self.backends
            found = self.borders[key] = self.scale * self.cost_model.border(
                backends[source], backends[target], size
            )
        return found
