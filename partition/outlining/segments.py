"""From ops of the snapshot to the `Segment` a vendor receives.

A segment knows nothing of TVM or of the graph it comes from: values are renumbered from 0, and
constants are arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from byoc.partition.matching.match import MatchedComposite
from byoc.partition.snapshot.graph import OpGraph
from byoc.segment import Array, Composite, Node, Segment, TensorType

__all__ = ["build_segment"]


def build_segment(
    graph: OpGraph,
    nodes: Sequence[int],
    *,
    name: str,
    vendor: str,
    composites: Iterable[MatchedComposite],
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> Segment:
    """Make the `Segment` that a vendor receives, of ops of the snapshot.

    Values are renumbered from 0: inputs first, then constants and results as they are met.

    Args:
        graph: snapshot of the function.
        nodes: the ops, in topological order.
        name: of the segment.
        vendor: who compiles it.
        composites: the matches its ops belong to.
        inputs: values it takes, in order; may repeat, and need not all be read.
        outputs: values it returns, in order.
    """
    number: dict[int, int] = {}
    values: list[TensorType] = []
    constants: dict[int, Array] = {}
    types, held = graph.values.types, graph.values.constants

    def add(value: int) -> None:
        kind = types[value]
        assert kind is not None, "the matcher refuses values that are no tensor"
        at = number[value] = len(values)
        values.append(kind)
        if value in held:
            constants[at] = graph.decoder.array(held[value])

    for value in inputs:
        if value not in number:
            add(value)
    found: list[Node] = []
    position: dict[int, int] = {}
    for node in nodes:
        position[node] = len(found)
        ins, outs = graph.ops.ins[node], graph.ops.outs[node]
        for value in ins:
            if value not in number:
                add(value)
        for value in outs:
            add(value)
        found.append(
            Node(
                graph.ops.kind[node],
                tuple([number[v] for v in ins]),
                tuple([number[v] for v in outs]),
                graph.attrs(node),
                (graph.ops.names[node],),
            )
        )
    names: dict[int, str] = {}
    for value in (*inputs, *outputs):
        producer = graph.values.producer[value]
        if producer >= 0:
            made = graph.ops.outs[producer]
            part = f":{made.index(value)}" if len(made) > 1 and value in made else ""
            names[number[value]] = graph.ops.names[producer] + part
        else:
            name_of_input = getattr(graph.values.typed_by[value], "name", None)
            if name_of_input is not None:
                names[number[value]] = str(name_of_input)
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
        names=names,
    )
