"""What a node is called, what it reads, and what its inner graphs read from outside."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

__all__ = [
    "all_nodes",
    "captured",
    "domain_of",
    "domains",
    "inner_graphs",
    "last_uses",
    "name_of",
    "operator_of",
    "read_names",
    "title_of",
]


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, those of inner graphs after the node that holds them."""
    for node in graph.node:
        yield node
        for inner in inner_graphs(node):
            yield from all_nodes(inner)


def domain_of(node: onnx.NodeProto) -> str:
    """The node's domain; ONNX's own is the empty one."""
    return "" if node.domain == "ai.onnx" else str(node.domain)


def domains(node: onnx.NodeProto) -> Iterator[str]:
    """The domains of the node and of the nodes of its inner graphs."""
    yield domain_of(node)
    for graph in inner_graphs(node):
        for inner in graph.node:
            yield from domains(inner)


def name_of(node: onnx.NodeProto) -> str:
    """The node's name, or that of its first output."""
    return str(node.name or next((o for o in node.output if o), node.op_type))


def title_of(node: onnx.NodeProto) -> str:
    """``node 'name' (Operator)``."""
    return f"node {name_of(node)!r} ({operator_of(node)})"


def operator_of(node: onnx.NodeProto) -> str:
    """The operator, after its domain where it is not ONNX's own."""
    return f"{node.domain}::{node.op_type}" if node.domain else str(node.op_type)


def captured(node: onnx.NodeProto) -> Iterator[str]:
    """Names that the node's inner graphs read from outside (some may be their own)."""
    for graph in inner_graphs(node):
        own = {t.name for t in (*graph.initializer, *graph.input)}
        for inner in graph.node:
            yield from (n for n in (*inner.input, *captured(inner)) if n and n not in own)
            own.update(inner.output)
        yield from (o.name for o in graph.output if o.name not in own)


def read_names(graph: onnx.GraphProto) -> set[str]:
    """Every name that a node, an inner graph or the result reads."""
    read = {name for node in graph.node for name in node.input}
    read.update(name for node in graph.node for name in captured(node))
    read.update(o.name for o in graph.output)
    return read


def last_uses(graph: onnx.GraphProto) -> dict[str, int]:
    """Value → index of the last node that reads it; nothing for those inner graphs may read."""
    last = {name: index for index, node in enumerate(graph.node) for name in node.input}
    inner = {name for node in graph.node for name in captured(node)}
    kept = inner | {o.name for o in graph.output}
    return {name: index for name, index in last.items() if name not in kept}


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in the node's attributes."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        else:
            yield from attribute.graphs
