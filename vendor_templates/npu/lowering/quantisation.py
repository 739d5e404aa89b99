"""Quantize and dequantize: where bytes become reals and pending floats become bytes."""

from __future__ import annotations

import numpy as np

from byoc.errors import CompileError
from byoc.segment import Node
from byoc.vendor_templates.npu.lowering.context import Lowering
from byoc.vendor_templates.npu.lowering.lookup_tables import table_of
from byoc.vendor_templates.npu.lowering.numerics import quantize_array
from byoc.vendor_templates.npu.lowering.values import Out, Params, PendingOp, Real, Stored, Value

__all__ = ["dequantize", "quantize"]


def dequantize(low: Lowering, node: Node) -> Value:
    """Lower a dequantisation: bytes seen through a scale, or a constant of real numbers.

    Args:
        low: The segment being lowered.
        node: The op, `dequantize`, with the value, the scale and the zero point as inputs.

    Raises:
        CompileError: The value is neither on the device nor constant.
    """
    source = low.values.get(node.inputs[0])
    if isinstance(source, Stored):
        return Real(source, *_scale_zero(low, node))
    data = low.segment.constants.get(node.inputs[0])
    if data is None:
        raise CompileError(f"{low.where(node)}: what is dequantised is not on the device")
    scale, zero = (low.segment.constants[v] for v in node.inputs[1:3])
    axis = int(node.attrs.get("axis", -1))
    spread = [1] * data.ndim
    if np.size(scale) > 1:
        spread[axis] = np.size(scale)
    shaped = np.reshape(scale, spread if data.ndim else ()).astype(np.float64)
    zeros = np.asarray(zero, np.int64)
    zeros = zeros.reshape(spread) if zeros.size > 1 else zeros.reshape(())
    return Params(data.astype(np.int64) - zeros, shaped)


def quantize(low: Lowering, node: Node) -> Value:
    """Lower a quantisation: the op that waited for it gets its scale, zero point and clamp.

    An input of the segment that is quantised becomes a tensor that the host fills.

    Args:
        low: The segment being lowered.
        node: The op, `quantize`.

    Raises:
        CompileError: What is quantised is not on the device.
    """
    scale, zero = _scale_zero(low, node)
    kind = low.segment.type(node.outputs[0])
    shape = low.shape(node.outputs[0])
    source = node.inputs[0]
    name = node.source[0] if node.source else ""
    if source in low.segment.inputs and source not in low.values:
        key = (source, scale, zero, kind.dtype)
        if key not in low.fed:
            stored = low.new(shape, low.default, kind.dtype, scale, zero, name)
            low.fed[key] = stored
            argument = low.segment.inputs.index(source)
            low.border(low.graph.feeds, stored, argument, "float32", scale, zero)
        return low.fed[key]
    found = low.values.get(source)
    if isinstance(found, Real):
        found = table_of(low, node, found, lambda x: x)
    if not isinstance(found, PendingOp):
        raise CompileError(f"{low.where(node)}: what is quantised is not on the device")
    if found.node is not None and found.node.source:
        name = found.node.source[0]
    lo = -128 if found.lo == -np.inf else int(quantize_array(np.array(found.lo), scale, zero))
    hi = 127 if found.hi == np.inf else int(quantize_array(np.array(found.hi), scale, zero))
    return found.finish(Out(scale, zero, kind.dtype, lo, hi, name))


def _scale_zero(low: Lowering, node: Node) -> tuple[float, int]:
    """Per-tensor scale and device zero point of a quantize or dequantize."""
    scale, zero = (low.segment.constants.get(v) for v in node.inputs[1:3])
    if scale is None or zero is None:
        raise CompileError(f"{low.where(node)}: scale and zero point must be constants")
    if np.ptp(scale) != 0 or np.ptp(zero.astype(np.int64)) != 0:
        raise CompileError(f"{low.where(node)}: an activation needs one scale, found many")
    unsigned = 128 if zero.dtype == np.uint8 else 0
    return float(np.ravel(scale)[0]), int(np.ravel(zero)[0]) - unsigned
