"""Segment -> int8 graph: follow floats symbolically from dequantize to quantize.

The nodes are walked once, and each value is bytes, bytes seen through a scale, constants, or a
float op that waits for its quantize (`values`); so nothing float is ever stored, and shared or
repeated dequantizes cost nothing. Each kind of op has its module; the table at the end says which.
"""

from __future__ import annotations

from collections.abc import Mapping

from byoc.segment import Segment
from byoc.vendor_templates.npu.lowering.binary import binary
from byoc.vendor_templates.npu.lowering.context import Lowering, Rule
from byoc.vendor_templates.npu.lowering.data_movement import concat, permute, reshape
from byoc.vendor_templates.npu.lowering.int8_graph import Int8Graph
from byoc.vendor_templates.npu.lowering.lookup_tables import unary
from byoc.vendor_templates.npu.lowering.matrix_products import conv, matmul
from byoc.vendor_templates.npu.lowering.pooling import adaptive_pool, mean, pool
from byoc.vendor_templates.npu.lowering.quantisation import dequantize, quantize
from byoc.vendor_templates.npu.lowering.table_functions import FUNCTIONS

__all__ = ["lower"]


def lower(segment: Segment) -> Int8Graph:
    """Return the int8 graph of a segment whose composites passed the checks of patterns.py.

    Raises:
        CompileError: Something in it cannot be computed; the message names the op.
    """
    return Lowering(segment).run(_RULES)


_RULES: Mapping[str, Rule] = {
    "quantize": quantize,
    "dequantize": dequantize,
    "nn.conv2d": conv,
    "nn.conv1d": conv,
    "matmul": matmul,
    "add": binary,
    "multiply": binary,
    "nn.max_pool2d": pool,
    "nn.avg_pool2d": pool,
    "nn.adaptive_avg_pool2d": adaptive_pool,
    "mean": mean,
    "concat": concat,
    "reshape": reshape,
    "flatten": reshape,
    "squeeze": reshape,
    "expand_dims": reshape,
    "permute_dims": permute,
    **dict.fromkeys(FUNCTIONS, unary),
}
