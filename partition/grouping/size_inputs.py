"""Inputs that a segment takes for their sizes alone.

A vendor reads the size of a name off an input that has it as a plain dimension. Behind an op on
the host no input may have it any more, though what the segment computes depends on it::

    x [n, 3, h, w] ── conv, stride 2 ── y [n, 8, (h - 1) // 2 + 1, …] ── host ── z, as y
                                         segment: conv of z, resized to h by w

Then the segment also takes a value that has the name, here ``x``, and no op reads it. Nothing is
copied and no expression is solved for a name: any dimension of the function can be computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from byoc.dims import UNKNOWN, is_name, names
from byoc.partition.snapshot.graph import OpGraph

__all__ = ["SizeInputs", "size_inputs"]


class SizeInputs(NamedTuple):
    """What tells a segment its sizes, beyond what its ops read.

    Attributes:
        values: values to take as further inputs, usually none.
        missing: why a size cannot be told; None where all can.
    """

    values: tuple[int, ...] = ()
    missing: str | None = None


def size_inputs(graph: OpGraph, nodes: Sequence[int]) -> SizeInputs:
    """Find values that have the symbolic dimensions which no input of a segment has.

    A parameter of the function is there before any segment. The result of a `match_cast`, which
    binds names too, comes before every op whose shape has one of them; so a segment that takes it
    still does not wait for itself.

    Args:
        graph: snapshot of the function.
        nodes: ops of the segment, all of one scope.
    """
    if not graph.decoder.symbolic:
        return SizeInputs()
    inside = set(nodes)
    told: set[str] = set()
    used: dict[str, int] = {}
    for node in nodes:
        for value in (*graph.ops.ins[node], *graph.ops.outs[node]):
            kind = graph.values.types[value]
            if kind is None or kind.is_static:
                continue
            if UNKNOWN in kind.shape:
                at_run_time = f"a dimension of {graph.named(node)} is known only at run time"
                return SizeInputs(missing=at_run_time)
            for dim in kind.shape:
                for name in names(dim):
                    used.setdefault(name, node)
            if graph.values.producer[value] not in inside:
                told |= _plain(graph, value)
    wanted = {name: node for name, node in used.items() if name not in told}
    taken: list[int] = []
    candidates = list(_candidates(graph, graph.ops.scope[nodes[0]])) if wanted else []
    while wanted:
        name, node = next(iter(wanted.items()))
        having = [value for value in candidates if name in _plain(graph, value)]
        if not having:
            return SizeInputs(
                missing=f"symbolic dimension {name!r} of {graph.named(node)} is not a dimension "
                "of any input of its segment or of the model"
            )
        best = max(having, key=lambda v: len(_plain(graph, v) & wanted.keys()))
        taken.append(best)
        wanted = {n: at for n, at in wanted.items() if n not in _plain(graph, best)}
    return SizeInputs(tuple(taken))


def _plain(graph: OpGraph, value: int) -> set[str]:
    """The names that are dimensions of a value."""
    kind = graph.values.types[value]
    return set() if kind is None else {dim for dim in kind.shape if is_name(dim)}


def _candidates(graph: OpGraph, scope: int) -> Iterator[int]:
    """The tensors with symbolic dimensions that a segment of a scope could take."""
    cast = [n for n in graph.scopes[scope].nodes if graph.ops.kind[n] == "match_cast"]
    for value in (*_parameters(graph), *(v for n in cast for v in graph.ops.outs[n])):
        kind = graph.values.types[value]
        if kind is not None and not kind.is_static:
            yield value


def _parameters(graph: OpGraph) -> Iterable[int]:
    for param in graph.func.params:
        yield from graph.values.leaves(graph.value_of(param))
