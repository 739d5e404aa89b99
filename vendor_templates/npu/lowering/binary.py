"""Sums and products of two tensors, or of a tensor and constants."""

from __future__ import annotations

from math import prod

import numpy as np

from byoc.errors import CompileError
from byoc.segment import Array, Node
from byoc.vendor_templates.npu.lowering.context import Lowering
from byoc.vendor_templates.npu.lowering.int8_graph import Elementwise
from byoc.vendor_templates.npu.lowering.lookup_tables import table_of
from byoc.vendor_templates.npu.lowering.numerics import pair_scale, sum_constant
from byoc.vendor_templates.npu.lowering.values import (
    Out,
    Params,
    PendingOp,
    Real,
    Shape,
    Stored,
    Value,
    order_of,
)

__all__ = ["binary"]


def binary(low: Lowering, node: Node) -> Value:
    """Lower a sum or product: the operands tell whether it is a bias, a table or elementwise.

    Args:
        low: The segment being lowered.
        node: The op, `add` or `multiply`.

    Raises:
        CompileError: An operand is not quantised.
    """
    left, right = low.value(node, 0), low.value(node, 1)
    if isinstance(left, (Params, np.ndarray)):
        left, right = right, left
    if isinstance(left, PendingOp):
        if isinstance(right, (Params, np.ndarray)) and left.add_bias and node.op == "add":
            return left.add_bias(right)
        raise CompileError(f"{low.where(node)}: an operand is not quantised")
    if not isinstance(left, Real):
        raise CompileError(f"{low.where(node)}: an operand is not quantised")
    shape = low.shape(node.outputs[0])
    if isinstance(right, (Params, np.ndarray)):
        values = right.real if isinstance(right, Params) else right
        if values.size == 1:
            number = float(np.ravel(values)[0])
            if node.op == "add":
                return table_of(low, node, left, lambda x: x + number)
            return table_of(low, node, left, lambda x: x * number)
        right = _constant_tensor(low, node, right, left.stored)
    if not isinstance(right, Real):
        raise CompileError(f"{low.where(node)}: an operand is not quantised")
    if prod(right.stored.shape) > prod(left.stored.shape):
        left, right = right, left
    pair = (left, right)
    return PendingOp(lambda out: _pair(low, node, *pair, shape, out), shape, node=node)


def _constant_tensor(low: Lowering, node: Node, value: Params | Array, like: Stored) -> Real:
    """A constant operand as a tensor of the same shape (or one pixel) in constant memory."""
    if not isinstance(value, Params) or value.scale.size != 1:
        raise CompileError(f"{low.where(node)}: a constant operand needs one scale")
    data = value.data
    least, most = int(data.min()), int(data.max())
    zero = -128 - least if least < -128 else 127 - most if most > 127 else 0
    if least + zero < -128 or most + zero > 127:
        raise CompileError(f"{low.where(node)}: a constant operand spans over 256 steps")
    full = np.broadcast_to(data + zero, like.shape).astype(np.int8)
    memory = full.transpose(order_of(len(like.shape), like.layout))
    stored = low.new(like.shape, like.layout, "int8", 1.0, zero, "constant")
    low.graph.tensors[stored.tensor].data = np.ravel(memory)
    return Real(stored, float(np.ravel(value.scale)[0]), zero)


def _pair(low: Lowering, node: Node, a: Real, b: Real, shape: Shape, out: Out) -> Stored:
    layout = a.stored.layout
    left, right = a.stored, low.in_layout(b.stored, layout)
    y = low.new(shape, layout, out.dtype, out.scale, out.zero, out.source)
    channels = shape[order_of(len(shape), layout)[-1]]
    images = shape[0] if len(shape) >= 3 else 1
    full = prod(right.shape) == prod(shape)
    if not full and (len(right.shape) != len(shape) or prod(right.shape) != images * channels):
        raise CompileError(
            f"{low.where(node)}: {right.shape} does not broadcast over the pixels of {shape}"
        )
    op = Elementwise(
        kind="mul",
        x=left.tensor,
        y=y.tensor,
        images=images,
        pixels=prod(shape) // (images * channels),
        channels=channels,
        b=right.tensor,
        broadcast=not full,
        a_zero=a.zero,
        b_zero=b.zero,
        zero=out.zero,
        lo=out.lo,
        hi=out.hi,
        source=out.source,
    )
    if node.op == "add":
        _sum(low, op, a, b, out)
    else:
        op.m1 = float(pair_scale(a.scale, b.scale, out.scale))
    low.graph.operations.append(op)
    return y


def _sum(low: Lowering, op: Elementwise, a: Real, b: Real, out: Out) -> None:
    """Make `op` a sum. Zero points are in its constant, as they are in ONNX Runtime's."""
    op.kind = "add"
    op.m1, op.m2 = (float(pair_scale(v.scale, 1.0, out.scale)) for v in (a, b))
    # What the device subtracts only takes it from its own int8 to the numbers of the model.
    dtypes = (a.stored.dtype, b.stored.dtype, out.dtype)
    op.a_zero, op.b_zero, op.zero = (-128 if d == "uint8" else 0 for d in dtypes)
    op.c = sum_constant(op.m1, a.zero - op.a_zero, op.m2, b.zero - op.b_zero, out.zero - op.zero)
