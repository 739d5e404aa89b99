"""Several good plans of one model, for those who can time them.

In: a module and vendors. Out: plans as strategies, the best by prediction first. The first is
that of "model"; then come those that the search finds under perturbed costs: a prediction that is
wrong about one backend or about borders is wrong in one of these ways, so one of the plans is
near the truth. Each is given as a fixed placement: partitioning again makes exactly it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from byoc.partition.matching.match import compile_vendors
from byoc.partition.placing.context import contexts_of, make_request
from byoc.partition.placing.dp_search import search
from byoc.partition.placing.local_search import confident_choice, perturbations
from byoc.partition.placing.policy import Policy
from byoc.partition.placing.problem import EvaluatedChoice, Problem
from byoc.partition.placing.rates import Costs
from byoc.partition.placing.strategy import MODEL, ORDER, Strategy, fixed
from byoc.report.records import HOST
from byoc.vendor import Vendor

__all__ = ["Alternative", "alternatives"]


@dataclass(frozen=True)
class Alternative:
    """One plan for a whole module.

    Attributes:
        name: "model", "host", "dnnl only", "search 2".
        strategy: places exactly so, for `partition_module(placement=…)`.
        predicted: seconds.
        segments: how many.
    """

    name: str
    strategy: Strategy
    predicted: float
    segments: int


_Choose = Callable[[Problem], EvaluatedChoice]


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
    """List the plan of "model" and the next best by prediction, all different.

    After them come "order", all-host and each vendor alone, where the policy allows; these are
    not counted, and left out when equal to an earlier one. Equal input gives equal plans.

    Args:
        mod: the module, as for `partition_module`.
        vendors: as for `partition_module`.
        count: plans by prediction, in all.
        policy: as for `partition_module`.
        costs: as for `partition_module`.
        min_segment_ops: as for `partition_module`.
        min_segment_flops: as for `partition_module`.

    Raises:
        OptionError: the policy's demands cannot be met.
    """
    entries = compile_vendors(vendors)
    request = make_request(
        vendors,
        placement=MODEL,
        policy=policy,
        costs=costs,
        min_segment_ops=min_segment_ops,
        min_segment_flops=min_segment_flops,
    )
    problems = [
        context.problem(scope, request.limits, request.strategy)
        for context in contexts_of(mod, entries, request)
        for scope in range(len(context.graph.scopes))
    ]
    found = [_plan(problems, confident_choice, MODEL.name)]
    if count > 1:
        searched = [_plan(problems, choose) for choose in _perturbed(problems)]
        best = _distinct(sorted(searched, key=lambda plan: plan.rank), found)[: count - 1]
        found += [replace(plan, name=f"search {k}") for k, plan in enumerate(best, 2)]
    names = [vendor.name for vendor in vendors]
    plain = [_plan(problems, _greedily, ORDER.name), _plan(problems, _nothing, HOST)]
    if len(names) > 1:
        plain += [_plan(problems, _alone(name), f"{name} only") for name in names]
    found += _distinct([p for p in plain if p.rank[0] == 0 and p.penalty == 0], found)
    return tuple([plan.alternative() for plan in found])


@dataclass(frozen=True)
class _CandidatePlan:
    """A choice for every scope of a module. places: (index of an op, "vendor.pattern")."""

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


def _plan(problems: Sequence[Problem], choose: _Choose, name: str = "") -> _CandidatePlan:
    """One choice for the whole module."""
    places: list[tuple[int, str]] = []
    predicted = penalty = excess = 0.0
    segments = 0
    for problem in problems:
        if not problem.nodes:
            continue
        choice = choose(problem)
        predicted += choice.seconds
        penalty += choice.penalty
        excess += choice.excess
        segments += len(choice.segments)
        for index in choice.chosen:
            composite = problem[index]
            backend = f"{composite.vendor}.{composite.pattern}"
            places += [(problem.first + node, backend) for node in composite.nodes]
    return _CandidatePlan(
        name=name,
        places=tuple(sorted(places)),
        predicted=predicted,
        penalty=penalty,
        excess=excess,
        segments=segments,
    )


def _distinct(
    plans: Sequence[_CandidatePlan], known: Sequence[_CandidatePlan]
) -> list[_CandidatePlan]:
    """The plans that differ from those before them and from the known ones."""
    seen = {plan.places for plan in known}
    found = []
    for plan in plans:
        if plan.places not in seen:
            seen.add(plan.places)
            found.append(plan)
    return found


def _perturbed(problems: Sequence[Problem]) -> Iterator[_Choose]:
    """One way to choose per perturbation of the costs."""
    if problems:
        for perturbation in perturbations(problems[0]):
            yield lambda p, t=perturbation: search(p, t).evaluated  # type: ignore[misc]


def _greedily(problem: Problem) -> EvaluatedChoice:
    return problem.evaluate(problem.greedy())


def _nothing(problem: Problem) -> EvaluatedChoice:
    return problem.evaluate(())


def _alone(vendor: str) -> _Choose:
    def choose(problem: Problem) -> EvaluatedChoice:
        legal = frozenset(problem.legal)
        return problem.evaluate(problem.candidates.greedy([vendor], legal.__contains__))

    return choose
