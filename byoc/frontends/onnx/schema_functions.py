"""Operators that ONNX defines by simpler ones, where calls leave out inputs in the middle.

`onnx.inliner` asks for the type of every input of a call, and fails on one that is left out::

    Attention(Q, K, V, "", past_key, past_value)      Type unknown for ""

So the body is asked for here, for the inputs that are there, and becomes a function of the model,
which the inliner takes without looking at types.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx.inliner
import onnx.shape_inference

from byoc.frontends.onnx.nodes import domain_of

__all__ = ["expand_calls"]

_DOMAIN = "byoc.bodies"


def expand_calls(model: onnx.ModelProto, operator: tuple[str, str]) -> onnx.ModelProto:
    """Return the model with the calls of an operator in its graph replaced by their bodies.

    Args:
        model: The model; not changed.
        operator: Domain and name.

    Raises:
        Exception: Whatever onnx raises where it knows no body, or no type of an input.
    """
    versions = {str(o.domain): int(o.version) for o in model.opset_import}
    domain, name = operator
    schema = onnx.defs.get_schema(name, versions[domain], domain)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    types = _types(onnx.shape_inference.infer_shapes(model, data_prop=True).graph)
    for number, node in enumerate(copy.graph.node):
        if (domain_of(node), node.op_type) != operator:
            continue
        given = {a.name for a in node.attribute}
        defaults = [a.default_value for a in schema.attributes.values() if a.name not in given]
        node.attribute.extend(value for value in defaults if value.type)
        body = _body(schema, versions[domain], node, types)
        body.name, body.domain = f"{name}_{number}", _DOMAIN
        del body.opset_import[:]
        body.opset_import.extend(model.opset_import)
        del body.attribute[:]
        body.attribute.extend(a.name for a in node.attribute)
        node.op_type, node.domain = body.name, _DOMAIN
        copy.functions.append(body)
    copy.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))
    found: onnx.ModelProto = onnx.inliner.inline_local_functions(copy)
    return found


def _types(graph: onnx.GraphProto) -> Mapping[str, bytes]:
    """Name of a value → its type, serialised."""
    types = {
        str(v.name): v.type.SerializeToString()
        for v in (*graph.value_info, *graph.input, *graph.output)
    }
    for tensor in graph.initializer:
        kind = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        types[str(tensor.name)] = kind.SerializeToString()
    return types


def _body(
    schema: onnx.defs.OpSchema, version: int, node: onnx.NodeProto, types: Mapping[str, bytes]
) -> onnx.FunctionProto:
    """The newest body that the model's version of the operators may use."""
    absent = onnx.TypeProto().SerializeToString()
    kinds = [types[i] if i else absent for i in node.input]
    known = [v for v in schema.context_dependent_function_opset_versions if v <= version]
    text = schema.get_context_dependent_function_with_opset_version(
        max(known), node.SerializeToString(), kinds
    )
    body = onnx.FunctionProto()
    body.ParseFromString(text)
    return body
