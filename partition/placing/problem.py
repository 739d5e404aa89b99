"""What a strategy decides on: the ops of one scope, the candidates, and what each choice costs.

In: a snapshot, candidates, a cost model, limits, constraints. A strategy reads the problem and
answers with candidates; the search and the reports evaluate choices here, so that all of them
optimise and show the same objective.

The objective of a choice is the predicted time of what grouping makes of it::

    sum over segments  launch + composites + borders       all backends on one processor: the sum
    sum over host ops  kernels                             several processors: the makespan

A border is paid per value, from the backend that makes it to each segment that reads it, and once
to the host however many ops read it there. Inputs and results of the model are on the host,
weights are wherever they are needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from warnings import warn

from byoc.partition.grouping.form import form_segments
from byoc.partition.grouping.group import SegmentDraft
from byoc.partition.matching.candidates import Candidates
from byoc.partition.matching.match import MatchedComposite, Matches
from byoc.partition.placing.cost_model import CostModel
from byoc.partition.placing.makespan import elapsed
from byoc.partition.placing.tasks import make_tasks
from byoc.partition.snapshot.flops import Work
from byoc.partition.snapshot.graph import OpGraph
from byoc.report.records import HOST, Refusal

__all__ = ["EvaluatedChoice", "PlanLimits", "Problem"]


@dataclass(frozen=True)
class PlanLimits:
    """What every plan of a scope must keep.

    Attributes:
        min_ops: of a segment (see `prune_scope`).
        min_flops: of a segment.
        segments: at most so many; None: no limit.
        weights: processor → bytes of weights that fit there.
    """

    min_ops: int = 1
    min_flops: float = 0
    segments: int | None = None
    weights: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluatedChoice:
    """A choice of candidates, grouped, with its cost.

    Attributes:
        chosen: indices of the candidates that stayed after pruning.
        segments: what grouping made of them.
        seconds: predicted time of the scope.
        penalty: what broken constraints add to the objective.
        excess: how far it is over the limits; 0 when it keeps them.
    """

    chosen: tuple[int, ...]
    segments: tuple[SegmentDraft, ...]
    seconds: float
    penalty: float = 0.0
    excess: float = 0.0

    @property
    def rank(self) -> tuple[float, float]:
        """Less is better: first the limits, then penalties and time."""
        return self.excess, self.penalty + self.seconds


class Problem:
    """One scope to place: what a strategy decides on.

    Attributes:
        graph: the function's snapshot.
        nodes: the ops of this scope, in topological order.
        candidates: of the whole function.
        legal: indices of the candidates of this scope that the policy allows.
        cost_model: seconds of composites, host ops, launches and borders.
        work: operations and bytes of each op.
        limits: what the plan must keep.
        penalties: (op, backend) → what it adds to the objective to put the op there.
        preferred: candidates that come before all others where order decides.
        exempt: ops whose segment may be below the minimums.
        stable: form segments until nothing more falls (see `settle`).
        first: index in the report of the function's first op.
    """

    def __init__(
        self,
        graph: OpGraph,
        nodes: Sequence[int],
        candidates: Candidates,
        cost_model: CostModel,
        work: Work,
        *,
        limits: PlanLimits | None = None,
        allowed: Collection[int] | None = None,
        preferred: Collection[int] = (),
        exempt: Collection[int] = (),
        penalties: Mapping[tuple[int, str], float] | None = None,
        stable: bool = True,
        first: int = 0,
        explain: Callable[[int], Sequence[Refusal]] | None = None,
    ) -> None:
        self.graph = graph
        self.nodes = tuple(nodes)
        self.candidates = candidates
        self.cost_model = cost_model
        self.work = work
        self.limits = limits or PlanLimits()
        self.penalties = penalties or {}
        self.preferred = frozenset(preferred)
        self.exempt = frozenset(exempt)
        self.stable = stable
        self.first = first
        self._explain = explain
        self._settled: deque[tuple[list[int], Sequence[SegmentDraft]]] = deque(maxlen=2)
        found: dict[int, None] = {}
        for node in nodes:
            found.update(dict.fromkeys(candidates.covering[node]))
        self.legal = tuple(sorted(k for k in found if allowed is None or k in allowed))

    @property
    def prices(self) -> CostModel:
        """The cost model, by its name before 0.2; deprecated."""
        warn("Problem.prices is now called Problem.cost_model", DeprecationWarning, stacklevel=2)
        return self.cost_model

    @property
    def vendors(self) -> tuple[str, ...]:
        """Names of the vendors, in the order they were given."""
        return tuple(self.candidates.vendors)

    def __getitem__(self, index: int) -> MatchedComposite:
        """The candidate of an index."""
        return self.candidates.found[index]

    @cached_property
    def parallel(self) -> bool:
        """Whether backends run on different processors."""
        return len({self.cost_model.processor(p) for p in (HOST, *self.vendors)}) > 1

    @property
    def additive(self) -> bool:
        """Whether the objective is the sum of the parts' own figures."""
        return not self.parallel and not self.cost_model.whole_segments

    # -- candidates --------------------------------------------------------------------------------

    def greedy(self) -> list[int]:
        """The choice of "order": first come, first served, preferred candidates first."""
        legal = frozenset(self.legal)
        chosen: list[int] = []
        if self.preferred:
            first = self.preferred & legal
            chosen = self.candidates.greedy(self.vendors, first.__contains__)
        return self.candidates.greedy(self.vendors, legal.__contains__, chosen)

    def restricted(
        self, legal: Collection[int], penalties: Mapping[tuple[int, str], float]
    ) -> Problem:
        """The same scope with fewer candidates, other penalties and no limits.

        Args:
            legal: indices of the candidates that stay.
            penalties: (op, backend) → seconds.
        """
        return Problem(
            self.graph,
            self.nodes,
            self.candidates,
            self.cost_model,
            self.work,
            allowed=frozenset(legal),
            penalties=penalties,
        )

    def named(self, node: int) -> str:
        """An op in messages: "op 3, nn.relu (lv1)"."""
        return f"op {self.first + node}, {self.graph.named(node)}"

    def refusal(self, node: int, vendor: str) -> str:
        """Say why a vendor does not take an op that no candidate of it covers.

        Args:
            node: the op.
            vendor: the vendor's name.
        """
        for refusal in self._explain(node) if self._explain else ():
            if refusal.vendor == vendor:
                return str(refusal)
        return f"{vendor} has no match for it"

    # -- figures -----------------------------------------------------------------------------------

    def cost(self, index: int) -> float:
        """Seconds of a candidate inside a segment."""
        return self.cost_model.composite(self.candidates.found[index])

    def penalty(self, backend: str, nodes: Iterable[int]) -> float:
        """What broken constraints add when some ops are on a backend.

        Args:
            backend: a vendor or "host".
            nodes: the ops.
        """
        if not self.penalties:
            return 0.0
        return sum([self.penalties.get((node, backend), 0.0) for node in nodes])

    # -- evaluation --------------------------------------------------------------------------------

    def evaluate(self, chosen: Iterable[int]) -> EvaluatedChoice:
        """Group a choice and work out its cost; no two of its candidates may share an op."""
        kept, segments = self.settle(chosen, Matches(len(self.graph)))
        return self._evaluated(kept, segments)

    def settle(
        self, chosen: Iterable[int], matches: Matches
    ) -> tuple[list[int], Sequence[SegmentDraft]]:
        """Take a choice, and form its segments.

        The segments of a plan that weighs costs are formed until nothing more falls, so that the
        same backends, given as they are, make the same segments.

        Args:
            chosen: indices of candidates, no two of which share an op.
            matches: changed: the candidates are taken; those of pruned segments are sent back.

        Returns:
            (the candidates that stay, the segments).
        """
        found, limits = self.candidates.found, self.limits
        kept = list(chosen)
        for index in kept:
            matches.take(found[index])
        whole = sorted(kept)
        for before, segments in self._settled:
            if before == whole:
                return kept, segments
        segments = form_segments(
            self.graph,
            self.nodes,
            matches,
            self.vendors,
            self.work,
            min_ops=limits.min_ops,
            min_flops=limits.min_flops,
            exempt=self.exempt,
            repeat=self.stable,
        )
        kept = [k for k in kept if matches.owner[found[k].nodes[0]] >= 0]
        if len(kept) == len(whole):  # nothing fell: the same choice gives the same again
            self._settled.append((whole, segments))
        return kept, segments

    def _evaluated(
        self, chosen: Sequence[int], segments: Sequence[SegmentDraft]
    ) -> EvaluatedChoice:
        found = self.candidates.found
        composites = [found[index] for index in chosen]
        tasks = make_tasks(self.graph, self.nodes, self.cost_model, segments, composites)
        penalty = 0.0
        if self.penalties:
            covered = {node for _, nodes in segments for node in nodes}
            penalty = self.penalty(HOST, [n for n in self.nodes if n not in covered])
            penalty += sum(self.penalty(vendor, nodes) for vendor, nodes in segments)
        seconds = elapsed(tasks)
        return EvaluatedChoice(
            tuple(sorted(chosen)), tuple(segments), seconds, penalty, self._excess(segments)
        )

    def _excess(self, segments: Sequence[SegmentDraft]) -> float:
        limits, excess = self.limits, 0.0
        if limits.segments is not None:
            excess += max(0, len(segments) - limits.segments)
        if limits.weights:
            for processor, used in self.weights(segments).items():
                budget = limits.weights.get(processor)
                if budget is not None and used > budget:
                    excess += 1 + (used - budget) / max(budget, 1)
        return excess

    def weights(self, segments: Sequence[SegmentDraft]) -> dict[str, int]:
        """Bytes of weights per processor; each constant counts once per segment."""
        graph, cost_model = self.graph, self.cost_model
        used: dict[str, int] = {}
        for vendor, nodes in segments:
            values = {v for n in nodes for v in graph.ops.ins[n] if v in graph.values.constants}
            processor = cost_model.processor(vendor)
            used[processor] = used.get(processor, 0) + sum(cost_model.size(v) for v in values)
        return used
