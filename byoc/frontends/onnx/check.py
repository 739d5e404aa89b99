"""What an ONNX graph must be before it is walked: sorted, acyclic, of known operators."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]

from byoc.errors import ModelError
from byoc.frontends.onnx.nodes import all_nodes, captured, inner_graphs, name_of, title_of
from byoc.frontends.onnx.operators import known_operator, opaque_operator
from byoc.frontends.onnx.wire import MAX_NODES

__all__ = [
    "check_inputs",
    "check_names",
    "check_operators",
    "check_size",
    "check_text",
    "sort_nodes",
    "unknown_nodes",
]

_PARTS = {
    number: name.lower()
    for name, number in onnx.TensorProto.DataType.items()
    if name.lower().startswith(("int2", "int4", "uint2", "uint4", "float4", "float6"))
}
"""Element types of less than a byte."""


def check_size(graph: onnx.GraphProto, where: str) -> None:
    """Refuse a graph of more nodes than byoc reads, inner graphs included.

    Args:
        graph: The graph.
        where: The model, as messages begin.

    Raises:
        ModelError: There are more than `MAX_NODES` nodes.
    """
    count = sum(1 for _ in islice(all_nodes(graph), MAX_NODES + 1))
    if count > MAX_NODES:
        raise ModelError(f"{where} has more than {MAX_NODES:,} nodes; byoc reads up to so many")


def check_names(graph: onnx.GraphProto, where: str) -> None:
    """Refuse a graph in which a name stands for two things.

    Args:
        graph: The graph.
        where: The model, as messages begin.

    Raises:
        ModelError: Two inputs, or two stored tensors, have one name, or a node makes what is an
            input or stored.
    """
    given = _given(graph, where)
    for node in all_nodes(graph):
        for inner in inner_graphs(node):
            _given(inner, f"{where}: within {title_of(node)}")
    for node in graph.node:
        for output in filter(None, node.output):
            if output in given:
                raise ModelError(
                    f"{where}: {output!r} is an {given[output]}, yet it is made by node "
                    f"{name_of(node)!r}"
                )


def _given(graph: onnx.GraphProto, where: str) -> dict[str, str]:
    """What one graph is given: name → kind."""
    given: dict[str, str] = {}
    kinds = {"input": graph.input, "initializer": graph.initializer}
    for kind, holders in kinds.items():
        for name, count in Counter(holder.name for holder in holders).items():
            if count > 1:
                raise ModelError(f"{where}: the {kind} {name!r} is there twice")
            given[name] = kind
    return given


def unknown_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Nodes without a converter, inner graphs included."""
    for node in graph.node:
        if not known_operator(node):
            yield node
        for attr in node.attribute:
            if attr.type == onnx.AttributeProto.GRAPH:
                yield from unknown_nodes(attr.g)


def check_text(message: Message, where: str) -> None:
    """Refuse a name that is no text: protobuf gives bytes then, and no error.

    Args:
        message: A protobuf message of the model; it is searched with all its parts.
        where: The model, as messages begin.

    Raises:
        ModelError: A name is no text.
    """
    if isinstance(message, onnx.TensorProto):  # to look at its data would be to copy them
        _check_values(message.DESCRIPTOR.fields_by_name["name"], [message.name], where)
        for entry in message.external_data:
            check_text(entry, where)
        return
    for field, value in message.ListFields():
        values = [value] if isinstance(value, (str, bytes, Message)) else value
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in values:
                check_text(inner, where)
        elif field.type == FieldDescriptor.TYPE_STRING:
            _check_values(field, values, where)


def _check_values(field: FieldDescriptor, values: Iterable[str | bytes], where: str) -> None:
    for value in values:
        if isinstance(value, bytes):
            raise ModelError(
                f"{where}: a {field.full_name} is {value!r:.60}, which is no UTF-8 text; the file "
                f"is damaged: get or export it again"
            )


def check_inputs(graph: onnx.GraphProto, where: str) -> None:
    """Refuse an input whose elements are parts of bytes, such as int4.

    Args:
        graph: The graph.
        where: The model, as messages begin.

    Raises:
        ModelError: An input, not stored in the model, has such elements.
    """
    stored = {t.name for t in graph.initializer}
    for info in graph.input:
        kind = _PARTS.get(info.type.tensor_type.elem_type)
        if kind and info.name not in stored:
            readers = [title_of(n) for n in graph.node if info.name in n.input]
            by = f", read by {readers[0]}," if readers else ""
            raise ModelError(
                f"{where}: input {info.name!r}{by} is a tensor of {kind}, whose elements are parts "
                f"of bytes; byoc passes tensors of whole bytes. Store it in the model, or make it "
                f"int8 or uint8 when exporting"
            )


def check_operators(graph: onnx.GraphProto, where: str) -> None:
    """Refuse a graph that has operators nobody knows, listing all of them.

    Args:
        graph: The graph.
        where: The model, as messages begin.

    Raises:
        ModelError: It has some; the message lists them with nodes and counts.
    """
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for node in unknown_nodes(graph):
        if opaque_operator(node):
            continue
        op = f"{node.domain or 'ai.onnx'}::{node.op_type}"
        counts[op] += 1
        first.setdefault(op, node.name or next(iter(node.output), ""))
    if not counts:
        return
    total = sum(counts.values())
    listed = ", ".join(f"{op} ({n}, first at {first[op]!r})" for op, n in counts.most_common())
    raise ModelError(
        f"{where} has {total} of {len(graph.node)} nodes with operators byoc cannot import: "
        f"{listed}. {_advice(counts)}"
    )


def _advice(operators: Iterable[str]) -> str:
    if any(".training::" in op for op in operators):
        return "Export the model for inference"
    return (
        "byoc, and ONNX Runtime with it, know those of ai.onnx, ai.onnx.ml and com.microsoft; an "
        "operator of your own needs a function of its name in the model file"
    )


def sort_nodes(graph: onnx.GraphProto, where: str) -> None:
    """Bring the nodes into an order in which each follows what it reads, when they are not.

    Args:
        graph: The graph, whose nodes are put in order.
        where: The model, as messages begin.

    Raises:
        ModelError: There is a cycle, or two nodes have one output name.
    """
    maker: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for output in filter(None, node.output):
            if output in maker:
                other = graph.node[maker[output]]
                raise ModelError(
                    f"{where}: {output!r} is made by two nodes, "
                    f"{name_of(other)!r} and {name_of(node)!r}"
                )
            maker[output] = index
    reads = ((*node.input, *captured(node)) for node in graph.node)
    needs = [{maker[name] for name in names if name in maker} for names in reads]
    if all(max(n, default=-1) < index for index, n in enumerate(needs)):
        return
    users: dict[int, list[int]] = defaultdict(list)
    for index, n in enumerate(needs):
        for other in n:
            users[other].append(index)
    missing = [len(n) for n in needs]
    ready = [i for i, n in enumerate(missing) if not n][::-1]
    order: list[int] = []
    while ready:
        index = ready.pop()
        order.append(index)
        for user in users[index]:
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    if len(order) < len(missing):
        stuck = [name_of(graph.node[i]) for i, n in enumerate(missing) if n]
        raise ModelError(
            f"{where} has a cycle through {len(stuck)} nodes, among them "
            f"{', '.join(map(repr, stuck[:3]))}"
        )
    nodes = [graph.node[i] for i in order]
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del graph.node[:]
    graph.node.extend(copies)
