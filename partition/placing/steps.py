"""The scope as a sequence of steps, one per op, with everything a transition of the search needs.

In: a `Problem`, and a `Perturbation` of its costs. Out: a `SearchStep` per op. Steps know values
by their position in the list of *live* values, candidates by how many steps their last op is
ahead and a number::

    live before        fresh     outs              keep (by position)
    [ a   b   c ]   +  [ w ]  +  [ d ]    ──▶      [ a  c  d ]

So the same layer, wherever it stands in the model, makes equal steps, and what was worked out for
one of them serves all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from byoc.partition.placing.problem import Problem
from byoc.partition.placing.search_step import (
    NOWHERE,
    Beginning,
    HostSeconds,
    Kept,
    LiveRead,
    Offer,
    OpOutput,
    Perturbation,
    SearchStep,
    Unfinished,
)
from byoc.report.records import HOST

__all__ = ["SearchSteps", "make_steps"]

_WIDTH = 48
"""Live values per step, on average, beyond which no steps are made: they would take minutes."""


class SearchSteps(NamedTuple):
    """The steps, and per step the candidates (their indices) behind its offers' numbers."""

    steps: list[SearchStep]
    ending: list[list[int]]


def make_steps(problem: Problem, perturbation: Perturbation) -> SearchSteps | None:
    """Make the steps of a scope.

    Args:
        problem: the scope.
        perturbation: of the costs.

    Returns:
        The steps; None when so many values are alive at once that a search would take minutes.
    """
    return _Builder(problem, perturbation).build()


class _Tag(NamedTuple):
    """Where a candidate ends: the step of its last op, its number among those that end there."""

    last: int
    number: int


class _Builder:
    """Makes the steps of one scope; ops are known by their step here."""

    def __init__(self, problem: Problem, perturbation: Perturbation) -> None:
        self.problem = problem
        self.perturbation = perturbation
        self.graph = problem.graph
        self.at = {node: k for k, node in enumerate(problem.nodes)}
        self.number = {name: k + 1 for k, name in enumerate(problem.vendors)}
        count = len(problem.nodes)
        self.ending: list[list[int]] = [[] for _ in range(count)]
        self.covering: dict[int, list[int]] = {}  # step → candidates of several ops that cover it
        self.tag: dict[int, _Tag] = {}
        self.latest = list(range(count))  # step → last step at which its op may run
        self.takers = [0] * count  # step → mask of the vendors that may take its op
        self.readers: dict[int, list[int]] = {}  # value → the steps that read it
        self.seconds: dict[int, float] = {}
        for index in problem.legal:
            composite = problem[index]
            self.seconds[index] = problem.cost_model.composite(composite)
            last = self.at[composite.nodes[-1]]
            self.tag[index] = _Tag(last, len(self.ending[last]))
            self.ending[last].append(index)
            bit = 1 << self.number[composite.vendor]
            for node in composite.nodes:
                step = self.at[node]
                self.takers[step] |= bit
                if len(composite.nodes) > 1:
                    self.covering.setdefault(step, []).append(index)
                if last > self.latest[step]:
                    self.latest[step] = last

    def build(self) -> SearchSteps | None:
        graph, nodes, readers = self.graph, self.problem.nodes, self.readers
        constants = graph.values.constants
        leave: list[list[int]] = [[] for _ in nodes]  # step → values that are not needed after it
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
        made: list[SearchStep] = []
        starting = self._starting()
        for step, node in enumerate(nodes):
            fresh = [
                v for v in dict.fromkeys(graph.ops.ins[node]) if v in readers and v not in live
            ]
            outs = graph.ops.outs[node]
            everything = [*live, *fresh, *outs]
            position = {v: k for k, v in enumerate(everything)}
            gone = set(leave[step])
            gone.update([v for v in outs if v not in readers])
            kept = [v for v in everything if v not in gone]
            made.append(
                self._step(step, len(fresh), position, kept, starting=starting.get(step, ()))
            )
            live = dict.fromkeys(kept)
        return SearchSteps(made, self.ending)

    def _starting(self) -> dict[int, list[int]]:
        """Step → the candidates of several ops that begin at it."""
        found: dict[int, list[int]] = {}
        for index in self.tag:
            nodes = self.problem[index].nodes
            if len(nodes) > 1:
                found.setdefault(self.at[nodes[0]], []).append(index)
        return found

    def _seen_from(self, step: int, index: int) -> Unfinished:
        last, number = self.tag[index]
        return Unfinished(last - step, number)

    def _all_seen_from(self, step: int, indices: Iterable[int]) -> frozenset[Unfinished]:
        return frozenset([self._seen_from(step, index) for index in indices])

    def _begins(self, step: int, starting: Sequence[int]) -> tuple[Beginning, ...]:
        """The candidates of several ops that begin here, each with those that share an op with it;
        of those with the same ops (several vendors' mostly) the sharing is worked out once.
        """
        found = []
        sharing: dict[tuple[int, ...], frozenset[Unfinished]] = {}
        for index in starting:
            nodes = self.problem[index].nodes
            others = sharing.get(nodes)
            if others is None:
                indices = {i for node in nodes for i in self.covering.get(self.at[node], ())}
                others = sharing[nodes] = self._all_seen_from(step, indices)
            me = self._seen_from(step, index)
            found.append(Beginning(me, others - {me}))
        return tuple(found)

    def _step(
        self,
        step: int,
        fresh: int,
        position: Mapping[int, int],
        kept: Iterable[int],
        *,
        starting: Sequence[int],
    ) -> SearchStep:
        """One step. position: of each live, fresh and made value. kept: values alive after it."""
        problem, cost_model, readers = self.problem, self.problem.cost_model, self.readers
        node = problem.nodes[step]
        inputs, outputs = self.graph.ops.ins[node], self.graph.ops.outs[node]
        fed = cost_model.fused_with(node)
        scale = self.perturbation.scale.get(HOST, 1.0)
        penalty = problem.penalty(HOST, (node,))
        reads = tuple(
            [
                LiveRead(position[v], cost_model.size(v))
                for v in dict.fromkeys(inputs)
                if v in readers
            ]
        )
        return SearchStep(
            fresh=fresh,
            host=HostSeconds(
                alone=cost_model.host(node, False) * scale + penalty,
                fused=cost_model.host(node, True) * scale + penalty,
            ),
            fed=position.get(self.graph.ops.outs[fed][0], NOWHERE) if fed in self.at else NOWHERE,
            reads=reads,
            offers=self._offers(self.ending[step], reads, position),
            begins=self._begins(step, starting),
            covers=self._all_seen_from(step, self.covering.get(step, ())),
            outs=tuple([OpOutput(cost_model.size(v), self._leaves(v)) for v in outputs]),
            keep=tuple(
                [
                    Kept(
                        position[v],
                        self._future(readers[v], step),
                        self._waiting(readers[v], step),
                    )
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
                mask |= self.takers[step]
        return mask

    def _waiting(self, steps: list[int], now: int) -> frozenset[Unfinished] | None:
        """The unfinished candidates that read a value, when no op to come does; else None."""
        if steps[-1] > now:
            return None
        found = {i for s in steps for i in self.covering.get(s, ()) if self.tag[i].last > now}
        return self._all_seen_from(now, found)

    def _offers(
        self,
        ending: list[int],
        own: tuple[LiveRead, ...],
        position: Mapping[int, int],
    ) -> tuple[Offer, ...]:
        """The candidates that end at an op; own: what the op itself reads."""
        problem, cost_model, perturbation = self.problem, self.problem.cost_model, self.perturbation
        found = []
        known: dict[tuple[int, ...], tuple[LiveRead, ...]] = {}
        candidates = problem.candidates.found
        for number, index in enumerate(ending):
            composite = candidates[index]
            nodes, vendor = composite.nodes, composite.vendor
            if len(nodes) == 1:
                reads = own
            else:
                reads = known.get(nodes) or known.setdefault(nodes, self._reads(nodes, position))
            seconds = self.seconds[index]
            if perturbation.scale:
                seconds *= perturbation.scale.get(vendor, 1.0)
            if problem.penalties:
                seconds += problem.penalty(vendor, nodes)
            if perturbation.weight:
                per_byte = perturbation.weight.get(cost_model.processor(vendor), 0.0)
                seconds += per_byte * self._weights(nodes)
            offer = Offer(number, self.number[vendor], seconds, len(nodes) == 1, reads)
            found.append(offer)
        return tuple(found)

    def _reads(self, nodes: tuple[int, ...], position: Mapping[int, int]) -> tuple[LiveRead, ...]:
        """What some nodes read from outside of them."""
        graph, cost_model = self.graph, self.problem.cost_model
        made = {v for n in nodes[:-1] for v in graph.ops.outs[n]}
        values = dict.fromkeys([v for n in nodes for v in graph.ops.ins[n]])
        return tuple(
            [
                LiveRead(position[v], cost_model.size(v))
                for v in values
                if v in self.readers and v not in made
            ]
        )

    def _weights(self, nodes: tuple[int, ...]) -> int:
        """Bytes of the constants that some nodes read."""
        graph, cost_model = self.graph, self.problem.cost_model
        values = {v for n in nodes for v in graph.ops.ins[n] if v in graph.values.constants}
        return sum([cost_model.size(v) for v in values])
