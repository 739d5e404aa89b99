"""As many values as keys: what ONNX asks of Attention and its function body does not check.

The body of Attention expands the values to the length of the keys, so that a single value serves
them all. A node of byoc's own stands before it, made of an Identity, which ONNX's inliner knows::

    Attention(q, k, v)  ──▶  v' = byoc::SameLength(k, v);  Attention(q, k, v')  ──▶  its body
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from byoc.frontends.onnx.nodes import all_nodes, domain_of, inner_graphs, name_of

__all__ = ["hold_lengths", "mark_lengths"]

_PAIRS = ((1, 2), (4, 5))
"""Operands of Attention: keys and values, those of the past."""


def mark_lengths(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Put an Identity before the values of each Attention.

    Args:
        model: The model; it is not changed.

    Returns:
        The model, a copy where it holds any; what each Identity makes → the keys.
    """
    marks: dict[str, str] = {}
    if not any(map(_is_attention, all_nodes(model.graph))):
        return model, marks
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for graph in _graphs(copy.graph):
        for index in reversed(range(len(graph.node))):
            node = graph.node[index]
            for keys, values in _PAIRS if _is_attention(node) else ():
                if len(node.input) <= values or not (node.input[keys] and node.input[values]):
                    continue
                name, made = name_of(node), f"{node.input[values]}__as_keys_{len(marks)}"
                marks[made] = node.input[keys]
                same = onnx.helper.make_node("Identity", [node.input[values]], [made], name=name)
                node.input[values] = made
                graph.node.insert(index, same)
                node = graph.node[index + 1]
    return copy, marks


def hold_lengths(model: onnx.ModelProto, marks: dict[str, str]) -> None:
    """Make checks of the Identities, in place.

    Args:
        model: The model, inlined.
        marks: See `mark_lengths`.
    """
    for node in all_nodes(model.graph) if marks else ():
        if node.op_type == "Identity" and node.output[0] in marks:
            node.op_type, node.domain = "SameLength", "byoc"
            node.input.insert(0, marks[node.output[0]])


def _is_attention(node: onnx.NodeProto) -> bool:
    return node.op_type == "Attention" and not domain_of(node)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for inner in inner_graphs(node):
            yield from _graphs(inner)
