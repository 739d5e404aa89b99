"""`Scan` and `Loop` whose number of turns is known, turn by turn::

    Scan    x[0] ─▶ body ─▶ y[0]
                     │ states
            x[1] ─▶ body ─▶ y[1]       y = stack(y[0], y[1], …)

Relax has no such op, and what a turn computes is seen by patterns only when it stands in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.helpers import axes_of, const, is_int
from byoc.ir.arrays import to_numpy

__all__ = ["MAX_NODES", "unroll_loop", "unroll_scan"]

MAX_NODES = 2_000
"""Nodes that all turns of all loops of a model may make; beyond, a loop is kept whole."""

Body = Callable[[Sequence[Any]], Sequence[Any]]
"""One turn: the values of the body's inputs to those of its outputs."""


def unroll_scan(
    builder: Any, node: onnx.NodeProto, inputs: Sequence[Any], opset: int, body: Body
) -> list[Any]:
    """The outputs of a Scan 9 to 25.

    Args:
        builder: Relax's block builder.
        node: The node.
        inputs: Its inputs, Relax values.
        opset: The version of its domain.
        body: Writes one turn.

    Raises:
        ValueError: The number of turns is not known, or too large.
    """
    if opset < 9:
        raise ValueError("before opset 9 it scans batches of different lengths")
    attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    scanned = int(attrs["num_scan_inputs"])
    states, rows = list(inputs[: len(inputs) - scanned]), inputs[len(inputs) - scanned :]
    made = len(node.output) - len(states)
    axes = [
        axes_of([axis], row.ty.ndim)[0]
        for axis, row in zip(attrs.get("scan_input_axes") or [0] * scanned, rows, strict=True)
    ]
    lengths = [row.ty.shape.values[axis] for row, axis in zip(rows, axes, strict=True)]
    if not lengths or not all(map(is_int, lengths)) or len({int(n) for n in lengths}) != 1:
        raise ValueError("how many turns it takes is known only at run time")
    turns = int(lengths[0])
    _check_turns(turns, attrs["body"])
    back = attrs.get("scan_input_directions") or [0] * scanned
    outputs: list[list[Any]] = [[] for _ in range(made)]
    for turn in range(turns):
        parts = [
            _row(builder, row, axis, turns - 1 - turn if backwards else turn)
            for row, axis, backwards in zip(rows, axes, back, strict=True)
        ]
        results = list(body([*states, *parts]))
        states, fresh = results[: len(states)], results[len(states) :]
        for rows_so_far, value in zip(outputs, fresh, strict=True):
            rows_so_far.append(value)
    turned = attrs.get("scan_output_directions") or [0] * made
    along = attrs.get("scan_output_axes") or [0] * made
    stacks = [
        _stack(builder, values[::-1] if backwards else values, axis)
        for values, axis, backwards in zip(outputs, along, turned, strict=True)
    ]
    return [*states, *stacks]


def unroll_loop(builder: Any, node: onnx.NodeProto, inputs: Sequence[Any], body: Body) -> list[Any]:
    """The outputs of a Loop 1 to 25.

    Args:
        builder: Relax's block builder.
        node: The node.
        inputs: Its inputs, Relax values.
        body: Writes one turn.

    Raises:
        ValueError: The number of turns is not known, or too large.
    """
    most = _constant(inputs[0] if inputs else None, "how many turns it takes")
    goes_on = _constant(inputs[1] if len(inputs) > 1 else None, "whether it begins")
    if most is not None and most < 1 << 31:  # others mean: until the condition ends it
        _check_turns(most, next(a.g for a in node.attribute if a.name == "body"))
    states = list(inputs[2:])
    outputs: list[list[Any]] = [[] for _ in range(len(node.output) - len(states))]
    for turn in count():
        if (goes_on is not None and not goes_on) or (most is not None and turn >= most):
            break
        results = list(body([const(turn, np.int64), const(True, np.bool_), *states]))
        condition = results[0]
        goes_on = _constant(condition, "whether it goes on")
        states, fresh = results[1 : len(states) + 1], results[len(states) + 1 :]
        for rows_so_far, value in zip(outputs, fresh, strict=True):
            rows_so_far.append(value)
    return [*states, *(_stack(builder, values, 0) for values in outputs)]


def _check_turns(turns: int, graph: onnx.GraphProto) -> None:
    if turns * len(graph.node) > MAX_NODES:
        raise ValueError(
            f"its {turns} turns would make {turns * len(graph.node):,} nodes; byoc unrolls up to "
            f"{MAX_NODES:,}"
        )


def _constant(value: Any, what: str) -> Any:
    if value is None:
        return None
    if not isinstance(value, GenericConst):
        raise ValueError(f"{what} is computed by the model")
    return to_numpy(value.value).item()


def _row(builder: Any, value: Any, axis: int, turn: int) -> Any:
    """``value[…, turn, …]``."""
    if isinstance(value, GenericConst):
        return const(np.ascontiguousarray(to_numpy(value.value).take(turn, axis)))
    part = builder.normalize(relax.op.strided_slice(value, [axis], [turn], [turn + 1]))
    dims = list(value.ty.shape.values)
    return builder.emit(relax.op.reshape(part, dims[:axis] + dims[axis + 1 :]))


def _stack(builder: Any, values: Sequence[Any], axis: int) -> Any:
    if not values:
        raise ValueError("it takes no turn; what it would have made has no shape")
    if all(isinstance(v, GenericConst) for v in values):
        return const(np.stack([to_numpy(v.value) for v in values], axis))
    (axis,) = axes_of([axis], values[0].ty.ndim + 1)
    wide = [builder.normalize(relax.op.expand_dims(v, axis)) for v in values]
    return builder.emit(relax.op.concat(wide, axis))
