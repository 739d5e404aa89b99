"""Opaque nodes (`byoc.kit.foreign_op`) back to ONNX.

In: a segment with opaque nodes. Out: their ONNX nodes, and the segment cut where the versions of
operators differ. The exporter writes one opset. Nodes that mean the same there are written between
the others; nodes of a version of their own need a model of their own, so a segment may become
several::

    a ─ Add ─ LSTM(14) ─ Relu ─▶        one step: LSTM is the same in opsets 14 and 20
    a ─ Add ─ Upsample(9) ─ Relu ─▶     three steps, run one after the other
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from byoc.kit.foreign_op import OP, boxed_ports, model_of
from byoc.kit.onnx_export.context import ExportContext
from byoc.segment import Node, Segment

if TYPE_CHECKING:
    import onnx

__all__ = ["ExportStep", "boxed_types", "embed", "opsets_of", "rename_value", "steps_of"]


@dataclass(frozen=True, slots=True)
class ExportStep:
    """Part of a segment that one ONNX model can hold: a segment over the same value ids.

    opset: version of ONNX's own operators that its model declares.
    """

    segment: Segment
    opset: int


def embed(context: ExportContext, node: Node, inputs: Sequence[str]) -> list[str]:
    """Write the nodes of an opaque node into a model.

    Args:
        context: The model in the making; takes nodes, initialisers and opsets.
        node: The opaque node.
        inputs: Names that its inputs have in that model.

    Returns:
        Names of its outputs there.

    """
    model = model_of(node.attrs)
    graph = model.graph
    ports = [port.name for port in graph.input]
    rename = _Renaming(context.fresh("opaque") + "/", dict(zip(ports, inputs, strict=True)))
    rename.graph(graph)
    context.nodes.extend(graph.node)
    context.tensors.extend(graph.initializer)
    context.opsets.update(opsets_of(model))
    return [port.name for port in graph.output]


@dataclass(frozen=True)
class _Renaming:
    """New names for the values of a graph and of its inner graphs: those in `table` have one, all
    others get the prefix. Inner graphs may not use a name of an outer one for something else, so
    one table serves all.
    """

    prefix: str
    table: Mapping[str, str]

    def _name(self, name: str) -> str:
        return self.table.get(name, self.prefix + name) if name else ""

    def graph(self, graph: onnx.GraphProto) -> None:
        """Rename in place."""
        for holder in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
            holder.name = self._name(holder.name)
        for tensor in graph.sparse_initializer:
            tensor.values.name = self._name(tensor.values.name)
        for node in graph.node:
            node.name = self._name(node.name)
            node.input[:] = [self._name(n) for n in node.input]
            node.output[:] = [self._name(n) for n in node.output]
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    self.graph(attribute.g)
                for inner in attribute.graphs:
                    self.graph(inner)


def boxed_types(segment: Segment) -> dict[int, onnx.TypeProto]:
    """Return the ONNX types of a segment's values that are no tensors of numbers.

    Args:
        segment: The segment; its opaque nodes know (see `byoc.kit.foreign_op`).

    Returns:
        Value id → type: a sequence, an optional value, a tensor of strings.

    """
    types: dict[int, onnx.TypeProto] = {}
    for node in segment.nodes:
        if node.op == OP and node.attrs["boxes"]:
            graph = model_of(node.attrs).graph
            inputs, outputs = boxed_ports(node.attrs)
            types.update({node.inputs[i]: graph.input[i].type for i in inputs})
            types.update({node.outputs[i]: graph.output[i].type for i in outputs})
    return types


def rename_value(nodes: Sequence[onnx.NodeProto], old: str, new: str) -> None:
    """Rename a value wherever nodes, or graphs inside them, read or write it.

    Args:
        nodes: The nodes; they are changed in place.
        old: The present name.
        new: The name it gets.
    """
    for node in nodes:
        node.input[:] = [new if n == old else n for n in node.input]
        node.output[:] = [new if n == old else n for n in node.output]
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                rename_value(graph.node, old, new)
                for port in graph.output:
                    port.name = new if port.name == old else port.name


def opsets_of(model: onnx.ModelProto) -> dict[str, int]:
    """Return the versions of operators that a model declares: domain → version, "" ONNX's own."""
    return {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}


def steps_of(segment: Segment, opset: int) -> list[ExportStep]:
    """Cut a segment into parts of one opset each.

    Args:
        segment: The segment.
        opset: The version that is preferred.

    Returns:
        The parts in an order in which they can run; the whole segment when one will do.

    """
    parts: list[tuple[int, list[Node]]] = []
    for node in segment.nodes:
        wanted = opset
        if node.op == OP:
            model = model_of(node.attrs)
            own = opsets_of(model).get("", opset)
            wanted = opset if _means_the_same(model.graph.node, own, opset) else own
        if parts and parts[-1][0] == wanted:
            parts[-1][1].append(node)
        else:
            parts.append((wanted, [node]))
    if len(parts) == 1:
        return [ExportStep(segment, parts[0][0])]
    return list(_cut(segment, parts))


def _cut(segment: Segment, parts: Sequence[tuple[int, list[Node]]]) -> Iterator[ExportStep]:
    needed = set(segment.outputs)
    reads: list[Mapping[int, None]] = []
    for _, nodes in parts:
        made = {v for n in nodes for v in n.outputs}
        values = (v for n in nodes for v in n.inputs)
        reads.append({v: None for v in values if v not in made and v not in segment.constants})
    for index, (opset, nodes) in enumerate(parts):
        later = {v for other in reads[index + 1 :] for v in other} | needed
        given = [v for n in nodes for v in n.outputs if v in later]
        used = {v for n in nodes for v in n.inputs}
        held = {v: a for v, a in segment.constants.items() if v in used}
        part = replace(
            segment,
            nodes=tuple(nodes),
            composites=(),
            inputs=tuple(reads[index]),
            outputs=tuple(given),
            constants=held,
        )
        yield ExportStep(part, opset)


def _means_the_same(nodes: Sequence[onnx.NodeProto], own: int, opset: int) -> bool:
    """True when each operator has one definition in both opsets, inner graphs included."""
    import onnx

    for node in nodes:
        if node.domain in ("", "ai.onnx"):
            versions = []
            for version in (own, opset):
                try:
                    versions.append(onnx.defs.get_schema(node.op_type, version, "").since_version)
                except onnx.defs.SchemaError:
                    return False
            if versions[0] != versions[1]:
                return False
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH and not _means_the_same(
                attribute.g.node, own, opset
            ):
                return False
    return True
