"""Stored tensors whose elements are parts of bytes, as tensors of whole bytes.

In: a model whose weights are of 2 or 4 bits, for DequantizeLinear. Out: the same numbers as int8,
uint8 or float8, which every engine dequantizes alike::

    w int4 [5, -8] ─┐                              w int8 [5, -8] ─┐
    z int4 [1]     ─┴ DequantizeLinear      →      z int8 [1]     ─┴ DequantizeLinear

Anything else that reads such a tensor would compute in its narrow type, which Relax has not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from byoc.errors import ModelError
from byoc.frontends.onnx.nodes import all_nodes, inner_graphs, title_of
from byoc.frontends.onnx.weights import Weights

__all__ = ["widen_parts"]

_TYPES = {"INT2": "INT8", "INT4": "INT8", "UINT2": "UINT8", "UINT4": "UINT8",
          "FLOAT4E2M1": "FLOAT8E4M3FN"}  # fmt: skip

_WIDE: Mapping[int, np.dtype[Any]] = {
    number: onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(_TYPES[name]))
    for name, number in onnx.TensorProto.DataType.items()
    if name in _TYPES
}
"""Element type → the type that holds the same numbers in whole bytes."""


def widen_parts(model: onnx.ModelProto, weights: Weights) -> None:
    """Widen the stored tensors of 2 and 4 bits of a model whose functions are inlined.

    Raises:
        ModelError: Another operator than DequantizeLinear reads one.
    """
    stored = list(_stored(model.graph))
    if not stored:
        return
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in all_nodes(model.graph):
        for name in node.input:
            readers[name].append(node)
    returned = {o.name for o in model.graph.output}
    for name, tensor in stored:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
        others = [n for n in readers[name] if n.op_type != "DequantizeLinear"]
        if others or name in returned:
            by = f"{title_of(others[0])} reads" if others else "the model returns"
            raise ModelError(
                f"{weights.where}: {by} the stored tensor {name!r} of {kind}, whose elements are "
                f"parts of bytes; byoc takes these as weights of DequantizeLinear. Store it as "
                f"{_WIDE[tensor.data_type]}"
            )
        array = weights.read(tensor).astype(_WIDE[tensor.data_type])
        weights.payloads.pop(tensor.name, None)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _stored(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Names and tensors of 2 and 4 bits: initializers and constants, inner graphs included."""
    yield from ((t.name, t) for t in graph.initializer if t.data_type in _WIDE)
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value" and attribute.t.data_type in _WIDE:
                yield node.output[0], attribute.t
        for inner in inner_graphs(node):
            yield from _stored(inner)
