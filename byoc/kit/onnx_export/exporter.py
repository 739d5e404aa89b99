"""The one ONNX exporter, and the one answer to "can this node be written as ONNX?".

In: a match, or a segment. Out: a reason to refuse it, or a model. Both run the same function per
op: `refusal` emits into a scratch context and throws the nodes away, so what a check accepts is
what the export writes. Nothing is copied but small shape constants; weights become initialisers,
inline or as external data beside the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from byoc.errors import CompileError
from byoc.kit.foreign_op import OP
from byoc.kit.onnx_export.context import Export, ExportContext, Unsupported
from byoc.kit.onnx_export.foreign import boxed_types, embed, rename_value
from byoc.kit.onnx_export.ops import EXPORTS
from byoc.segment import Node, Segment, TensorType
from byoc.support.dtypes import numpy_dtype

if TYPE_CHECKING:
    import onnx

    from byoc.vendor import Match

__all__ = ["EXPORTABLE", "OPSET", "refusal", "segment_to_onnx"]

OPSET = 20
IR_VERSION = 9  # what opset 20 came with

EXPORTABLE: frozenset[str] = frozenset(EXPORTS)
"""Relax ops (without "relax.") that have an exporter."""

_DTYPES = frozenset(
    {"bfloat16", "bool", "float16", "float32", "float64", "int32", "int64", "int8", "uint8"}
)


_ELEMENTS = {"float32": "float", "float64": "double"}
"""Dtypes that ONNX spells in its own way."""


def refusal(match: Match, own: Mapping[str, Export] = MappingProxyType({})) -> str | None:
    """Say why a match cannot be written as ONNX.

    Args:
        match: What a pattern matched; only types and attributes are looked at, no weights.
        own: Relax op → how an engine wants it written, instead of the usual way.

    Returns:
        One sentence, or None when it can be written.

    """
    for node in match.nodes:
        if node.op not in EXPORTS:
            return f"{node.op} has no ONNX form"
        for value in (*node.inputs, *node.outputs):
            if match.type(value).dtype not in _DTYPES:
                return f"{node.op}: ONNX export does not cover dtype {match.type(value).dtype}"
        scratch = ExportContext(match.type, lambda value: None)
        try:
            export = own.get(node.op, EXPORTS[node.op])
            export(scratch, node, [f"v{value}" for value in node.inputs])
        except Unsupported as reason:
            return f"{node.op}: {reason}"
        except KeyError as missing:
            return f"{node.op}: attribute {missing} is not known"
        types = {f"v{value}": match.type(value).dtype for value in node.inputs}
        types.update((name, str(array.dtype)) for name, array in scratch.initializers.items())
        for made in scratch.nodes:
            wrong = _wrong_type(made, types)
            if wrong is not None:
                return f"{node.op}: {wrong}"
    return None


def _wrong_type(node: onnx.NodeProto, types: dict[str, str]) -> str | None:
    """Why ONNX does not allow one of the node's inputs, where their dtypes are known.

    types: name → dtype; takes up the outputs that are of the type of an input.
    """
    bound: dict[str, str] = {}
    inputs, outputs = _ports(node.op_type)
    for index, name in enumerate(node.input if inputs else ()):
        dtype = types.get(name)
        letter, allowed = inputs[min(index, len(inputs) - 1)]
        if dtype is None:
            continue
        if allowed and _ELEMENTS.get(dtype, dtype) not in allowed:
            return f"ONNX has no {node.op_type} of {dtype}"
        bound.setdefault(letter, dtype)
    types.update((n, bound[t]) for n, t in zip(node.output, outputs, strict=False) if t in bound)
    return None


@cache
def _ports(op: str) -> tuple[tuple[tuple[str, frozenset[str]], ...], tuple[str, ...]]:
    """(type's letter, element types allowed) of the inputs of an operator of `OPSET`, and the
    letters of its outputs.
    """
    import onnx

    schema = onnx.defs.get_schema(op, OPSET, "")
    inputs = tuple(
        (p.type_str, frozenset(t.removeprefix("tensor(").removesuffix(")") for t in p.types))
        for p in schema.inputs
    )
    return inputs, tuple(p.type_str for p in schema.outputs)


def segment_to_onnx(
    segment: Segment, opset: int = OPSET, own: Mapping[str, Export] = MappingProxyType({})
) -> onnx.ModelProto:
    """Write a segment as an ONNX model, inputs ``i0, i1, …``, outputs ``o0, o1, …``.

    Args:
        segment: The segment.
        opset: Version for the opaque nodes in it (see `byoc.kit.onnx_export.foreign`); all others
            are written as opset 20 has them.
        own: Relax op → how an engine wants it written, instead of the usual way.

    Returns:
        The model, its weights as initialisers.

    Raises:
        CompileError: A node has no ONNX form; segment and node are named.

    """
    from onnx import helper, numpy_helper

    names: dict[int, str] = {value: f"i{k}" for k, value in enumerate(segment.inputs)}
    context = ExportContext(segment.type, segment.constants.get)
    for value in segment.constants:
        names[value] = f"w{value}"
    for node in segment.nodes:
        given = [names[value] for value in node.inputs]
        made = _export(segment, context, node, given, own.get(node.op, EXPORTS.get(node.op)))
        names.update(zip(node.outputs, made, strict=True))
    outputs = [f"o{k}" for k in range(len(segment.outputs))]
    boxed = boxed_types(segment)
    for name, value in zip(outputs, segment.outputs, strict=True):
        if value in boxed:  # Identity takes sequences from opset 14, optional values from 16
            rename_value(context.nodes, names[value], name)
        else:
            context.nodes.append(helper.make_node("Identity", [names[value]], [name]))

    arrays = {f"w{value}": array for value, array in segment.constants.items()}
    arrays.update(context.initializers)
    read = {name for node in context.nodes for name in node.input}
    graph = helper.make_graph(
        context.nodes,
        "segment",  # no name of the model: what engines build from it is kept by its content
        [_port(f"i{k}", segment.type(v), boxed.get(v)) for k, v in enumerate(segment.inputs)],
        [
            _port(n, segment.type(v), boxed.get(v))
            for n, v in zip(outputs, segment.outputs, strict=True)
        ],
        [
            # ascontiguousarray makes a vector of a scalar
            numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
            for name, array in arrays.items()
            if name in read
        ],
    )
    graph.initializer.extend(context.tensors)
    versions = {**context.opsets, "": opset}
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    ir_version = IR_VERSION
    if opset != OPSET:
        ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)], True)
    return helper.make_model(graph, opset_imports=opsets, ir_version=max(ir_version, 4))


def _export(
    segment: Segment, context: ExportContext, node: Node, inputs: list[str], export: Export | None
) -> list[str]:
    if node.op == OP:
        return embed(context, node, inputs)
    reason = f"{node.op} has no ONNX form"
    if export is not None:
        try:
            made = export(context, node, inputs)
        except Unsupported as unsupported:
            reason = f"{node.op}: {unsupported}"
        else:
            return [made] if isinstance(made, str) else list(made)
    where = f" ({', '.join(node.source)})" if node.source else ""
    raise CompileError(f"segment {segment.name!r}{where}: cannot be written as ONNX: {reason}")


def _port(name: str, ty: TensorType, boxed: onnx.TypeProto | None) -> onnx.ValueInfoProto:
    import onnx
    from onnx import helper

    if boxed is not None:
        return onnx.ValueInfoProto(name=name, type=boxed)
    element = helper.np_dtype_to_tensor_dtype(numpy_dtype(ty.dtype))
    return helper.make_tensor_value_info(name, element, list(ty.shape))
