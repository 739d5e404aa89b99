"""The scope as a sequence of steps, one per op, with everything a transition of the search needs.

Steps know values by their place in the list of *live* values, candidates by how many steps
their last op is ahead and a number. So the same layer, wherever it stands in the model, makes
equal steps, and what was worked out for one of them serves all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from byoc.partition.placing.problem import Problem
from byoc.report.records import HOST

__all__ = ["Offer", "Perturbation", "SearchStep", "make_steps"]


@dataclass(frozen=True)
class Perturbation:
    """A bent view of the costs, to push the search elsewhere.

    scale: place → factor on its composites or host ops. border: factor on borders. launch:
    seconds more per segment. weight: processor → seconds more per byte of weights. banned:
    candidates not to use.
    """

    scale: Mapping[str, float] = field(default_factory=dict)
    border: float = 1.0
    launch: float = 0.0
    weight: Mapping[str, float] = field(default_factory=dict)
    banned: frozenset[int] = frozenset()


Value = tuple[int, int]
"""(position in the live list, bytes)"""


class Offer(NamedTuple):
    """A candidate that ends at this op. place: number of its vendor, from 1. single: it covers
    this op alone. reads: what comes from outside of it.
    """

    number: int
    place: int
    seconds: float
    single: bool
    reads: tuple[Value, ...]


class SearchStep(NamedTuple):
    """One op.

    fresh: how many values from outside the scope appear, made on the host. host: seconds alone,
    and fused with the live value `fed` (-1: never). reads: of the host's version. offers:
    candidates that end here. begins: (steps ahead, number) of candidates of several ops that
    begin here, each with those that share an op with it. covers: of all that cover this op. outs:
    bytes, and whether something outside the scope reads it. keep: per live value that stays, its
    position (in live, fresh, outs), a mask of the places that may still read it, and None, or when
    only unfinished candidates can still read it, which.
    """

    fresh: int
    host: tuple[float, float]
    fed: int
    reads: tuple[Value, ...]
    offers: tuple[Offer, ...]
    begins: tuple[tuple[tuple[int, int], frozenset[tuple[int, int]]], ...]
    covers: frozenset[tuple[int, int]]
    outs: tuple[tuple[int, bool], ...]
    keep: tuple[tuple[int, int, frozenset[tuple[int, int]] | None], ...]


_WIDTH = 48
"""Live values per step, on average, beyond which no steps are made: they would take minutes."""


def make_steps(
    problem: Problem, perturbation: Perturbation
) -> tuple[list[SearchStep], list[list[int]]] | None:
    """The steps, and per step the candidates behind its offers' numbers; None when too many
    values are alive at once.
    """
    return _Builder(problem, perturbation).build()


class _Builder:
    def __init__(self, problem: Problem, perturbation: Perturbation) -> None:
        self.problem = problem
        self.perturbation = perturbation
        self.graph = problem.graph
        self.at = {node: k for k, node in enumerate(problem.nodes)}
        self.number = {name: k + 1 for k, name in enumerate(problem.vendors)}
        count = len(problem.nodes)
        self.ending: list[list[int]] = [[] for _ in range(count)]
        self.covering: dict[int, list[int]] = {}  # step → candidates of several ops that cover it
        self.tag: dict[int, tuple[int, int]] = {}  # candidate → (step of its last op, number)
        self.latest = list(range(count))  # step → last step at which its op may run
        self.places = [0] * count  # step → mask of the vendors that may take its op
        self.seconds: dict[int, float] = {}
        price = problem.cost_model.composite
        for index in problem.legal:
            if index in perturbation.banned:
                continue
            composite = problem[index]
            self.seconds[index] = price(composite)
            last = self.at[composite.nodes[-1]]
            self.tag[index] = (last, len(self.ending[last]))
            self.ending[last].append(index)
            bit = 1 << self.number[composite.vendor]
            for node in composite.nodes:
                step = self.at[node]
                self.places[step] |= bit
                if len(composite.nodes) > 1:
                    self.covering.setdefault(step, []).append(index)
                if last > self.latest[step]:
                    self.latest[step] = last

    def build(self) -> tuple[list[SearchStep], list[list[int]]] | None:
        graph, nodes = self.graph, self.problem.nodes
        constants = graph.values.constants
        # Per value: the readers of this scope by step, and the last step it is needed at.
        leave: list[list[int]] = [[] for _ in nodes]
        readers: dict[int, list[int]] = {}
        for step, node in enumerate(nodes):
            for value in dict.fromkeys(graph.ops.ins[node]):
                if value not in constants:
                    readers.setdefault(value, []).append(step)
        last: dict[int, int] = {}
        width = 0
        for value, steps in readers.items():
            last[value] = max([self.latest[s] for s in steps])
            leave[last[value]].append(value)
            born = self.at.get(graph.values.producer[value], steps[0])
            width += last[value] - born + 1
        if width > _WIDTH * len(nodes):
            return None
        live: dict[int, None] = {}
        steps_made: list[SearchStep] = []
        starting = self._starting()
        for step, node in enumerate(nodes):
            fresh = [
                v for v in dict.fromkeys(graph.ops.ins[node]) if v in readers and v not in live
            ]
            outs = graph.ops.outs[node]
            everything = [*live, *fresh, *outs]
            where = {v: k for k, v in enumerate(everything)}
            gone = set(leave[step])
            gone.update([v for v in outs if v not in readers])
            kept = [v for v in everything if v not in gone]
            steps_made.append(self._step(step, node, fresh, where, kept, readers, starting))
            live = dict.fromkeys(kept)
        return steps_made, self.ending

    def _starting(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for index in self.tag:
            nodes = self.problem[index].nodes
            if len(nodes) > 1:
                found.setdefault(self.at[nodes[0]], []).append(index)
        return found

    def _ahead(self, index: int, step: int) -> tuple[int, int]:
        last, number = self.tag[index]
        return last - step, number

    def _aheads(self, indices: Iterable[int], step: int) -> frozenset[tuple[int, int]]:
        tag = self.tag
        return frozenset([(tag[i][0] - step, tag[i][1]) for i in indices])

    def _begins(
        self, step: int, starting: Sequence[int]
    ) -> tuple[tuple[tuple[int, int], frozenset[tuple[int, int]]], ...]:
        """The candidates of several ops that begin here, each with those that share an op with it;
        of those with the same ops (several vendors' mostly) the sharing is worked out once.
        """
        found = []
        sharing: dict[tuple[int, ...], frozenset[tuple[int, int]]] = {}
        for index in starting:
            nodes = self.problem[index].nodes
            others = sharing.get(nodes)
            if others is None:
                indices = {i for node in nodes for i in self.covering.get(self.at[node], ())}
                others = sharing[nodes] = self._aheads(indices, step)
            me = self._ahead(index, step)
            found.append((me, others - {me}))
        return tuple(found)

    def _step(
        self,
        step: int,
        node: int,
        fresh: list[int],
        where: Mapping[int, int],
        kept: list[int],
        readers: Mapping[int, list[int]],
        starting: Mapping[int, list[int]],
    ) -> SearchStep:
        problem, graph, cost_model, perturbation = (
            self.problem,
            self.graph,
            self.problem.cost_model,
            self.perturbation,
        )
        fed = cost_model.fused_with(node)
        scale = perturbation.scale.get(HOST, 1.0)
        wish = problem.penalty(HOST, (node,))
        ins = [v for v in dict.fromkeys(graph.ops.ins[node]) if v in readers]
        reads = tuple([(where[v], cost_model.size(v)) for v in ins])
        return SearchStep(
            fresh=len(fresh),
            host=(
                cost_model.host(node, False) * scale + wish,
                cost_model.host(node, True) * scale + wish,
            ),
            fed=where.get(graph.ops.outs[fed][0], -1) if fed in self.at else -1,
            reads=reads,
            offers=self._offers(self.ending[step], reads, where, readers),
            begins=self._begins(step, starting.get(step, ())),
            covers=self._aheads(self.covering.get(step, ()), step),
            outs=tuple([(cost_model.size(v), self._leaves(v)) for v in graph.ops.outs[node]]),
            keep=tuple(
                [
                    (where[v], self._future(readers[v], step), self._waiting(readers[v], step))
                    for v in kept
                ]
            ),
        )

    def _leaves(self, value: int) -> bool:
        """Whether something outside the scope reads the value."""
        return any(user not in self.at for user in self.graph.values.users[value])

    def _future(self, steps: list[int], now: int) -> int:
        """The vendors that may still read a value."""
        mask = 0
        for step in steps:
            if self.latest[step] > now:
                mask |= self.places[step]
        return mask

    def _waiting(self, steps: list[int], now: int) -> frozenset[tuple[int, int]] | None:
        """The unfinished candidates that read a value, when no op to come does; else None."""
        if steps[-1] > now:
            return None
        found = {i for s in steps for i in self.covering.get(s, ()) if self.tag[i][0] > now}
        return self._aheads(found, now)

    def _offers(
        self,
        ending: list[int],
        own: tuple[Value, ...],
        where: Mapping[int, int],
        readers: Mapping[int, list[int]],
    ) -> tuple[Offer, ...]:
        """The candidates that end at an op; own: what the op itself reads."""
        problem, cost_model, perturbation = self.problem, self.problem.cost_model, self.perturbation
        found = []
        known: dict[tuple[int, ...], tuple[Value, ...]] = {}
        candidates = problem.candidates.found
        for number, index in enumerate(ending):
            composite = candidates[index]
            nodes, vendor = composite.nodes, composite.vendor
            if len(nodes) == 1:
                reads = own
            else:
                reads = known.get(nodes) or known.setdefault(
                    nodes, self._reads(nodes, where, readers)
                )
            seconds = self.seconds[index]
            if perturbation.scale:
                seconds *= perturbation.scale.get(vendor, 1.0)
            if problem.penalties:
                seconds += problem.penalty(vendor, nodes)
            if perturbation.weight:
                price = perturbation.weight.get(cost_model.processor(vendor), 0.0)
                seconds += price * self._weights(nodes)
            found.append(Offer(number, self.number[vendor], seconds, len(nodes) == 1, reads))
        return tuple(found)

    def _reads(
        self, nodes: tuple[int, ...], where: Mapping[int, int], readers: Mapping[int, list[int]]
    ) -> tuple[Value, ...]:
        """What some nodes read from outside of them."""
        graph, cost_model = self.graph, self.problem.cost_model
        made = {v for n in nodes[:-1] for v in graph.ops.outs[n]}
        values = dict.fromkeys([v for n in nodes for v in graph.ops.ins[n]])
        return tuple(
            [(where[v], cost_model.size(v)) for v in values if v in readers and v not in made]
        )

    def _weights(self, nodes: tuple[int, ...]) -> int:
        """Bytes of the constants that some nodes read."""
        graph, cost_model = self.graph, self.problem.cost_model
        values = {v for n in nodes for v in graph.ops.ins[n] if v in graph.values.constants}
        return sum([cost_model.size(v) for v in values])
