"""Operators that TVM's own TFLite importer expresses well enough, each proved by a test.

TVM's converter sees the operator as one of floats: what is quantised around it is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byoc.frontends.context import Converter
from byoc.frontends.tflite.context import TfliteContext

__all__ = ["STOCK"]

_PROVED = (
    "CONV_3D",
    "REVERSE_SEQUENCE",
    "SEGMENT_SUM",
)


def _convert(c: TfliteContext) -> Any:
    from tvm.relax.frontend.tflite import tflite_frontend as stock

    graph = c.file.table.Subgraphs(c.subgraph.index)
    table = stock.ExprTable()
    for i in range(len(c)):
        if c.has(i) and (c.constant(i) is None or c.tensor(i).quantisation is not None):
            index = c.operator.inputs[i]
            table.set_expr(stock.get_tensor_name(graph, index), c.emit(c.real(i)), True)
    converter = stock.OperatorConverter(c.file.table, graph, table, c.builder)
    plain = converter.get_tensors

    def without_quantisation(indices: Any) -> Any:
        tensors = plain(indices)
        for tensor in tensors:
            tensor.qnn_params = None
        return tensors

    converter.get_tensors = without_quantisation
    return converter.convert_map[c.operator.name](op=c.operator.table)


STOCK: Mapping[str, Converter] = dict.fromkeys(_PROVED, _convert)
