"""Operators that TVM's own TFLite importer expresses well enough, each proved by a test.

TVM's converter sees the operator as one of floats: what is quantised around it is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byoc.frontends.tflite.call import Call, Converter

__all__ = ["STOCK"]

_PROVED = (
    "CONV_3D",
    "REVERSE_SEQUENCE",
    "SEGMENT_SUM",
)


def _convert(x: Call) -> Any:
    from tvm.relax.frontend.tflite import tflite_frontend as stock

    graph = x.file.table.Subgraphs(x.subgraph.index)
    table = stock.ExprTable()
    for i in range(len(x)):
        if x.has(i) and (x.constant(i) is None or x.tensor(i).quantisation is not None):
            index = x.operator.inputs[i]
            table.set_expr(stock.get_tensor_name(graph, index), x.emit(x.real(i)), True)
    converter = stock.OperatorConverter(x.file.table, graph, table, x.builder)
    plain = converter.get_tensors

    def without_quantisation(indices: Any) -> Any:
        tensors = plain(indices)
        for tensor in tensors:
            tensor.qnn_params = None
        return tensors

    converter.get_tensors = without_quantisation
    return converter.convert_map[x.operator.name](op=x.operator.table)


STOCK: Mapping[str, Converter] = dict.fromkeys(_PROVED, _convert)
