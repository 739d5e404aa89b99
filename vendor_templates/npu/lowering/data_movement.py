"""Concat, reshapes, and the transposition of weights: no arithmetic, at most new scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from byoc.errors import CompileError
from byoc.segment import Node
from byoc.vendor_templates.npu.lowering.context import Lowering
from byoc.vendor_templates.npu.lowering.int8_graph import Concat
from byoc.vendor_templates.npu.lowering.lookup_tables import look_up
from byoc.vendor_templates.npu.lowering.table_functions import make_table
from byoc.vendor_templates.npu.lowering.values import (
    Out,
    Params,
    PendingOp,
    Stored,
    Value,
    order_of,
)

__all__ = ["concat", "permute", "reshape"]


def concat(low: Lowering, node: Node) -> Value:
    """Lower a concatenation; an input whose scale differs from the result's goes through a table.

    Args:
        low: The segment being lowered.
        node: The op, `concat`.

    Returns:
        The concatenation, pending until its result is quantised.

    Raises:
        CompileError: An input is not quantised.
    """
    parts = [low.real(node, i) for i in range(len(node.inputs))]
    shape = low.shape(node.outputs[0])
    axis = int(node.attrs["axis"]) % len(shape)

    def finish(out: Out) -> Stored:
        layout = parts[0].stored.layout
        order = order_of(len(shape), layout)
        at = order.index(axis)
        rows = prod(shape[a] for a in order[:at])
        pieces = []
        for part in parts:
            stored = low.in_layout(part.stored, layout)
            table = make_table(lambda v: v, part.scale, part.zero, out.scale, out.zero)
            table = np.clip(table, out.lo, out.hi).astype(np.int8)
            same = (table == np.arange(-128, 128)).all()
            run = prod(stored.shape) // rows
            pieces.append((stored.tensor, run, None if same else table))
        y = low.new(shape, layout, out.dtype, out.scale, out.zero, out.source)
        low.graph.operations.append(Concat(tuple(pieces), y.tensor, rows, out.source))
        return y

    return PendingOp(finish, shape, node=node)


def reshape(low: Lowering, node: Node) -> Value:
    """Lower a reshape: the same bytes, and a table when the scale changes.

    Args:
        low: The segment being lowered.
        node: The op.

    Returns:
        The reshaped constant, or the reshape pending until its result is quantised.

    Raises:
        CompileError: The input is not quantised.
    """
    found = low.value(node, 0)
    shape = low.shape(node.outputs[0])
    if isinstance(found, Params):
        scale = np.broadcast_to(found.scale, found.data.shape).reshape(shape)
        return Params(found.data.reshape(shape), scale)
    x = low.real(node, 0)

    def finish(out: Out) -> Stored:
        flat = replace(low.in_layout(x.stored, "last"), shape=shape)
        table = make_table(lambda v: v, x.scale, x.zero, out.scale, out.zero)
        return look_up(low, flat, np.clip(table, out.lo, out.hi), out)

    return PendingOp(finish, shape, node=node)


def permute(low: Lowering, node: Node) -> Value:
    """Lower a transpose, of weights only: a tensor has the order that its readers want.

    Args:
        low: The segment being lowered.
        node: The op, `permute_dims`.

    Raises:
        CompileError: The input is not constant.
    """
    found = low.value(node, 0)
    if not isinstance(found, Params):
        raise CompileError(f"{low.where(node)}: only weights can be transposed")
    axes: Sequence[int] | None = node.attrs.get("axes")
    scale = np.broadcast_to(found.scale, found.data.shape)
    return Params(found.data.transpose(axes), scale.transpose(axes))
