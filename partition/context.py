"""One function, ready to be placed: snapshot, candidates, prices, one problem per scope."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from byoc.errors import VendorError
from byoc.ir.decode import Decoder
from byoc.partition.matching.candidates import Candidates, find_candidates
from byoc.partition.matching.explain import Explainer
from byoc.partition.matching.match import Matches, VendorPatterns, match_graph
from byoc.partition.outlining.outline import Draft
from byoc.partition.placing.constraints import Wishes
from byoc.partition.placing.cost_model import Prices
from byoc.partition.placing.local_search import trim
from byoc.partition.placing.policy import Policy
from byoc.partition.placing.problem import Limits, Problem
from byoc.partition.placing.rates import Costs
from byoc.partition.placing.strategy import ORDER, Strategy
from byoc.partition.snapshot.flops import Costs as Work
from byoc.partition.snapshot.graph import OpGraph

__all__ = ["Scene", "Spent", "Want"]


@dataclass(frozen=True)
class Want:
    """What was asked for. wishes: of a policy, or None."""

    strategy: Strategy
    costs: Costs
    limits: Limits
    wishes: Wishes | None = None


@dataclass
class Spent:
    """What earlier scopes used of limits that count over the whole module."""

    segments: int
    weights: dict[str, int]

    def left(self, limits: Limits) -> Limits:
        """The limits of the next scope."""
        return Limits(
            limits.min_ops,
            limits.min_flops,
            None if limits.segments is None else max(0, limits.segments - self.segments),
            {p: max(0, b - self.weights.get(p, 0)) for p, b in limits.weights.items()},
        )

    def add(self, problem: Problem, segments: Sequence[tuple[str, tuple[int, ...]]]) -> None:
        """Count a scope's segments."""
        self.segments += len(segments)
        for processor, used in problem.weights(segments).items():
            self.weights[processor] = self.weights.get(processor, 0) + used


class Scene:
    """One function. first: index in the report of its first op."""

    def __init__(
        self,
        func: Any,
        name: str,
        first: int,
        vendors: Sequence[VendorPatterns],
        want: Want,
        decoder: Decoder,
    ) -> None:
        self.graph = OpGraph(func, name, decoder)
        self.first = first
        self.vendors = vendors
        self.names = [entry.vendor.name for entry in vendors]
        self.want = want
        self.work = Work(self.graph)
        named = {entry.vendor.name: entry.vendor for entry in vendors}
        self.prices = Prices(self.graph, named, want.costs, self.work)

    @cached_property
    def candidates(self) -> Candidates:
        """Every match of every vendor."""
        return find_candidates(self.graph, self.vendors)

    @cached_property
    def explain(self) -> Explainer:
        """Refusals as far as matching goes."""
        return Explainer(self.graph, self.vendors, self.candidates.matches)

    @property
    def competing(self) -> bool:
        """Whether all candidates are wanted: for the choice, or to say who lost."""
        return not self._plain_order or len(self.vendors) > 1

    @property
    def _plain_order(self) -> bool:
        return self.want.strategy == ORDER and self.want.wishes is None

    def problem(self, scope: int, limits: Limits, strategy: Strategy) -> Problem:
        """One scope as strategies see it."""
        nodes = self.graph.scopes[scope].nodes
        wishes = self.want.wishes or Wishes(Policy())
        rules = wishes.rules(self.graph, nodes, self.candidates)
        return Problem(
            self.graph,
            nodes,
            self.candidates,
            self.prices,
            self.work,
            limits=limits,
            stable=strategy.costed,
            first=self.first,
            explain=self.explain,
            **rules,
        )

    def place(self, spent: Spent) -> tuple[Matches, dict[int, list[Draft]]]:
        """Let the strategy choose in every scope: who owns what, and the segments by scope.

        Raises VendorError when the strategy's choice is none.
        """
        want, strategy = self.want, self.want.strategy
        if self._plain_order:
            matches = match_graph(self.graph, self.vendors)
        else:
            matches = Matches(len(self.graph))
            matches.refusals = {n: list(r) for n, r in self.candidates.matches.refusals.items()}
        drafts: dict[int, list[Draft]] = {}
        for index, scope in enumerate(self.graph.scopes):
            if not scope.nodes:
                continue
            if self._plain_order:
                segments = self._ordered(scope.nodes, matches)
            else:
                problem = self.problem(index, spent.left(want.limits), strategy)
                chosen = _checked(problem, strategy, strategy.place(problem))
                chosen = trim(problem, chosen)
                _, segments = problem.settle(chosen, matches)
                spent.add(problem, segments)
                if want.wishes is not None:
                    want.wishes.check(problem, segments)
            drafts[index] = [Draft(vendor, nodes) for vendor, nodes in segments]
        return matches, drafts

    def _ordered(
        self, nodes: Sequence[int], matches: Matches
    ) -> Sequence[tuple[str, tuple[int, ...]]]:
        from byoc.partition.grouping.group import group_scope
        from byoc.partition.grouping.prune import prune_scope

        limits = self.want.limits
        return prune_scope(
            self.graph,
            group_scope(self.graph, nodes, matches, self.names),
            matches,
            self.work,
            min_ops=limits.min_ops,
            min_flops=limits.min_flops,
        )

    def places(self, matches: Matches) -> Mapping[int, str]:
        """Index of an op → "vendor.pattern", for `fixed`; the host's left out."""
        found: dict[int, str] = {}
        for node, owner in enumerate(matches.owner):
            if owner >= 0:
                composite = matches.composites[owner]
                found[self.first + node] = f"{composite.vendor}.{composite.pattern}"
        return found


def _checked(problem: Problem, strategy: Strategy, chosen: Iterable[int]) -> list[int]:
    """The choice, when it is one."""
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
