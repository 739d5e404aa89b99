"""Functions of one value: a clamp where they follow a product, else a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from byoc.errors import CompileError
from byoc.segment import Array, Node
from byoc.vendor_templates.npu.lowering.context import Lowering
from byoc.vendor_templates.npu.lowering.int8_graph import Elementwise
from byoc.vendor_templates.npu.lowering.table_functions import FUNCTIONS, make_table
from byoc.vendor_templates.npu.lowering.values import Out, PendingOp, Real, Stored, Value

__all__ = ["look_up", "table_of", "unary"]


def unary(low: Lowering, node: Node) -> Value:
    """Lower a function of one value: a clamp of the op that is pending, else a lookup table.

    Args:
        low: The segment being lowered.
        node: The op, one of `FUNCTIONS`.

    Raises:
        CompileError: The input is not quantised.
    """
    found = low.value(node, 0)
    attrs = {**node.attrs, **_clip_bounds(low, node)}
    if isinstance(found, PendingOp):
        bounds = (0.0, np.inf) if node.op == "nn.relu" else None
        if node.op == "clip":
            bounds = (float(attrs["min"]), float(attrs["max"]))
        if bounds is None:
            raise CompileError(f"{low.where(node)}: {node.op} needs a quantised input")
        # Quantisation is monotonic: clamping before it and after it are the same.
        return replace(
            found,
            lo=min(max(found.lo, bounds[0]), bounds[1]),
            hi=max(min(found.hi, bounds[1]), bounds[0]),
        )
    return table_of(low, node, low.real(node, 0), lambda x: FUNCTIONS[node.op](x, attrs))


def table_of(low: Lowering, node: Node, x: Real, function: Callable[[Any], Any]) -> PendingOp:
    """Return a table that applies a function, pending until its result is quantised.

    Args:
        low: The segment being lowered.
        node: The op that asks for it.
        x: The dequantised input.
        function: From an array of real values to real values.
    """

    def finish(out: Out) -> Stored:
        table = make_table(function, x.scale, x.zero, out.scale, out.zero)
        table = np.clip(table, out.lo, out.hi).astype(np.int8)
        return look_up(low, x.stored, table, out)

    return PendingOp(finish, x.stored.shape, node=node)


def look_up(low: Lowering, x: Stored, table: Array, out: Out) -> Stored:
    """Return the tensor that a table makes of x; it shares the bytes of x when nothing changes.

    Args:
        low: The segment being lowered.
        x: The bytes to look up.
        table: The result of each value from -128 to 127: int8[256].
        out: What the result's quantize asks for.
    """
    y = low.new(x.shape, x.layout, out.dtype, out.scale, out.zero, out.source)
    if (table == np.arange(-128, 128)).all():  # the same steps: the same bytes
        low.graph.tensors[y.tensor].base = x.tensor
        return y
    low.graph.operations.append(
        Elementwise(
            kind="lookup",
            x=x.tensor,
            y=y.tensor,
            images=1,
            pixels=1,
            channels=prod(x.shape),
            table=table,
            source=out.source,
        )
    )
    return y


def _clip_bounds(low: Lowering, node: Node) -> dict[str, Any]:
    if node.op != "clip" or "min" in node.attrs:
        return {}
    bounds = [low.segment.constants[v] for v in node.inputs[1:3]]
    return {"min": float(np.ravel(bounds[0])[0]), "max": float(np.ravel(bounds[1])[0])}
