"""Which ops are quantised, and what belongs together.

In: a float graph. Out: its *units*. A unit is what an accelerator computes from int8 to int8: an op
with its bias and its activation::

    Conv(+ Relu | Clip)   Gemm(+ Relu)   MatMul(+ Add constant)(+ Relu)   Add(+ Relu)   MaxPool …

Between the ops of a unit nothing is quantised; around it everything is.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from byoc.quantize.graph import OnnxGraph, attributes

__all__ = ["SAME_SCALE", "Unit", "find_units"]

_WEIGHTED = ("Conv", "Gemm", "MatMul")
_PAIRS = ("Add", "Mul")
SAME_SCALE = frozenset({"MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""Ops whose output holds values of their input: it keeps the input's scale."""
_PLAIN = SAME_SCALE | {
    "AveragePool", "Concat", "Elu", "Gelu", "GlobalAveragePool", "LeakyRelu", "Relu", "Clip",
    "Sigmoid", "Tanh",
}  # fmt: skip
_ACTIVATIONS = ("Relu", "Clip")


@dataclass(frozen=True)
class Unit:
    """Nodes that are quantised as one.

    Attributes:
        nodes: In order; the first is the op proper.
        data: Inputs to quantise.
        weight: Name of the constant weight, or None.
        bias: Name of the constant bias, or None.
        axis: Of the weight's output channels.

    """

    nodes: tuple[onnx.NodeProto, ...]
    data: tuple[str, ...]
    weight: str | None = None
    bias: str | None = None
    axis: int = 0

    @property
    def name(self) -> str:
        """Name of the first node."""
        return str(self.nodes[0].name)

    @property
    def output(self) -> str:
        """Name of the tensor that the last node gives."""
        return str(self.nodes[-1].output[0])


def find_units(graph: OnnxGraph) -> list[Unit]:
    """Find every unit of a graph, in order; what is in none stays float."""
    _, consumers = graph.index()
    taken: set[str] = set()
    units: list[Unit] = []

    def follower(node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The only reader of a node's result, if nobody else needs it."""
        readers = consumers[node.output[0]]
        if len(readers) != 1 or node.output[0] in graph.outputs:
            return None
        return readers[0]

    for node in graph.nodes:
        if node.name in taken:
            continue
        unit = _start(graph, node)
        if unit is None:
            continue
        nodes = [node]
        bias = unit.bias
        after = follower(node)
        if node.op_type == "MatMul" and after is not None and after.op_type == "Add":
            other = [i for i in after.input if i != node.output[0]]
            constant = graph.constants.get(other[0]) if other else None
            if constant is not None and constant.ndim <= 1:
                nodes.append(after)
                bias = other[0]
                after = follower(after)
        fuses = node.op_type in (*_WEIGHTED, *_PAIRS)
        if fuses and after is not None and after.op_type in _ACTIVATIONS:
            nodes.append(after)
        taken.update(n.name for n in nodes)
        units.append(Unit(tuple(nodes), unit.data, unit.weight, bias, unit.axis))
    return units


def _start(graph: OnnxGraph, node: onnx.NodeProto) -> Unit | None:
    """The unit that begins with a node, without what follows."""
    kind = node.op_type
    if kind in _WEIGHTED:
        weight = graph.constants.get(node.input[1])
        if weight is None or node.input[0] in graph.constants:
            return None
        if kind == "MatMul" and weight.ndim != 2:
            return None
        if kind == "Gemm":
            given = attributes(node)
            plain = given.get("alpha", 1.0) == 1.0 and given.get("beta", 1.0) == 1.0
            if not plain or given.get("transA", 0):
                return None
        axis = 0
        if kind == "MatMul" or (kind == "Gemm" and not attributes(node).get("transB", 0)):
            axis = 1
        bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
        if bias is not None and bias not in graph.constants:
            return None
        return Unit((node,), (node.input[0],), node.input[1], bias, axis)
    if kind in _PAIRS:
        if any(name in graph.constants for name in node.input):
            return None
        return Unit((node,), tuple(node.input))
    if kind in _PLAIN:
        data = tuple(node.input) if kind == "Concat" else (node.input[0],)
        if len(node.output) > 1 or any(name in graph.constants for name in data):
            return None
        return Unit((node,), data)
    return None
