"""Models of opsets before 7, brought there: any opset goes in, 7 or later comes out.

Until opset 7 arithmetic broadcast by attributes, the second operand alone::

    Add(a [2, 3, 4, 5], b [3, 4], broadcast=1, axis=1)   b is read as [3, 4, 1]
    Add(a [2, 3, 4, 5], b [4, 5], broadcast=1)           as it is

`onnx.version_converter` puts some of these on other axes, or fails on them, and forgets that a
vector of PRelu slopes was the channels'. So it brings a model to opset 6 at most, and the step to 7
is here: besides the broadcasts it drops attributes and renames those of Upsample.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx.version_converter

from byoc.errors import ModelError
from byoc.frontends.context import sentence
from byoc.frontends.onnx.nodes import all_nodes, inner_graphs, title_of

__all__ = ["OLDEST_OPSET", "check_opset"]

OLDEST_OPSET = 7
"""The oldest opset that converters know."""

_BROADCAST = {
    "Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor",
}  # fmt: skip

_DROPPED = {
    "BatchNormalization": ("is_test", "consumed_inputs"),
    "Dropout": ("is_test", "consumed_inputs"),
    "GRU": ("output_sequence",),
    "Gemm": ("broadcast",),
    "LSTM": ("output_sequence",),
    "RNN": ("output_sequence",),
    "Upsample": ("height_scale", "width_scale"),
}
"""Operator → attributes that it has up to opset 6."""


def check_opset(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Bring a model of an older opset to opset 7.

    Args:
        model: The model.
        where: Its name, as messages begin.

    Returns:
        The model itself, or a converted copy where it was older.

    Raises:
        ModelError: The installed onnx does not know the opset, or cannot bring it there.
    """
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    newest = onnx.defs.onnx_opset_version()
    if version > newest:
        raise ModelError(
            f"{where} has opset {version}; the installed onnx {onnx.__version__} knows up to "
            f"{newest}. Install a newer onnx, or export the model for an older opset"
        )
    if not 0 < version < OLDEST_OPSET:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    ranks = _ranks(model)
    _spell_slopes(copy.graph, ranks)
    _spell_broadcasts(copy.graph, ranks, where)
    try:
        if version < OLDEST_OPSET - 1:
            copy = onnx.version_converter.convert_version(copy, OLDEST_OPSET - 1)
    except Exception as error:
        raise ModelError(
            f"{where} has opset {version}, byoc reads {OLDEST_OPSET} and later, and "
            f"onnx.version_converter cannot bring it there: {sentence(error)}. Export the model "
            f"for opset 13 or later"
        ) from None
    for node in all_nodes(copy.graph):
        _modernise(node)
    for opset in copy.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = OLDEST_OPSET
    return copy


def _modernise(node: onnx.NodeProto) -> None:
    """A node of opset 6 as one of 7."""
    given = {a.name: a for a in node.attribute}
    kept = [a for a in node.attribute if a.name not in _DROPPED.get(node.op_type, ())]
    if node.op_type == "Upsample" and "scales" not in given:
        factors = [given[n].f if n in given else 1.0 for n in ("height_scale", "width_scale")]
        kept.append(onnx.helper.make_attribute("scales", [1.0, 1.0, *factors]))
    del node.attribute[:]
    node.attribute.extend(kept)


def _ranks(model: onnx.ModelProto) -> Mapping[str, int]:
    """Value → its number of dimensions, where onnx can tell."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # what onnx cannot infer is unknown
        graph = model.graph
    infos = (*graph.input, *graph.value_info, *graph.output)
    ranks = {
        i.name: len(i.type.tensor_type.shape.dim)
        for i in infos
        if i.type.tensor_type.HasField("shape")
    }
    return {**ranks, **{t.name: len(t.dims) for t in graph.initializer}}


def _spell_broadcasts(graph: onnx.GraphProto, ranks: Mapping[str, int], where: str) -> None:
    """Second operands get the dimensions of 1 that `axis` asks for."""
    nodes = []
    for node in graph.node:
        for inner in inner_graphs(node):
            _spell_broadcasts(inner, ranks, where)
        added = _missing_axes(node, ranks, where) if node.op_type in _BROADCAST else []
        if added:
            name = f"{node.output[0]}/broadcast"
            nodes.append(onnx.helper.make_node("Unsqueeze", [node.input[1]], [name], axes=added))
            node.input[1] = name
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _missing_axes(node: onnx.NodeProto, ranks: Mapping[str, int], where: str) -> list[int]:
    """The axes to add to the node's second operand; its attributes are removed."""
    given = {a.name: a.i for a in node.attribute if a.name in ("broadcast", "axis")}
    kept = [a for a in node.attribute if a.name not in given]
    del node.attribute[:]
    node.attribute.extend(kept)
    axis = given.get("axis")
    if not given.get("broadcast") or axis is None:
        return []
    whole, part = (ranks.get(name, -1) for name in node.input[:2])
    if min(whole, part) < 0:
        raise ModelError(
            f"{where}: {title_of(node)} broadcasts its second operand from axis {axis} on, but how "
            f"many dimensions its operands have is not known; export the model for opset 7 or later"
        )
    first = axis + whole if axis < 0 else axis
    if not 0 <= first <= whole - part:
        raise ModelError(
            f"{where}: {title_of(node)} broadcasts {part} dimensions to {whole} from axis {axis} "
            f"on; they do not fit"
        )
    return list(range(part, whole - first)) if part else []


def _spell_slopes(graph: onnx.GraphProto, ranks: Mapping[str, int]) -> None:
    """A vector of PRelu slopes was the channels': [c] becomes [c, 1, …]."""
    slopes = {n.input[1]: n.input[0] for n in graph.node if n.op_type == "PRelu"}
    for tensor in graph.initializer:
        rank = ranks.get(slopes.get(tensor.name, ""), 0)
        if len(tensor.dims) == 1 and tensor.dims[0] > 1 and rank > 2:
            tensor.dims.extend([1] * (rank - 2))
    inputs = {i.name: i for i in graph.input}
    for tensor in graph.initializer:
        if tensor.name in slopes and tensor.name in inputs:  # IR 3 lists weights as inputs, too
            graph.input.remove(inputs[tensor.name])
            graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
