"""Least predicted time: dynamic programming over the ops in order; what still matters is state.

    ops    a ── b ── c ── d          after b, all that the rest can notice:
            └── e ───────┘           where the live values a and b are, which open segments made or
    step   1    2    3   …           read them, and which of these lead to which

A *state* says, per live value (made, and read by a later op): its place, the open segment that
made it, the segments that read it, whether the host has it. Segments are open while an op to come
could join them: while they made or read a live value. For each the state knows which other open
segments lead to it: joining a segment from which an input comes *through another place* would be
a cycle, and is not offered. Two ways to the same state differ only in the past: the cheaper stays.
Candidates of several ops are begun at their first op and settled at their last.

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

from byoc.partition.placing.problem import EvaluatedChoice, Problem
from byoc.partition.placing.steps import Offer, Perturbation, SearchStep, make_steps
from byoc.report.records import HOST

__all__ = ["SearchResult", "search"]

_WORK = 20_000  # states over the whole scope, about
_LEAST, _MOST = 48, 1024  # states per step …
_WIDE = 6  # … and at least so many where more than 8 values are alive
_NEAR = 3  # open segments that an op may join in every combination

# A live value: place (0: host, -1: inside an unfinished candidate, -2: nobody here reads it any
# more), its open segment or -1,
# mask of open segments that lead to it (itself included), mask of those that read it, whether
# the host has it.
LiveValue = tuple[int, int, int, int, bool]
# A segment: place, mask of the open segments that lead to it.
OpenSegment = tuple[int, int]
# Unfinished candidates as (steps ahead, number); units; live values.
SearchState = tuple[tuple[tuple[int, int], ...], tuple[OpenSegment, ...], tuple[LiveValue, ...]]

_INSIDE: LiveValue = (-1, -1, 0, 0, False)
_GONE: LiveValue = (-2, -1, 0, 0, False)
_OUTSIDE: LiveValue = (0, -1, 0, 0, True)


@dataclass(frozen=True)
class SearchResult:
    """chosen: indices of candidates. placed: grouped and priced. bound: no choice costs less, or
    None when that is not known. exact: this choice reaches it.
    """

    chosen: tuple[int, ...]
    evaluated: EvaluatedChoice
    bound: float | None

    @property
    def exact(self) -> bool:
        """Whether no choice is better."""
        return self.gap is not None and self.gap <= 1e-9

    @property
    def gap(self) -> float | None:
        """How much better a choice could at most be, as a share of this one's cost."""
        if self.bound is None:
            return None
        cost = self.evaluated.penalty + self.evaluated.seconds
        return max(0.0, (cost - self.bound) / cost) if cost > 0 else 0.0


def search(
    problem: Problem, perturbation: Perturbation | None = None, most: int | None = None
) -> SearchResult:
    """The choice of least predicted sum; with a `perturbation`, of a bent one (then without a bound).

    most: states kept per step; fewer are quicker. None: as many as the number of ops allows.
    """
    made = make_steps(problem, perturbation or Perturbation())
    if made is None:  # too wide to walk through: the caller improves on what order gives
        chosen = tuple(sorted(problem.greedy()))
        return SearchResult(chosen, problem.evaluate(chosen), None)
    steps, ending = made
    numbers, complete = _Walk(problem, perturbation or Perturbation()).run(steps, most)
    chosen = tuple(
        sorted(ending[step][number] for step, number in enumerate(numbers[0]) if number >= 0)
    )
    placed = problem.evaluate(chosen)
    bound = numbers[1] if complete and perturbation is None and problem.additive else None
    return SearchResult(chosen, placed, bound)


class _Walk:
    """One pass over the steps."""

    def __init__(self, problem: Problem, perturbation: Perturbation) -> None:
        cost_model = problem.cost_model
        self.places = [HOST, *problem.vendors]
        self.launch = [0.0, *[cost_model.launch(v) + perturbation.launch for v in problem.vendors]]
        self.scale = perturbation.border
        self.cost_model = cost_model
        self.costs: dict[tuple[int, int, int], float] = {}
        self.skipped = False

    def run(
        self, steps: list[SearchStep], most: int | None = None
    ) -> tuple[tuple[list[int], float], bool]:
        """((number of the offer taken at each step or -1, cost), whether no state was dropped)."""
        width = sum([len(step.keep) for step in steps])
        least = _LEAST if width <= 8 * len(steps) else _WIDE
        limit = most or min(_MOST, max(least, _WORK // max(1, len(steps) + width // 2)))
        complete = True
        known: dict[SearchStep, int] = {}
        reach: list[
            dict[SearchState, list[tuple[SearchState, float, tuple[SearchState, int]]]]
        ] = []
        frontier: dict[SearchState, float] = {((), (), ()): 0.0}
        trail: list[dict[SearchState, tuple[SearchState, int]]] = []
        for step in steps:
            number = known.setdefault(step, len(reach))
            if number == len(reach):
                reach.append({})
            moves = reach[number]
            following: dict[SearchState, float] = {}
            came: dict[SearchState, tuple[SearchState, int]] = {}
            for state, cost in frontier.items():
                found = moves.get(state)
                if found is None:
                    found = moves[state] = self._best(step, state)
                for target, seconds, move in found:
                    total = cost + seconds
                    known_cost = following.get(target)
                    if known_cost is None or total < known_cost:
                        following[target] = total
                        came[target] = move
            if len(following) > limit:
                complete = False
                # By cost, then by when it was met: the same in every run.
                best = sorted(following.items(), key=lambda item: item[1])[:limit]
                following = dict(best)
                came = {state: came[state] for state in following}
            frontier = following
            trail.append(came)
        ((state, cost),) = frontier.items() if steps else [(((), (), ()), 0.0)]
        chosen: list[int] = []
        for came in reversed(trail):
            state, last = came[state]
            chosen.append(last)
        return (chosen[::-1], cost), complete and not self.skipped

    def _best(
        self, step: SearchStep, state: SearchState
    ) -> list[tuple[SearchState, float, tuple[SearchState, int]]]:
        """The moves from a state, the cheapest to each target: (target, seconds, (state, number of
        the offer taken)).
        """
        best: dict[SearchState, tuple[float, int]] = {}
        for target, seconds, taken in self._moves(step, state):
            found = best.get(target)
            if found is None or seconds < found[0]:
                best[target] = (seconds, taken)
        return [(target, seconds, (state, taken)) for target, (seconds, taken) in best.items()]

    def _moves(
        self, step: SearchStep, state: SearchState
    ) -> Iterator[tuple[SearchState, float, int]]:
        pending, units, live = state
        entries = [*live, *[_OUTSIDE] * step.fresh]
        covering = next((p for p in pending if p in step.covers), None)
        if covering is not None:
            ahead, number = covering
            if ahead:
                yield self._inside(step, pending, units, entries), 0.0, -1
                return
            rest = tuple([p for p in pending if p != covering])
            yield from self._take(step, step.offers[number], rest, units, entries)
            return
        yield self._on_host(step, pending, units, entries)
        for offer in step.offers:
            if offer.single:
                yield from self._take(step, offer, pending, units, entries)
        for begun, clash in step.begins:
            if not clash.isdisjoint(pending):
                continue
            yield self._inside(step, (*pending, begun), units, entries), 0.0, -1

    def _inside(
        self,
        step: SearchStep,
        pending: tuple[tuple[int, int], ...],
        units: tuple[OpenSegment, ...],
        entries: list[LiveValue],
    ) -> SearchState:
        return _finish(step, pending, units, [*entries, *[_INSIDE] * len(step.outs)])

    def _on_host(
        self,
        step: SearchStep,
        pending: tuple[tuple[int, int], ...],
        units: tuple[OpenSegment, ...],
        entries: list[LiveValue],
    ) -> tuple[SearchState, float, int]:
        fused = step.fed >= 0 and entries[step.fed][0] == 0
        seconds = step.host[fused]
        before = 0
        entries = list(entries)
        for at, size in step.reads:
            place, unit, leads, readers, there = entries[at]
            before |= leads
            if place > 0 and not there:
                seconds += self._border(place, 0, size)
                entries[at] = (place, unit, leads, readers, True)
        entries.extend([(0, -1, before, 0, True)] * len(step.outs))
        return _finish(step, pending, units, entries), seconds, -1

    def _take(
        self,
        step: SearchStep,
        offer: Offer,
        pending: tuple[tuple[int, int], ...],
        units: tuple[OpenSegment, ...],
        entries: list[LiveValue],
    ) -> Iterator[tuple[SearchState, float, int]]:
        """The offer in a segment of its own, or in any open ones it touches and may join."""
        place = offer.place
        near: dict[int, None] = {}
        for at, _ in offer.reads:
            _, unit, _, readers, _ = entries[at]
            if unit >= 0 and units[unit][0] == place:
                near[unit] = None
            if readers:
                for k, other in enumerate(units):
                    if readers >> k & 1 and other[0] == place:
                        near[k] = None
        for joined in self._ways(near, units):
            move = self._join(step, offer, joined, pending, units, entries)
            if move is not None:
                yield move

    def _ways(
        self, near: Iterable[int], units: tuple[OpenSegment, ...]
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
        for unit in near:
            yield (unit,)
            if not (before >> unit & 1 or units[unit][1] & mask):
                together.append(unit)
                mask |= 1 << unit
                before |= units[unit][1]
        yield tuple(together)

    def _join(
        self,
        step: SearchStep,
        offer: Offer,
        joined: tuple[int, ...],
        pending: tuple[tuple[int, int], ...],
        units: tuple[OpenSegment, ...],
        entries: list[LiveValue],
    ) -> tuple[SearchState, float, int] | None:
        place, mask = offer.place, 0
        for unit in joined:
            mask |= 1 << unit
        before = 0  # open segments that lead to the joined one
        for unit in joined:
            if units[unit][1] & mask & ~(1 << unit):
                return None  # one leads to the other through something else
            before |= units[unit][1]
        seconds = offer.seconds + self.launch[place] * (1 - len(joined))
        for at, size in offer.reads:
            source, unit, leads, readers, _ = entries[at]
            if unit >= 0 and mask >> unit & 1:
                continue
            if leads & mask:
                return None  # the way to this input leaves the segment
            before |= leads
            if not readers & mask:
                seconds += self._border(source, place, size)
        before &= ~mask
        me = joined[0] if joined else len(units)
        bit = 1 << me
        table = list(units)
        if joined:
            table[me] = (place, before)
        else:
            table.append((place, before))

        def lead(leads: int) -> int:
            # What the joined segments lead to, this one and all before it lead to now.
            return (leads & ~mask) | bit | before if leads & mask else leads

        if mask:
            table = [u if k == me else (u[0], lead(u[1])) for k, u in enumerate(table)]
            changed = []
            for source, unit, leads, readers, there in entries:
                if unit >= 0 and mask >> unit & 1:
                    unit = me
                if readers & mask:
                    readers = (readers & ~mask) | bit
                changed.append((source, unit, lead(leads), readers, there))
            entries = changed
        else:
            entries = list(entries)
        for at, _ in offer.reads:
            source, unit, leads, readers, there = entries[at]
            if unit != me:
                entries[at] = (source, unit, leads, readers | bit, there)
        for size, leaves in step.outs:
            if leaves:
                seconds += self._border(place, 0, size)
            entries.append((place, me, bit | before, 0, leaves))
        return _finish(step, pending, tuple(table), entries), seconds, offer.number

    def _border(self, source: int, target: int, size: int) -> float:
        key = (source, target, size)
        found = self.costs.get(key)
        if found is None:
            places = self.places
            found = self.costs[key] = self.scale * self.cost_model.border(
                places[source], places[target], size
            )
        return found


def _finish(
    step: SearchStep,
    pending: tuple[tuple[int, int], ...],
    units: tuple[OpenSegment, ...],
    entries: list[LiveValue],
) -> SearchState:
    """The state after a step: what no later op can notice is dropped, the rest gets its normal
    numbers, so that equal situations are equal states.
    """
    kept: list[LiveValue] = []
    number: dict[int, int] = {}
    for at, future, waiting in step.keep:
        if waiting is not None and waiting.isdisjoint(pending):
            kept.append(_GONE)
            continue
        entry = entries[at]
        place, unit, leads, readers, there = entry
        if unit >= 0:
            if future >> place & 1:
                number.setdefault(unit, len(number))
            else:
                entry = (place, -1, leads, readers, there)
        if readers:
            open_readers = 0
            for k in range(len(units)):
                if readers >> k & 1 and future >> units[k][0] & 1:
                    open_readers |= 1 << k
                    number.setdefault(k, len(number))
            entry = (place, entry[1], leads, open_readers, there)
        kept.append(entry)
    if len(pending) > 1:
        pending = tuple(sorted([(ahead - 1, k) for ahead, k in pending]))
    elif pending:
        ahead, k = pending[0]
        pending = ((ahead - 1, k),)
    if not number:
        return pending, (), tuple([(p, -1, 0, 0, there) for p, _, _, _, there in kept])
    memo: dict[int, int] = {0: 0}

    def renamed(mask: int) -> int:
        found = memo.get(mask)
        if found is None:
            found = 0
            for old, new in number.items():
                if mask >> old & 1:
                    found |= 1 << new
            memo[mask] = found
        return found

    table = tuple([(units[old][0], renamed(units[old][1])) for old in number])
    return (
        pending,
        table,
        tuple(
            [
                (place, number.get(unit, -1), renamed(leads), renamed(readers), there)
                for place, unit, leads, readers, there in kept
            ]
        ),
    )
