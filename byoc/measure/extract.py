"""A match as a segment of its own: what a vendor would be given if it got these ops alone."""

from __future__ import annotations

from collections.abc import Mapping

from byoc.segment import Array, Composite, Node, Segment, TensorType
from byoc.vendor import Match

__all__ = ["segment_of_match"]


def segment_of_match(match: Match, vendor: str, name: str, parts: Mapping[str, int]) -> Segment:
    """Make a segment of one composite: values renumbered, outputs are what it does not read itself.

    Args:
        match: where a pattern fits.
        vendor: whose pattern it is.
        name: the segment's.
        parts: the match's named parts as value ids.

    Returns:
        What the vendor would be given if it got these ops alone.
    """
    nodes = match.nodes
    made = {v for node in nodes for v in node.outputs}
    read = {v for node in nodes for v in node.inputs}
    number: dict[int, int] = {}
    values: list[TensorType] = []
    constants: dict[int, Array] = {}

    def add(value: int) -> None:
        if value in number:
            return
        at = number[value] = len(values)
        values.append(match.type(value))
        array = None if value in made else match.constant(value)
        if array is not None:
            constants[at] = array

    inputs = [
        v
        for v in dict.fromkeys([v for node in nodes for v in node.inputs])
        if v not in made and match.constant(v) is None
    ]
    for value in inputs:
        add(value)
    found = []
    for node in nodes:
        for value in (*node.inputs, *node.outputs):
            add(value)
        found.append(
            Node(
                node.op,
                tuple([number[v] for v in node.inputs]),
                tuple([number[v] for v in node.outputs]),
                node.attrs,
                node.source,
            )
        )
    outputs = [v for node in nodes for v in node.outputs if v not in read or v in nodes[-1].outputs]
    composite = Composite(
        match.pattern,
        tuple(range(len(nodes))),
        {part: number[v] for part, v in parts.items() if v in number},
    )
    return Segment(
        name=name,
        vendor=vendor,
        values=tuple(values),
        nodes=tuple(found),
        composites=(composite,),
        inputs=tuple([number[v] for v in inputs]),
        outputs=tuple([number[v] for v in outputs]),
        constants=constants,
    )
