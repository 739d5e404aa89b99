"""Plans worth timing, found quickly: what measuring corrects need not be searched to the last.

The full search of `model` may take longer than timing all it proposes. Here the same search runs
with few states, on the costs as they are and perturbed one way or the other, and from the plans of
a single place; then whole segments change hands while that gains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from byoc.partition.placing import Strategy

if TYPE_CHECKING:
    from byoc.partition.placing.problem import Problem

__all__ = ["candidate_plans"]

_WIDTH = 16  # states per step
_PERTURBED = 4
_SWAPS = 120  # plans evaluated by the local search


def candidate_plans() -> Iterator[Strategy]:
    """Offer strategies whose placements are worth timing.

    Returns:
        Strategies, the most promising first; two may agree on a model.
    """
    yield Strategy("search", _best)
    yield Strategy("narrow search", _narrow)
    for number in range(_PERTURBED):
        yield Strategy(f"search bent {number + 1}", _perturbed(number))


def _narrow(problem: Problem) -> Iterable[int]:
    from byoc.partition.placing.dp_search import search

    return search(problem, most=_WIDTH).chosen


def _perturbed(number: int) -> Callable[[Problem], Iterable[int]]:
    def place(problem: Problem) -> Iterable[int]:
        from byoc.partition.placing.dp_search import search
        from byoc.partition.placing.local_search import perturbations

        (perturbation,) = islice(perturbations(problem), number, number + 1)
        return search(problem, perturbation, most=_WIDTH).chosen

    return place


def _best(problem: Problem) -> Iterable[int]:
    """The best of several starts, improved by whole segments."""
    from byoc.partition.placing.local_search import segment_moves

    legal = frozenset(problem.legal)
    starts = [[], problem.greedy(), list(_narrow(problem))]
    starts += [problem.candidates.greedy([v], legal.__contains__) for v in problem.vendors]
    best = min((problem.evaluate(start) for start in starts), key=lambda placed: placed.rank)
    left = _SWAPS
    gained = True
    while gained and left > 0:
        gained = False
        for chosen in segment_moves(problem, best):
            placed = problem.evaluate(chosen)
            left -= 1
            if placed.rank < best.rank:
                best, gained = placed, True
                break
            if left <= 0:
                break
    return best.chosen
