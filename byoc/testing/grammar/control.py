"""Rules: steps and branches."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from byoc.testing.grammar.core import GraphBuilder, KnownValue, port

__all__ = ["CONTROL"]


def recurrent(b: GraphBuilder) -> None:
    steps, batch, width, hidden = b.dim(1, 4), b.dim(1, 2), b.dim(1, 4), b.dim(1, 3)
    x = b.new_input([steps, batch, width], "float32")
    op, gates = b.pick((("LSTM", 4), ("GRU", 3), ("RNN", 1)))
    way = b.pick(("forward", "forward", "reverse", "bidirectional"))
    ways = 2 if way == "bidirectional" else 1
    w = b.const(b.array([ways, gates * hidden, width], "float32") / 4)
    r = b.const(b.array([ways, gates * hidden, hidden], "float32") / 4)
    inputs = [x, w, r]
    if b.chance(0.5):
        inputs.append(b.const(b.array([ways, 2 * gates * hidden], "float32") / 4))
    attrs: dict[str, Any] = {"linear_before_reset": int(b.chance(0.5))} if op == "GRU" else {}
    b.emit(op, inputs, [steps, ways, batch, hidden], size=1, hidden_size=hidden, direction=way,
           **attrs)  # fmt: skip


def _inner(b: GraphBuilder, prefix: str) -> GraphBuilder:
    return GraphBuilder(b.rng, b.opset, values=list(b.values), prefix=prefix, count=b.count)


def branches(b: GraphBuilder) -> None:
    x = b.find(lambda v: v.dtype == "float32" and v.rank > 0 and v.count > 0, dtype="float32")
    condition = b.new_input([], "bool")
    if b.prefix:
        return
    graphs = []
    for side in ("then", "else"):
        inner = _inner(b, f"{b.fresh(side)}_")
        last = x
        for op in b.pick((["Tanh"], ["Sigmoid", "Neg"], ["Abs", "Sigmoid"])):
            last = inner.emit(op, [last], last.shape, size=max(1.0, x.size))
        if b.chance(0.5):
            bias = inner.const(b.array([1] * x.rank, "float32"))
            last = inner.emit("Add", [last, bias], last.shape, size=x.size + 4)
        port = helper.make_tensor_value_info(last.name, TensorProto.FLOAT, list(last.shape))
        graphs.append(helper.make_graph(inner.nodes, side, [], [port], inner.stored))
    b.emit("If", [condition], x.shape, "float32", size=x.size + 5,
           then_branch=graphs[0], else_branch=graphs[1])  # fmt: skip


def loops(b: GraphBuilder) -> None:
    """state = state / 2 + 1, some times; perhaps every state is a result; it may stop early."""
    if b.prefix:
        return
    x = b.find(lambda v: v.dtype == "float32" and v.rank > 0 and v.count > 0, dtype="float32")
    inner = GraphBuilder(b.rng, b.opset, prefix=f"{b.fresh('loop')}_", count=b.count)
    names = [inner.fresh(n) for n in ("i", "go", "state")]
    state = KnownValue(names[2], "float32", x.shape, False, x.size)
    half = inner.emit("Mul", [state, inner.const(0.5, "float32")], x.shape, size=x.size)
    new = inner.emit("Add", [half, inner.const(1.0, "float32")], x.shape, size=x.size)
    trips, go = b.dim(0, 3), inner.fresh("go")
    if b.chance(0.2):
        last = b.dim(0, 3)
        at = KnownValue(names[0], "int64", (), True, 4)
        inner.emit("Less", [at, inner.const(np.int64(last))], [], "bool", exact=True, size=1)
        go, runs = inner.values[-1].name, min(trips, last + 1)
    else:
        inner.nodes.append(helper.make_node("Identity", [names[1]], [go]))
        runs = trips
    results = [KnownValue(b.fresh("loop"), "float32", x.shape, size=x.size + 3)]
    ports = [_port(go, "bool"), port(new)]
    if b.chance(0.3) and runs:
        seen = inner.emit("Neg", [new], x.shape, size=x.size)
        ports.append(port(seen))
        results.append(KnownValue(b.fresh("loop"), "float32", (runs, *x.shape), size=x.size + 3))
    body = helper.make_graph(
        inner.nodes, "body",
        [_port(names[0], "int64"), _port(names[1], "bool"), port(state)], ports, inner.stored,
    )  # fmt: skip
    count = b.const(np.int64(trips))
    b.many("Loop", [count, b.const(np.array(True)), x], results, body=body)


def scans(b: GraphBuilder) -> None:
    """A running mean over the first axis."""
    if b.prefix:
        return
    x = b.find(lambda v: v.dtype == "float32" and v.rank >= 2 and v.count > 0,
               [b.dim(), b.dim()], "float32")  # fmt: skip
    row, back = x.shape[1:], int(b.chance(0.3))
    inner = GraphBuilder(b.rng, b.opset, prefix=f"{b.fresh('scan')}_", count=b.count)
    state = KnownValue(inner.fresh("state"), "float32", row, size=x.size)
    element = KnownValue(inner.fresh("row"), "float32", row, size=x.size)
    both = inner.emit("Add", [state, element], row, size=x.size)
    new = inner.emit("Mul", [both, inner.const(0.5, "float32")], row, size=x.size)
    seen = inner.emit("Neg", [new], row, size=x.size)
    body = helper.make_graph(
        inner.nodes, "body", [port(state), port(element)], [port(new), port(seen)], inner.stored
    )
    results = [KnownValue(b.fresh("scan"), "float32", row, size=x.size),
               KnownValue(b.fresh("scan"), "float32", x.shape, size=x.size)]  # fmt: skip
    start = b.const(b.array(row, "float32"))
    b.many("Scan", [start, x], results, body=body, num_scan_inputs=1,
           scan_input_directions=[back])  # fmt: skip


def _port(name: str, dtype: str) -> onnx.ValueInfoProto:
    return port(KnownValue(name, dtype, ()))


CONTROL = (recurrent, recurrent, branches, branches, loops, scans)
