"""Quantised models: each reader has its own dequantize.

    d = dequantize(q); conv(d); add(d, …)  →  conv(dequantize(q)); add(dequantize(q), …)

A vendor computes an op on integers together with the quantisation around it; a dequantize that two
ops share would belong to neither. It costs nothing: a host kernel takes its own copy in, too.
Exporters and merging of duplicates share them, so this comes last.
"""

from __future__ import annotations

from tvm.ir import Call

from byoc.frontends.normalise.graph import Graph, GraphNode, expression, swap

__all__ = ["spread_dequantize"]


def spread_dequantize(graph: Graph) -> None:
    """Give every reader of a dequantize one of its own, in place; inner graphs included."""
    for node in graph.order():
        for branch in node.branches:
            spread_dequantize(branch)
        if node.op != "dequantize":
            continue
        readers = list(node.users)
        for reader in readers if graph.is_result(node) else readers[1:]:
            _detach(graph, node, reader)


def _detach(graph: Graph, node: GraphNode, reader: GraphNode) -> None:
    """Let one reader read a copy of `node`."""
    graph.current = node  # the copy stands where the node stands and has its name
    copy = graph.emit(Call(node.call.op, [expression(a) for a in node.args], node.attrs))
    graph.current = None
    reader.args = [swap(a, node, copy) for a in reader.args]
    copy.users[reader] = None
    node.users.pop(reader, None)
