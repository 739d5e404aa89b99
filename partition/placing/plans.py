"""Several good plans of one model, for those who can time them.

The best by prediction, then what the search finds when the costs are bent one way or the other:
a prediction that is wrong about one place or about borders is wrong in one of these ways, so one
of the plans is near the truth. Each is given as fixed places: partitioning again makes exactly it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from byoc.partition.placing.dp_search import search
from byoc.partition.placing.local_search import sure_choice, tweaks
from byoc.partition.placing.problem import Placed, Problem
from byoc.partition.placing.rates import Costs
from byoc.partition.placing.strategy import ORDER, Strategy, fixed
from byoc.report.records import HOST
from byoc.vendor import Vendor

if TYPE_CHECKING:
    from byoc.partition.placing.policy import Policy

__all__ = ["Alternative", "alternatives"]


@dataclass(frozen=True)
class Alternative:
    """One plan. name: "model", "host", "dnnl only", "search 2". strategy: places exactly so, for
    `partition_module(placement=…)`. predicted: seconds. segments: how many.
    """

    name: str
    strategy: Strategy
    predicted: float
    segments: int


_Choose = Callable[[Problem], Placed]


def alternatives(
    mod: Any,
    vendors: Sequence[Vendor],
    *,
    count: int = 4,
    policy: Policy | None = None,
    costs: Costs | None = None,
    min_segment_ops: int | None = None,
    min_segment_flops: float | None = None,
) -> tuple[Alternative, ...]:
    """The plan of "model" and the next best by prediction, `count` in all; after them "order",
    all-host and each vendor alone where the policy allows (not counted, left out when equal to an
    earlier one). Arguments as `byoc.partition.partition_module`. Deterministic.

    Raises OptionError when the policy's demands cannot be met.
    """
    from byoc.partition.pipeline import scenes_of

    scenes = scenes_of(mod, vendors, "model", policy, costs, min_segment_ops, min_segment_flops)
    problems = [
        scene.problem(scope, scene.want.limits, scene.want.strategy)
        for scene in scenes
        for scope in range(len(scene.graph.scopes))
    ]
    found = [_plan(problems, sure_choice, "model")]
    if count > 1:
        bent = [_plan(problems, choose) for choose in _bent(problems)]
        best = _distinct(sorted(bent, key=lambda plan: plan.rank), found)[: count - 1]
        found += [replace(plan, name=f"search {k}") for k, plan in enumerate(best, 2)]
    names = [vendor.name for vendor in vendors]
    plain = [_plan(problems, _greedily, ORDER.name), _plan(problems, _nothing, HOST)]
    if len(names) > 1:
        plain += [_plan(problems, _alone(name), f"{name} only") for name in names]
    found += _distinct([p for p in plain if p.rank[0] == 0 and p.penalty == 0], found)
    return tuple([plan.alternative() for plan in found])


@dataclass(frozen=True)
class _Plan:
    name: str
    places: tuple[tuple[int, str], ...]
    predicted: float
    penalty: float
    excess: float
    segments: int

    @property
    def rank(self) -> tuple[float, float]:
        return self.excess, self.penalty + self.predicted

    def alternative(self) -> Alternative:
        return Alternative(
            self.name, fixed(dict(self.places), self.name), self.predicted, self.segments
        )


def _plan(problems: Sequence[Problem], choose: _Choose, name: str = "") -> _Plan:
    """One choice for the whole module."""
    places: list[tuple[int, str]] = []
    predicted = penalty = excess = 0.0
    segments = 0
    for problem in problems:
        if not problem.nodes:
            continue
        placed = choose(problem)
        predicted += placed.seconds
        penalty += placed.penalty
        excess += placed.excess
        segments += len(placed.segments)
        for index in placed.chosen:
            composite = problem[index]
            place = f"{composite.vendor}.{composite.pattern}"
            places += [(problem.first + node, place) for node in composite.nodes]
    return _Plan(name, tuple(sorted(places)), predicted, penalty, excess, segments)


def _distinct(plans: Sequence[_Plan], known: Sequence[_Plan]) -> list[_Plan]:
    seen = {plan.places for plan in known}
    found = []
    for plan in plans:
        if plan.places not in seen:
            seen.add(plan.places)
            found.append(plan)
    return found


def _bent(problems: Sequence[Problem]) -> Iterator[_Choose]:
    if problems:
        for tweak in tweaks(problems[0]):
            yield lambda p, t=tweak: search(p, t).placed  # type: ignore[misc]


def _greedily(problem: Problem) -> Placed:
    return problem.evaluate(problem.greedy())


def _nothing(problem: Problem) -> Placed:
    return problem.evaluate(())


def _alone(vendor: str) -> _Choose:
    def choose(problem: Problem) -> Placed:
        legal = frozenset(problem.legal)
        return problem.evaluate(problem.candidates.greedy([vendor], legal.__contains__))

    return choose
