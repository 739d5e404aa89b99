"""Where the search proves nothing: several starts, and small moves while they gain.

Starts are what the search finds under bent costs (`TWEAKS`), first come first served, each vendor
alone, and the bare host. From the best, one thing at a time is changed::

    drop a segment · give its ops to another vendor · take one candidate more · let one go

and kept when the choice, grouped and priced as a whole, gains; then again from choices a few
random changes away. Deterministic: the dice are always the same, and effort is counted in ops
looked at, never in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from byoc.partition.placing.dp_search import SearchResult, search
from byoc.partition.placing.problem import EvaluatedChoice, Problem
from byoc.partition.placing.search_step import Perturbation
from byoc.report.records import HOST

__all__ = ["MIN_GAIN", "best_choice", "confident_choice", "perturbations", "segment_moves", "trim"]

MIN_GAIN = 0.002
"""A gain below this share of the predicted time is none."""

_EFFORT = 120_000  # ops grouped and priced while improving, about
_TRIES = 4000  # plans, at most
_KICKS = 200
_CLOSE = 1e-3  # a share of the cost not worth looking for
_STRICT = 1e-12


def confident_choice(problem: Problem) -> EvaluatedChoice:
    """The best choice found, if it is predicted to gain at least `MIN_GAIN` over first come, first
    served; else that: predictions are not better than they are.
    """
    found = best_choice(problem).evaluated
    greedy = sorted(problem.greedy())
    if greedy == list(found.chosen):
        return found
    ordered = problem.evaluate(greedy)
    if ordered.excess > found.excess or ordered.penalty > found.penalty:
        return found
    return ordered if ordered.seconds <= found.seconds * (1 + MIN_GAIN) else found


def best_choice(problem: Problem) -> SearchResult:
    """The best choice found, and what is proved of it."""
    found = search(problem)
    if found.evaluated.excess > 0:
        found = _within_limits(problem, found)
    if found.exact and found.evaluated.excess == 0:
        return found
    best = found.evaluated
    tries = _Tries(problem)
    for placed in starts(problem, tries):
        if _less(placed, best):
            best = placed
    best = _climb(problem, best, tries)
    close = found.bound is not None and best.rank[1] - found.bound <= _CLOSE * best.rank[1]
    if not (close and best.excess == 0):
        best = _kicked(problem, best, tries)
    return SearchResult(best.chosen, best, found.bound)


def _less(one: EvaluatedChoice, other: EvaluatedChoice) -> bool:
    """Whether a plan is really better, beyond rounding."""
    if one.excess != other.excess:
        return one.excess < other.excess
    a, b = one.rank[1], other.rank[1]
    return a < b - _STRICT * max(1.0, abs(b)) if b > 1 else a < b * (1 - 1e-9)


class _Tries:
    """Prices choices, each once, while there is effort left."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._known: dict[tuple[int, ...], EvaluatedChoice] = {}
        self.left = min(_TRIES, max(12, _EFFORT // max(1, len(problem.nodes))))

    def __call__(self, chosen: Iterable[int]) -> EvaluatedChoice | None:
        key = tuple(sorted(chosen))
        found = self._known.get(key)
        if found is None:
            if self.left <= 0:
                return None
            self.left -= 1
            found = self._known[key] = self._problem.evaluate(key)
        return found


def perturbations(problem: Problem) -> Iterator[Perturbation]:
    """Bent views of the costs, the mildest first."""
    for place in (HOST, *problem.vendors):
        for factor in (0.7, 1.4):
            yield Perturbation(scale={place: factor})
    for factor in (0.4, 2.5):
        yield Perturbation(border=factor)
    if problem.parallel:
        for place in (HOST, *problem.vendors):
            for factor in (0.35, 3.0):
                yield Perturbation(scale={place: factor})


def starts(problem: Problem, tries: _Tries | None = None) -> Iterator[EvaluatedChoice]:
    """Different choices to begin from, each once."""
    tries = tries or _Tries(problem)
    legal = frozenset(problem.legal)
    seen: set[tuple[int, ...]] = set()
    plain: list[Iterable[int]] = [()]
    plain.append(problem.greedy())
    plain.extend(problem.candidates.greedy([v], legal.__contains__) for v in problem.vendors)
    for chosen in plain:
        placed = tries([k for k in chosen if k in legal])
        if placed is not None and placed.chosen not in seen:
            seen.add(placed.chosen)
            yield placed
    for perturbation in perturbations(problem):
        if tries.left <= 0:
            return
        tries.left -= 4  # a search costs about that many plans
        placed = search(problem, perturbation).evaluated
        if placed.chosen not in seen:
            seen.add(placed.chosen)
            yield placed


def _climb(problem: Problem, best: EvaluatedChoice, tries: _Tries) -> EvaluatedChoice:
    """Take the first move that gains, until none does."""
    gained = True
    while gained and tries.left > 0:
        gained = False
        for chosen in _moves(problem, best):
            placed = tries(chosen)
            if placed is None:
                return best
            if _less(placed, best):
                best, gained = placed, True
                break
    return best


def _kicked(problem: Problem, best: EvaluatedChoice, tries: _Tries) -> EvaluatedChoice:
    """Climb again from near the best, off by a few random candidates, until effort runs out."""
    if not problem.legal:
        return best
    found, random = problem.candidates.found, Random(0)
    for _ in range(_KICKS):
        chosen = list(best.chosen)
        for _ in range(random.randint(1, 4)):
            index = random.choice(problem.legal)
            if index in chosen:
                chosen.remove(index)
                continue
            nodes = set(found[index].nodes)
            chosen = [k for k in chosen if nodes.isdisjoint(found[k].nodes)]
            chosen.append(index)
        placed = tries(chosen)
        if placed is None:
            break
        placed = _climb(problem, placed, tries)
        if _less(placed, best):
            best = placed
    return best


def segment_moves(problem: Problem, placed: EvaluatedChoice) -> Iterator[tuple[int, ...]]:
    """Give a whole segment to the host or to another vendor."""
    found = problem.candidates.found
    for vendor, nodes in placed.segments:
        inside = frozenset(nodes)
        rest = [k for k in placed.chosen if found[k].nodes[0] not in inside]
        yield tuple(rest)
        for other in problem.vendors:
            if other != vendor:
                mine = frozenset(
                    k
                    for k in problem.legal
                    if found[k].vendor == other and inside.issuperset(found[k].nodes)
                )
                if mine:
                    yield tuple(problem.candidates.greedy([other], mine.__contains__, rest))


def _moves(problem: Problem, placed: EvaluatedChoice) -> Iterator[tuple[int, ...]]:
    """Neighbours of a choice, large steps first."""
    yield from segment_moves(problem, placed)
    found = problem.candidates.found
    taken = {node: k for k in placed.chosen for node in found[k].nodes}
    for index in problem.legal:
        hit = {taken[n] for n in found[index].nodes if n in taken}
        if index not in hit:
            yield (*[k for k in placed.chosen if k not in hit], index)
    for index in placed.chosen:
        yield tuple(k for k in placed.chosen if k != index)


def _within_limits(problem: Problem, found: SearchResult) -> SearchResult:
    """Press the search under the limits: a price per segment and per byte of weights, raised until
    they hold; then segments that gain least go to the host.
    """
    best = found.evaluated
    limits = problem.limits
    scale = max(found.evaluated.seconds, 1e-9)
    for step in range(14):
        price = scale * 4.0 ** (step - 10)
        perturbation = Perturbation(
            launch=price if limits.segments is not None else 0.0,
            weight={p: price / max(1, budget) for p, budget in limits.weights.items()},
        )
        placed = search(problem, perturbation).evaluated
        if _less(placed, best):
            best = placed
        if placed.excess == 0:
            break
    best = problem.evaluate(trim(problem, best.chosen))
    return SearchResult(best.chosen, best, found.bound)


def trim(problem: Problem, chosen: Iterable[int]) -> list[int]:
    """A choice within the limits: the segments that gain least go to the host until they hold."""
    limits, kept = problem.limits, list(chosen)
    if limits.segments is None and not limits.weights:
        return kept
    placed = problem.evaluate(kept)
    if placed.excess == 0:
        return kept
    while placed.excess > 0 and placed.segments:
        now = placed
        worst = min(now.segments, key=lambda segment: _loss(problem, now, segment[1]))
        inside = frozenset(worst[1])
        placed = problem.evaluate([k for k in now.chosen if problem[k].nodes[0] not in inside])
    return list(placed.chosen)


def _loss(problem: Problem, placed: EvaluatedChoice, nodes: Sequence[int]) -> float:
    """What the objective loses, about, when a segment goes to the host."""
    inside = frozenset(nodes)
    cost_model = problem.cost_model
    on_host = sum([cost_model.host(n, cost_model.fused_with(n) in inside) for n in nodes])
    here = sum([problem.cost(k) for k in placed.chosen if problem[k].nodes[0] in inside])
    return on_host - here + problem.penalty(HOST, nodes)
