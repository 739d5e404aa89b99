"""Local search: several starts, and small moves while they gain, where the search proves nothing.

In: a `Problem`. Out: the best choice found. Dynamic programming (`dp_search.py`) comes first;
where its result is not proved to be optimal, this improves on it. Starts are what the search
finds under perturbed costs, first come first served, each vendor alone, and the bare host. From
the best, one thing at a time is changed::

    drop a segment · give its ops to another vendor · take one candidate more · let one go

and kept when the choice, grouped and evaluated as a whole, gains (hill climbing); then again from
choices a few random changes away. Equal input gives equal output: the random numbers are always
the same, and effort is counted in ops looked at, never in seconds.
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

_EFFORT = 120_000  # ops grouped and evaluated, about
_MOST = 4000  # plans, at most
_RESTARTS = 200
_CLOSE = 1e-3  # a share of the cost not worth looking for
_STRICT = 1e-12


def confident_choice(problem: Problem) -> EvaluatedChoice:
    """The choice of the strategy "model": the best found, if its gain is believable.

    Predictions are not better than they are, so what gains less than `MIN_GAIN` over first come,
    first served is not taken.

    Args:
        problem: one scope.
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
    """Find the best choice: by dynamic programming, then, where that proves nothing, local search.

    Args:
        problem: one scope.

    Returns:
        The choice, with the bound that the search proved.
    """
    found = search(problem)
    if found.evaluated.excess > 0:
        found = _within_limits(problem, found)
    if found.exact and found.evaluated.excess == 0:
        return found
    best = found.evaluated
    evaluations = _Evaluations(problem)
    for choice in starts(problem, evaluations):
        if _less(choice, best):
            best = choice
    best = _hill_climb(problem, best, evaluations)
    close = found.bound is not None and best.rank[1] - found.bound <= _CLOSE * best.rank[1]
    if not (close and best.excess == 0):
        best = _restart_perturbed(problem, best, evaluations)
    return SearchResult(best.chosen, best, found.bound)


def _less(one: EvaluatedChoice, other: EvaluatedChoice) -> bool:
    """Whether a plan is really better, beyond rounding."""
    if one.excess != other.excess:
        return one.excess < other.excess
    a, b = one.rank[1], other.rank[1]
    return a < b - _STRICT * max(1.0, abs(b)) if b > 1 else a < b * (1 - 1e-9)


class _Evaluations:
    """Evaluates choices, each once, while there is effort left."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._known: dict[tuple[int, ...], EvaluatedChoice] = {}
        self.left = min(_MOST, max(12, _EFFORT // max(1, len(problem.nodes))))

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
    """Yield changed views of the costs, the mildest first."""
    for backend in (HOST, *problem.vendors):
        for factor in (0.7, 1.4):
            yield Perturbation(scale={backend: factor})
    for factor in (0.4, 2.5):
        yield Perturbation(border=factor)
    if problem.parallel:
        for backend in (HOST, *problem.vendors):
            for factor in (0.35, 3.0):
                yield Perturbation(scale={backend: factor})


def starts(problem: Problem, evaluations: _Evaluations | None = None) -> Iterator[EvaluatedChoice]:
    """Yield different choices to begin local search from, each once.

    Args:
        problem: one scope.
        evaluations: the effort that is left; some is used per start.
    """
    evaluations = evaluations or _Evaluations(problem)
    legal = frozenset(problem.legal)
    seen: set[tuple[int, ...]] = set()
    plain: list[Iterable[int]] = [()]
    plain.append(problem.greedy())
    plain.extend(problem.candidates.greedy([v], legal.__contains__) for v in problem.vendors)
    for chosen in plain:
        choice = evaluations([k for k in chosen if k in legal])
        if choice is not None and choice.chosen not in seen:
            seen.add(choice.chosen)
            yield choice
    for perturbation in perturbations(problem):
        if evaluations.left <= 0:
            return
        evaluations.left -= 4  # a search costs about that many plans
        choice = search(problem, perturbation).evaluated
        if choice.chosen not in seen:
            seen.add(choice.chosen)
            yield choice


def _hill_climb(
    problem: Problem, best: EvaluatedChoice, evaluations: _Evaluations
) -> EvaluatedChoice:
    """Take the first move that gains, until none does."""
    gained = True
    while gained and evaluations.left > 0:
        gained = False
        for chosen in _moves(problem, best):
            choice = evaluations(chosen)
            if choice is None:
                return best
            if _less(choice, best):
                best, gained = choice, True
                break
    return best


def _restart_perturbed(
    problem: Problem, best: EvaluatedChoice, evaluations: _Evaluations
) -> EvaluatedChoice:
    """Climb again from near the best, off by a few random candidates, until effort runs out."""
    if not problem.legal:
        return best
    found, dice = problem.candidates.found, Random(0)
    for _ in range(_RESTARTS):
        chosen = list(best.chosen)
        for _ in range(dice.randint(1, 4)):
            index = dice.choice(problem.legal)
            if index in chosen:
                chosen.remove(index)
                continue
            nodes = set(found[index].nodes)
            chosen = [k for k in chosen if nodes.isdisjoint(found[k].nodes)]
            chosen.append(index)
        choice = evaluations(chosen)
        if choice is None:
            break
        choice = _hill_climb(problem, choice, evaluations)
        if _less(choice, best):
            best = choice
    return best


def segment_moves(problem: Problem, choice: EvaluatedChoice) -> Iterator[tuple[int, ...]]:
    """Yield choices in which one whole segment went to the host or to another vendor.

    Args:
        problem: one scope.
        choice: where to start from.
    """
    found = problem.candidates.found
    for vendor, nodes in choice.segments:
        inside = frozenset(nodes)
        rest = [k for k in choice.chosen if found[k].nodes[0] not in inside]
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


def _moves(problem: Problem, choice: EvaluatedChoice) -> Iterator[tuple[int, ...]]:
    """Neighbours of a choice, large steps first."""
    yield from segment_moves(problem, choice)
    found = problem.candidates.found
    taken = {node: k for k in choice.chosen for node in found[k].nodes}
    for index in problem.legal:
        hit = {taken[n] for n in found[index].nodes if n in taken}
        if index not in hit:
            yield (*[k for k in choice.chosen if k not in hit], index)
    for index in choice.chosen:
        yield tuple(k for k in choice.chosen if k != index)


def _within_limits(problem: Problem, found: SearchResult) -> SearchResult:
    """Search under a penalty per segment and per byte of weights, raised until the limits hold;
    then the segments that gain least go to the host.
    """
    best = found.evaluated
    limits = problem.limits
    scale = max(found.evaluated.seconds, 1e-9)
    for step in range(14):
        per_unit = scale * 4.0 ** (step - 10)
        perturbation = Perturbation(
            launch=per_unit if limits.segments is not None else 0.0,
            weight={p: per_unit / max(1, budget) for p, budget in limits.weights.items()},
        )
        choice = search(problem, perturbation).evaluated
        if _less(choice, best):
            best = choice
        if choice.excess == 0:
            break
    best = problem.evaluate(trim(problem, best.chosen))
    return SearchResult(best.chosen, best, found.bound)


def trim(problem: Problem, chosen: Iterable[int]) -> list[int]:
    """Bring a choice within the limits: the segments that gain least go to the host.

    Args:
        problem: one scope.
        chosen: indices of candidates.

    Returns:
        Indices of the candidates that stay; all of them when the limits hold already.
    """
    limits, kept = problem.limits, list(chosen)
    if limits.segments is None and not limits.weights:
        return kept
    choice = problem.evaluate(kept)
    if choice.excess == 0:
        return kept
    while choice.excess > 0 and choice.segments:
        now = choice
        worst = min(now.segments, key=lambda segment: _loss(problem, now, segment[1]))
        inside = frozenset(worst[1])
        choice = problem.evaluate([k for k in now.chosen if problem[k].nodes[0] not in inside])
    return list(choice.chosen)


def _loss(problem: Problem, choice: EvaluatedChoice, nodes: Sequence[int]) -> float:
    """What the objective loses, about, when a segment goes to the host."""
    inside = frozenset(nodes)
    cost_model = problem.cost_model
    on_host = sum([cost_model.host(n, cost_model.fused_with(n) in inside) for n in nodes])
    here = sum([problem.cost(k) for k in choice.chosen if problem[k].nodes[0] in inside])
    return on_host - here + problem.penalty(HOST, nodes)
