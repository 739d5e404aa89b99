"""Rules: operators that read or write where other values say."""

from __future__ import annotations

import numpy as np
from onnx import helper

from byoc.testing.grammar.core import GraphBuilder, KnownValue

__all__ = ["INDICES"]


def gathers(b: GraphBuilder) -> None:
    x = b.random_value()
    op, axis = b.pick(("Gather", "GatherElements", "GatherND")), b.dim(0, x.rank - 1)
    length = x.shape[axis]
    low = -length if op != "GatherND" else 0
    if op == "Gather":
        dims = [b.dim(1, 3) for _ in range(b.dim(0, 2))]
        at = b.const(b.rng.integers(low, length, dims))
        shape = [*x.shape[:axis], *dims, *x.shape[axis + 1 :]]
        if len(shape) <= 5:
            b.emit(op, [x, at], shape, exact=True, axis=axis)
    elif op == "GatherElements":
        dims = [d if i == axis else b.dim(1, d) for i, d in enumerate(x.shape)]
        at = b.const(b.rng.integers(low, length, dims))
        b.emit(op, [x, at], dims, exact=True, axis=axis)
    else:
        depth, count = b.dim(1, x.rank), b.dim(1, 3)
        places = np.stack([b.rng.integers(0, d, count) for d in x.shape[:depth]], 1)
        b.emit(op, [x, b.const(places)], [count, *x.shape[depth:]], exact=True)


def scatters(b: GraphBuilder) -> None:
    x = b.find(lambda v: v.dtype in ("float32", "int64") and v.rank > 0 and v.count > 0,
               dtype="float32")  # fmt: skip
    if b.chance(0.5):
        axis = b.dim(0, x.rank - 1)
        dims = [b.dim(1, d) for d in x.shape]
        at = np.zeros(dims, np.int64)
        order = b.rng.permutation(x.shape[axis])[: dims[axis]]
        at += order.reshape([-1 if i == axis else 1 for i in range(x.rank)])
        kinds = ["none", "none", "add"] + (["mul", "max", "min"] if b.opset >= 18 else [])
        kind = b.pick(kinds) if b.opset >= 16 else "none"
        attrs = {} if kind == "none" else {"reduction": kind}
        if kind == "mul" and x.size > 1e3:
            return
        updates = b.tensor(dims, x.dtype)
        b.emit("ScatterElements", [x, b.const(at), updates], x.shape,
               exact=kind in ("none", "max", "min"),
               size=x.size * max(1.0, updates.size) if kind == "mul" else x.size + updates.size,
               axis=axis, **attrs)  # fmt: skip
        return
    rows = b.rng.permutation(x.shape[0])[: b.dim(1, x.shape[0])].reshape(-1, 1)
    updates = b.tensor([len(rows), *x.shape[1:]], x.dtype)
    attrs = {"reduction": "add"} if b.opset >= 16 and b.chance(0.3) else {}
    b.emit("ScatterND", [x, b.const(rows), updates], x.shape, exact=not attrs,
           size=x.size + updates.size, **attrs)  # fmt: skip


def one_hot(b: GraphBuilder) -> None:
    at = b.new_input([b.dim(), b.dim()], "int64")
    depth = b.const(np.int64(5))
    b.emit("OneHot", [at, depth, b.const(np.array([0, 1], np.float32))], [*at.shape, 5],
           "float32", exact=True, size=1, axis=-1)  # fmt: skip


def looked_up(b: GraphBuilder) -> None:
    """Rows of a table, as of an embedding; indices are an input."""
    rows = b.dim(10, 12)
    table = b.const(b.array([rows, b.dim()], b.pick(("float32", "float16"))))
    at = b.new_input([b.dim(1, 2), b.dim()], b.pick(("int64", "int32")))
    b.emit("Gather", [table, at], [*at.shape, table.shape[1]], exact=True, axis=0)


def chosen(b: GraphBuilder) -> None:
    """How many elements come out is known at run time only; a sum brings shapes back."""
    x = b.find(lambda v: v.exact and v.dtype == "float32" and v.rank == 2 and v.count > 0,
               [b.dim(), b.dim()], "float32")  # fmt: skip
    if b.chance(0.5):
        at = b.fresh("nonzero")
        b.nodes.append(helper.make_node("NonZero", [x.name], [at], name=at))
        found = KnownValue(at, "int64", (2, 1), True, 8)
        b.emit("ReduceSum", [found, b.ints([1])], [2], exact=True, size=200, keepdims=0)
        return
    zero = b.const(0.0, "float32")
    mask = b.emit("Greater", [x, zero], x.shape, "bool", exact=True, size=1)
    flat = b.emit("Reshape", [mask, b.ints([-1])], [x.count], exact=True)
    kept = b.fresh("compress")
    b.nodes.append(helper.make_node("Compress", [x.name, flat.name], [kept], name=kept))
    some = KnownValue(kept, "float32", (1,), True, x.size)
    b.emit("ReduceSum", [some, b.ints([0])], [1], keepdims=1, size=x.size * x.count)


INDICES = (gathers, gathers, scatters, one_hot, looked_up, chosen)
