"""Rules: operators that bring an axis down: sums, extremes, the first k."""

from __future__ import annotations

import numpy as np

from byoc.testing.grammar.core import INTS, GraphBuilder, KnownValue

__all__ = ["REDUCTIONS"]


def reductions(b: GraphBuilder) -> None:
    x = b.random_float((1, 2, 3, 4))
    op = b.pick(("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare"))
    if op == "Prod" and (x.count > 16 or x.size > 2):
        op = "Mean"
    if x.dtype == "float16" and op in ("SumSquare", "Prod", "L2", "L1", "LogSumExp", "Sum"):
        op = "Max"
    if b.chance(0.1):  # all axes, unnamed
        keep = int(b.chance(0.5))
        if op in ("Mean", "Max", "Min"):
            b.emit(f"Reduce{op}", [x], [1] * x.rank if keep else [], exact=op != "Mean",
                   keepdims=keep)  # fmt: skip
        return
    axes = sorted({int(a) for a in b.rng.integers(0, x.rank, b.dim(1, x.rank))})
    given = [a - x.rank if b.chance(0.3) else a for a in axes]
    keep = int(b.chance(0.5))
    shape = [1 if i in axes else d for i, d in enumerate(x.shape) if keep or i not in axes]
    count = int(np.prod([x.shape[a] for a in axes]))
    size = {"Sum": x.size * count, "L1": x.size * count, "SumSquare": x.size**2 * count,
            "L2": x.size * count, "Prod": 1e2}.get(op, x.size + 5)  # fmt: skip
    name, exact = f"Reduce{op}", op in ("Max", "Min")
    if op == "Sum" or b.opset >= 18:
        b.emit(name, [x, b.ints(given)], shape, exact=exact, size=size, keepdims=keep)
    else:
        b.emit(name, [x], shape, exact=exact, size=size, keepdims=keep, axes=given)


def whole_reductions(b: GraphBuilder) -> None:
    """Sums and extremes of whole numbers."""
    x = b.find(lambda v: v.dtype in INTS and v.rank > 0 and v.count > 0, dtype=b.pick(INTS))
    op = b.pick(("Sum", "Max", "Min")) if x.dtype in ("int64", "int32") else b.pick(("Max", "Min"))
    axis, keep = b.dim(0, x.rank - 1), int(b.chance(0.5))
    shape = [1 if i == axis else d for i, d in enumerate(x.shape) if keep or i != axis]
    if x.size * x.count > 1e6:
        return
    if op == "Sum" or b.opset >= 18:
        b.emit(f"Reduce{op}", [x, b.ints([axis])], shape, exact=True, size=x.size * x.count,
               keepdims=keep)  # fmt: skip
    else:
        b.emit(f"Reduce{op}", [x], shape, exact=True, size=x.size, keepdims=keep, axes=[axis])


def arg_extremes(b: GraphBuilder) -> None:
    x = b.random_float(exact=True)
    if x.dtype == "float16":
        return
    axis, keep = b.dim(0, x.rank - 1), int(b.chance(0.5))
    shape = [1 if i == axis else d for i, d in enumerate(x.shape) if keep or i != axis]
    b.emit(b.pick(("ArgMax", "ArgMin")), [x], shape, "int64", exact=True, size=6,
           axis=axis, keepdims=keep, select_last_index=int(b.chance(0.2)))  # fmt: skip


def running_sum(b: GraphBuilder) -> None:
    kinds = ("float32", "int64", "int32")
    x = b.find(lambda v: v.dtype in kinds and v.rank > 0, dtype=b.pick(kinds))
    axis = b.const(np.int64(b.dim(0, x.rank - 1)))
    b.emit("CumSum", [x, axis], x.shape, exact=x.dtype[0] == "i", size=x.size * max(x.shape),
           exclusive=int(b.chance(0.3)), reverse=int(b.chance(0.3)))  # fmt: skip


def top_k(b: GraphBuilder) -> None:
    shape = [b.dim(2, 5), b.dim(2, 8)]
    array = b.rng.permutation(shape[0] * shape[1]).reshape(shape).astype("float32") / 8
    name = b.fresh("x")
    x = KnownValue(name, "float32", tuple(shape), True, 8)
    if b.prefix:
        x = b.const(array)
    else:
        b.inputs[name] = array
    k, axis = b.dim(1, min(shape)), b.pick((0, 1, -1))
    out = list(shape)
    out[axis] = k
    outs = [
        KnownValue(b.fresh("top"), "float32", tuple(out), True, 8),
        KnownValue(b.fresh("at"), "int64", tuple(out), True, 64),
    ]
    b.many("TopK", [x, b.ints([k])], outs, axis=axis, largest=int(b.chance(0.7)), sorted=1)


REDUCTIONS = (reductions, reductions, whole_reductions, arg_extremes, running_sum, top_k)
