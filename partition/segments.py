"""From nodes of the snapshot to the `Segment` a vendor receives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from byoc.partition.graph import OpGraph
from byoc.partition.match import MatchedComposite
from byoc.segment import Array, Composite, Node, Segment, TensorType

__all__ = ["build_segment"]


def build_segment(
    graph: OpGraph,
    name: str,
    vendor: str,
    nodes: Sequence[int],
    composites: Iterable[MatchedComposite],
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> Segment:
    """Renumber the values of `nodes` from 0: inputs first, then constants and results as met."""
    number: dict[int, int] = {}
    values: list[TensorType] = []
    constants: dict[int, Array] = {}
    types, held = graph.types, graph.constants

    def local(ids: Sequence[int]) -> tuple[int, ...]:
        for value in ids:
            if value not in number:
                kind = types[value]
                assert kind is not None, "the matcher refuses values that are no tensor"
                at = number[value] = len(values)
                values.append(kind)
                if value in held:
                    constants[at] = graph.decoder.array(held[value])
        return tuple([number[value] for value in ids])

    local(inputs)
    found: list[Node] = []
    position: dict[int, int] = {}
    for node in nodes:
        position[node] = len(found)
        reads, writes = local(graph.ins[node]), local(graph.outs[node])
        found.append(Node(graph.op[node], reads, writes, graph.attrs(node), (graph.names[node],)))
    return Segment(
        name=name,
        vendor=vendor,
        values=tuple(values),
        nodes=tuple(found),
        composites=tuple(
            [
                Composite(
                    c.pattern,
                    tuple([position[n] for n in c.nodes]),
                    {part: number[v] for part, v in c.parts.items() if v in number},
                )
                for c in composites
            ]
        ),
        inputs=tuple([number[v] for v in inputs]),
        outputs=tuple([number[v] for v in outputs]),
        constants=constants,
    )
