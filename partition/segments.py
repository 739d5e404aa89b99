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

    def local(value: int) -> int:
        found = number.get(value)
        if found is None:
            found = number[value] = len(values)
            kind = graph.type(value)
            assert kind is not None, "the matcher refuses values that are no tensor"
            values.append(kind)
            array = graph.array(value)
            if array is not None:
                constants[found] = array
        return found

    for value in inputs:
        local(value)
    found: list[Node] = []
    position: dict[int, int] = {}
    for node in nodes:
        position[node] = len(found)
        seen = graph.node(node)
        found.append(
            Node(
                seen.op,
                tuple([local(v) for v in seen.inputs]),
                tuple([local(v) for v in seen.outputs]),
                seen.attrs,
                seen.source,
            )
        )
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
