"""An ONNX model evaluated in float64, to tell whose rounding a difference is.

onnx's suite keeps what numpy computed in the type of the test: sums that are 0 come out as 2e-7
(`numpy.fft` of float32), a softmax of float16 rounds at every step. Where an engine differs from
such a number, the same model in double precision says which of them is off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["exact_outputs", "in_double"]

_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16}


def exact_outputs(model: onnx.ModelProto, inputs: Sequence[Any]) -> list[Any]:
    """The model's outputs by onnx's reference evaluator, everything in float64."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(in_double(model))
    stored = {t.name for t in model.graph.initializer}
    names = [i.name for i in model.graph.input if i.name not in stored]
    feeds = {n: _double(v) for n, v in zip(names, inputs, strict=False)}
    return list(evaluator.run(None, feeds))


def in_double(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model whose floating numbers, casts included, are of 64 bits."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _graph_in_double(copy.graph)
    for function in copy.functions:
        _nodes_in_double(function.node)
    return copy


def _graph_in_double(graph: onnx.GraphProto) -> None:
    for info in (*graph.input, *graph.output, *graph.value_info):
        kind = info.type.tensor_type
        if kind.elem_type in _FLOATS:
            kind.elem_type = TensorProto.DOUBLE
    for tensor in graph.initializer:
        _tensor_in_double(tensor)
    _nodes_in_double(graph.node)


def _nodes_in_double(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype", "output_datatype") and attribute.i in _FLOATS:
                attribute.i = TensorProto.DOUBLE
            elif attribute.type == onnx.AttributeProto.TENSOR:
                _tensor_in_double(attribute.t)
            elif attribute.type == onnx.AttributeProto.GRAPH:
                _graph_in_double(attribute.g)
        if node.op_type == "ConstantOfShape" and not node.attribute:
            zero = numpy_helper.from_array(np.zeros(1), "value")
            node.attribute.append(helper.make_attribute("value", zero))


def _tensor_in_double(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in _FLOATS:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _double(value: Any) -> Any:
    array = np.asarray(value)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype) if array.dtype != object else 0
    return array.astype(np.float64) if kind in _FLOATS else value
