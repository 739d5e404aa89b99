"""One function with all that placing it needs, and the placing itself.

In: a Relax function, the vendors' patterns, a `PlacementRequest` (strategy, costs, limits,
constraints). Out: a `PlacedFunction`: which vendor's composite owns each op, and the segments of
each scope. The parts a strategy looks at (candidates, cost model, problems) are made on demand,
because the default placement, `order` without a policy, needs none of them: it asks patterns as
it goes and skips what is taken already (see `matching.match`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tvm

from byoc.errors import ByocError, OptionError, VendorError
from byoc.ir.decode import Decoder
from byoc.partition.grouping.form import form_segments
from byoc.partition.grouping.group import SegmentDraft
from byoc.partition.matching.candidates import Candidates, find_candidates
from byoc.partition.matching.explain import Explainer
from byoc.partition.matching.match import Matches, VendorPatterns, match_graph
from byoc.partition.placing.constraints import Constraints, check_budget
from byoc.partition.placing.cost_model import CostModel
from byoc.partition.placing.local_search import trim
from byoc.partition.placing.policy import Policy
from byoc.partition.placing.problem import PlanLimits, Problem
from byoc.partition.placing.rates import Costs
from byoc.partition.placing.strategy import ORDER, Strategy, resolve_strategy
from byoc.partition.snapshot.flops import Work
from byoc.partition.snapshot.functions import functions_of
from byoc.partition.snapshot.walk import take_snapshot
from byoc.support.arguments import check_kind, check_number
from byoc.vendor import Vendor

__all__ = [
    "FunctionContext",
    "PlacedFunction",
    "PlacementRequest",
    "UsedBudget",
    "contexts_of",
    "make_request",
]


@dataclass(frozen=True)
class PlacementRequest:
    """What the caller of `partition_module` asked for, checked and with defaults filled in.

    Attributes:
        strategy: who chooses among the candidates.
        costs: rates and measurements that replace the vendors' own.
        limits: what every plan must keep.
        constraints: the rules of a policy over single ops, or None without a policy.
    """

    strategy: Strategy
    costs: Costs
    limits: PlanLimits
    constraints: Constraints | None = None

    @property
    def plain_order(self) -> bool:
        """Whether first come, first served decides alone: no costs, no policy."""
        return self.strategy == ORDER and self.constraints is None


def make_request(
    vendors: Sequence[Vendor],
    *,
    placement: str | Strategy,
    policy: Policy | None = None,
    costs: Costs | None = None,
    min_segment_ops: int | None = None,
    min_segment_flops: float | None = None,
) -> PlacementRequest:
    """Check what was asked for and fill in the defaults.

    Args:
        vendors: those of this run; rules, rates and budgets may name only these.
        placement: name of a strategy, or a strategy.
        policy: constraints; its minimums count where the two below are None.
        costs: rates and measurements that replace the vendors' own.
        min_segment_ops: None: 2, and 1 where the strategy weighs costs.
        min_segment_flops: None: 0.

    Raises:
        OptionError: a value is not legal, or a name is not known in this run.
    """
    strategy = resolve_strategy(placement)
    costs = Costs() if costs is None else costs
    check_kind("costs", costs, Costs, "a byoc.partition.placing.Costs")
    costs.check({vendor.name: vendor for vendor in vendors})
    if policy is not None:
        policy.check_places([vendor.name for vendor in vendors])
        check_budget(policy, [vendor.processor for vendor in vendors])
        if min_segment_ops is None:
            min_segment_ops = policy.min_segment_ops
        if min_segment_flops is None:
            min_segment_flops = policy.min_segment_flops
    if min_segment_ops is None:
        min_segment_ops = 1 if strategy.costed else 2
    if min_segment_flops is None:
        min_segment_flops = 0
    check_number("min_segment_ops", min_segment_ops)
    check_number("min_segment_flops", min_segment_flops)
    if min_segment_ops < 0 or min_segment_flops < 0:
        raise OptionError(
            f"min_segment_ops and min_segment_flops must not be negative, found "
            f"{min_segment_ops} and {min_segment_flops}"
        )
    if policy is None:
        return PlacementRequest(strategy, costs, PlanLimits(min_segment_ops, min_segment_flops))
    limits = PlanLimits(
        min_segment_ops, min_segment_flops, policy.max_segments, policy.weight_budget
    )
    return PlacementRequest(strategy, costs, limits, Constraints(policy))


@dataclass
class UsedBudget:
    """How much of the limits that count over the whole module earlier scopes have used.

    Attributes:
        segments: number of segments so far.
        weights: processor → bytes of weights its segments hold so far.
    """

    segments: int
    weights: dict[str, int]

    def left(self, limits: PlanLimits) -> PlanLimits:
        """What remains of the limits for the next scope."""
        return PlanLimits(
            limits.min_ops,
            limits.min_flops,
            None if limits.segments is None else max(0, limits.segments - self.segments),
            {p: max(0, b - self.weights.get(p, 0)) for p, b in limits.weights.items()},
        )

    def add(self, problem: Problem, segments: Sequence[SegmentDraft]) -> None:
        """Add the segments of a scope that was placed to what is used.

        Args:
            problem: The scope's placement problem; it tells the weights of its segments.
            segments: The segments that were chosen for the scope.
        """
        self.segments += len(segments)
        for processor, used in problem.weights(segments).items():
            self.weights[processor] = self.weights.get(processor, 0) + used


class FunctionContext:
    """A function to place: its snapshot, its work and costs, and a `Problem` for each scope.

    Attributes:
        graph: snapshot of the function.
        first: index in the report of its first op.
        vendors: the vendors' compiled patterns, in the order they were given.
        names: the vendors' names, in the same order.
        request: what was asked for.
        work: operations and bytes of each op.
        cost_model: predicted or measured seconds.
    """

    def __init__(
        self,
        func: Any,
        *,
        name: str,
        first: int,
        vendors: Sequence[VendorPatterns],
        request: PlacementRequest,
        decoder: Decoder,
    ) -> None:
        self.graph = take_snapshot(func, name, decoder)
        self.first = first
        self.vendors = vendors
        self.names = [entry.vendor.name for entry in vendors]
        self.request = request
        self.work = Work(self.graph)
        named = {entry.vendor.name: entry.vendor for entry in vendors}
        self.cost_model = CostModel(self.graph, named, request.costs, self.work)

    @cached_property
    def candidates(self) -> Candidates:
        """Every match of every vendor, overlapping ones too."""
        return find_candidates(self.graph, self.vendors)

    @cached_property
    def explain(self) -> Explainer:
        """Why vendors do not take an op, as far as matching alone decides."""
        return Explainer(self.graph, self.vendors, self.candidates.matches)

    @property
    def competing(self) -> bool:
        """Whether all candidates are needed: for the choice, or to report who lost."""
        return not self.request.plain_order or len(self.vendors) > 1

    def problem(self, scope: int, limits: PlanLimits, strategy: Strategy) -> Problem:
        """Make the problem of one scope, as strategies see it.

        Args:
            scope: index into `graph.scopes`.
            limits: what the plan of this scope must keep.
            strategy: who will decide; segments of one that weighs costs are formed until stable.

        A match that a pattern has only once a neighbour is taken is found while ops are given out,
        too late to be legal then. So the order is tried until it finds no more.
        """
        while True:
            known = len(self.candidates)
            problem = self._problem(scope, limits, strategy)
            problem.greedy()
            if len(self.candidates) == known:
                return problem

    def _problem(self, scope: int, limits: PlanLimits, strategy: Strategy) -> Problem:
        """The problem with the candidates that are known."""
        nodes = self.graph.scopes[scope].nodes
        constraints = self.request.constraints or Constraints(Policy())
        rules = constraints.rules(self.graph, nodes, self.candidates)
        return Problem(
            self.graph,
            nodes,
            self.candidates,
            self.cost_model,
            self.work,
            limits=limits,
            stable=strategy.costed,
            first=self.first,
            explain=self.explain,
            **rules,
        )

    def place(self, used: UsedBudget) -> PlacedFunction:
        """Let the strategy choose in every scope, and form the segments.

        Args:
            used: limits that earlier functions used up; this function's use is added.

        Raises:
            VendorError: the strategy's choice is none (see `Strategy.place`).
            OptionError: a constraint cannot be met.
        """
        plain = self.request.plain_order
        if plain:
            # Asking patterns only where ops are free takes a third of the time of listing every
            # candidate first: 0.09 s against 0.25 s for 25 000 ops and ten patterns, of 1 s in
            # all. A property test shows that both choose the same (test_order_once.py).
            matches = match_graph(self.graph, self.vendors)
        else:
            matches = Matches(len(self.graph))
            matches.refusals = {n: list(r) for n, r in self.candidates.matches.refusals.items()}
        drafts: dict[int, Sequence[SegmentDraft]] = {}
        for index, scope in enumerate(self.graph.scopes):
            if scope.nodes:
                drafts[index] = (
                    self._form(scope.nodes, matches)
                    if plain
                    else self._choose(index, matches, used)
                )
        return PlacedFunction(self, matches, drafts)

    def _form(self, nodes: Sequence[int], matches: Matches) -> Sequence[SegmentDraft]:
        """The segments of ops that are matched already."""
        limits = self.request.limits
        return form_segments(
            self.graph,
            nodes,
            matches,
            self.names,
            self.work,
            min_ops=limits.min_ops,
            min_flops=limits.min_flops,
        )

    def _choose(self, scope: int, matches: Matches, used: UsedBudget) -> Sequence[SegmentDraft]:
        """The segments of what the strategy chooses in a scope."""
        request, strategy = self.request, self.request.strategy
        while True:
            problem = self.problem(scope, used.left(request.limits), strategy)
            known = len(self.candidates)
            try:
                choice = list(strategy.place(problem))
            except OptionError:
                if len(self.candidates) == known:
                    raise
                continue
            except Exception as error:
                if isinstance(error, (ByocError, MemoryError)) or _is_ours(strategy):
                    raise
                raise OptionError(
                    f"placement: the strategy {strategy.name!r} failed: "
                    f"{type(error).__name__}: {error}"
                ) from error
            if (strategy.costed and strategy.places is None) or len(self.candidates) == known:
                break  # else what it met on its way is legal for the next try
        chosen = trim(problem, _checked(problem, strategy, choice))
        _, segments = problem.settle(chosen, matches)
        used.add(problem, segments)
        if request.constraints is not None:
            request.constraints.check(problem, segments)
        return segments


def _is_ours(strategy: Strategy) -> bool:
    return getattr(strategy.place, "__module__", "").startswith("byoc.")


@dataclass(frozen=True)
class PlacedFunction:
    """A function after placing.

    Attributes:
        context: what it was placed from.
        matches: who owns each op. Composites whose ops have no owner were matched, and sent back
            to the host.
        drafts: index of a scope → its segments, in topological order.
    """

    context: FunctionContext
    matches: Matches
    drafts: Mapping[int, Sequence[SegmentDraft]]


def contexts_of(
    mod: tvm.IRModule, entries: Sequence[VendorPatterns], request: PlacementRequest
) -> list[FunctionContext]:
    """Make the context of every function of a module, before anything is placed.

    Args:
        mod: Relax in A-normal form.
        entries: the vendors' compiled patterns.
        request: what was asked for.
    """
    contexts: list[FunctionContext] = []
    first, decoder = 0, Decoder()
    for symbol, func in functions_of(mod):
        context = FunctionContext(
            func,
            name=str(symbol.name_hint),
            first=first,
            vendors=entries,
            request=request,
            decoder=decoder,
        )
        first += len(context.graph)
        contexts.append(context)
    return contexts


def _checked(problem: Problem, strategy: Strategy, chosen: Iterable[int]) -> list[int]:
    """The choice without repetitions, when it is one."""
    legal, taken, result = set(problem.legal), dict[int, int](), []
    for index in chosen:
        if index not in legal:
            raise VendorError(
                f"strategy author: {strategy.name!r} chose {index!r}, which is no legal candidate "
                f"of this problem (see Problem.legal)"
            )
        for node in problem[index].nodes:
            other = taken.setdefault(node, index)
            if other != index:
                raise VendorError(
                    f"strategy author: {strategy.name!r} chose candidates {other} and {index}, "
                    f"which share {problem.named(node)}"
                )
        result.append(index)
    return list(dict.fromkeys(result))
