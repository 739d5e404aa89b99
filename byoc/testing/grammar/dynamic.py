"""Rules for graphs whose batch is symbolic: every value is [N, …], right for every N.

`SIZE` is what N is while the graph is made: constants never have it as their first dimension.
"""

from __future__ import annotations

import numpy as np
from onnx import helper

from byoc.testing.grammar.core import GraphBuilder, KnownValue

__all__ = ["DYNAMIC", "SIZE"]

SIZE = 3


def _value(b: GraphBuilder, rank: int | None = None) -> KnownValue:
    """A float value whose first dimension is N."""
    found = [v for v in b.values if v.dtype == "float32" and rank in (None, v.rank)
             and v.rank > 1 and v.shape[0] == SIZE and v.count]  # fmt: skip
    if found and b.chance(0.9):
        return b.pick(found)
    return b.new_input([SIZE, *(b.dim(2, 6) for _ in range((rank or b.dim(2, 4)) - 1))], "float32")


def unary(b: GraphBuilder) -> None:
    x = _value(b)
    op = b.pick(("Relu", "Sigmoid", "Tanh", "Neg", "Erf", "Softplus", "HardSwish", "LeakyRelu"))
    op = "Relu" if op == "HardSwish" and b.opset < 14 else op
    b.emit(op, [x], x.shape, size=x.size + 1)


def binary(b: GraphBuilder) -> None:
    x = _value(b)
    y = b.const(b.array(x.shape[b.dim(1, x.rank) :], "float32"))
    same = [v for v in b.values if v.shape == x.shape and v.dtype == x.dtype]
    if same and b.chance(0.5):
        y = b.pick(same)
    op = b.pick(("Add", "Sub", "Mul", "Max", "Min"))
    b.emit(op, [x, y], x.shape, size=x.size * y.size if op == "Mul" else x.size + y.size)


def product(b: GraphBuilder) -> None:
    x = _value(b)
    w = b.const(b.array([x.shape[-1], b.dim()], "float32") / 4)
    y = b.emit("MatMul", [x, w], [*x.shape[:-1], w.shape[1]], size=x.size * x.shape[-1])
    b.emit("Add", [y, b.const(b.array([w.shape[1]], "float32"))], y.shape, size=y.size + 4)


def dense(b: GraphBuilder) -> None:
    x = _value(b, 2)
    w = b.const(b.array([b.dim(), x.shape[1]], "float32") / 4)
    bias = b.const(b.array([w.shape[0]], "float32"))
    b.emit("Gemm", [x, w, bias], [SIZE, w.shape[0]], size=x.size * x.shape[1] + 4, transB=1)


def convolution(b: GraphBuilder) -> None:
    x = _value(b, 4)
    out, c = b.dim(1, 4), x.shape[1]
    w = b.const(b.array([out, c, 3, 3], "float32") / (9 * c))
    y = b.emit("Conv", [x, w], [SIZE, out, *x.shape[2:]], size=x.size * 4, pads=[1, 1, 1, 1])
    if b.chance(0.5):
        b.emit("Relu", [y], y.shape)
    elif b.chance(0.5):
        b.emit("GlobalAveragePool", [y], [SIZE, out, 1, 1])


def pooled(b: GraphBuilder) -> None:
    x = _value(b, 4)
    dims = [d - 1 for d in x.shape[2:]]
    if min(dims) >= 1:
        b.emit(b.pick(("MaxPool", "AveragePool")), [x], [*x.shape[:2], *dims], kernel_shape=[2, 2])


def reduced(b: GraphBuilder) -> None:
    x = _value(b)
    axis, keep = b.dim(1, x.rank - 1), int(b.chance(0.5))
    shape = [1 if i == axis else d for i, d in enumerate(x.shape) if keep or i != axis]
    b.emit("ReduceSum", [x, b.ints([axis])], shape, size=x.size * x.shape[axis], keepdims=keep)


def softmax(b: GraphBuilder) -> None:
    x = _value(b)
    b.emit("Softmax", [x], x.shape, size=1, axis=-1)


def norm(b: GraphBuilder) -> None:
    x = _value(b)
    if b.opset >= 17:
        inputs = [x, *(b.const(b.array([x.shape[-1]], "float32")) for _ in range(2))]
        b.emit("LayerNormalization", inputs, x.shape, size=30, axis=-1, epsilon=0.1)


def flattened(b: GraphBuilder) -> None:
    """[N, …] → [N, K]: the shape from the graph's own arithmetic, by Flatten, or by 0 and -1."""
    x = _value(b)
    shape, way = [SIZE, x.count // SIZE], b.dim(0, 2)
    if way == 0:
        b.emit("Flatten", [x], shape, axis=1)
    elif way == 1:
        b.emit("Reshape", [x, b.ints([0, -1])], shape)
    else:
        dims = b.emit("Shape", [x], [x.rank], "int64", exact=True)
        first = b.emit("Gather", [dims, b.ints([0])], [1], "int64", exact=True, axis=0)
        target = b.emit("Concat", [first, b.ints([-1])], [2], "int64", exact=True, axis=0)
        b.emit("Reshape", [x, target], shape)


def turned(b: GraphBuilder) -> None:
    x = _value(b)
    perm = [0, *(int(p) + 1 for p in b.rng.permutation(x.rank - 1))]
    b.emit("Transpose", [x], [x.shape[p] for p in perm], perm=perm)


def joined(b: GraphBuilder) -> None:
    x = _value(b)
    axis = b.dim(1, x.rank - 1)
    both = [*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :]]
    y = b.emit("Concat", [x, b.emit("Neg", [x], x.shape)], both, axis=axis)
    shape = [*x.shape[:axis], 1, *x.shape[axis + 1 :]]
    b.emit("Slice", [y, b.ints([1]), b.ints([2]), b.ints([axis])], shape)


def expanded(b: GraphBuilder) -> None:
    """A row as often as the batch is long, by its shape."""
    x = _value(b)
    dims = b.emit("Shape", [x], [x.rank], "int64", exact=True)
    row = b.const(b.array([1, *x.shape[1:]], "float32"))
    y = b.emit("Expand", [row, dims], x.shape)
    b.emit("Add", [x, y], x.shape, size=x.size + 4)


def filled(b: GraphBuilder) -> None:
    """Positions 0 … N - 1, from the shape, as embeddings want them."""
    x = _value(b)
    dims = b.emit("Shape", [x], [x.rank], "int64", exact=True)
    length = b.emit("Gather", [dims, b.const(np.int64(0))], [], "int64", exact=True, axis=0)
    start, step = b.const(np.int64(0)), b.const(np.int64(1))
    at = b.emit("Range", [start, length, step], [SIZE], "int64", exact=True, size=9)
    real = b.emit("Cast", [at], [SIZE], "float32", to=1)
    column = b.emit("Unsqueeze", [real, b.ints([1])], [SIZE, 1], size=9)
    wide = b.emit("Mul", [column, b.const(b.array([x.shape[-1]], "float32"))],
                  [SIZE, x.shape[-1]], size=40)  # fmt: skip
    if x.rank == 2:
        b.emit("Add", [x, wide], x.shape, size=x.size + 40)


def masked(b: GraphBuilder) -> None:
    x = _value(b)
    zero = b.const(0.0, "float32")
    name = b.fresh("less")
    at = b.new_input([SIZE, *[1] * (x.rank - 1)], "float32")
    b.nodes.append(helper.make_node("Less", [at.name, zero.name], [name], name=name))
    b.emit("Where", [KnownValue(name, "bool", at.shape), x, zero], x.shape, "float32", size=x.size)


DYNAMIC = (
    unary, unary, binary, binary, product, dense, convolution, convolution, pooled, reduced,
    softmax, norm, flattened, turned, joined, expanded, filled, masked,
)  # fmt: skip
