"""Rules: matrix products, attention, norms."""

from __future__ import annotations

import numpy as np
from onnx import helper

from byoc.testing.grammar.core import GraphBuilder
from byoc.testing.grammar.windows import image

__all__ = ["PRODUCTS"]


def gemm(b: GraphBuilder) -> None:
    x = b.find(lambda v: v.dtype in ("float32", "float64") and v.rank == 2 and v.count > 0,
               [b.dim(), b.dim()], "float32")  # fmt: skip
    turn_a, turn_b = b.chance(0.3), b.chance(0.5)
    m, k = x.shape[::-1] if turn_a else x.shape
    n = b.dim()
    y = b.const(b.array([n, k] if turn_b else [k, n], x.dtype) / 8)
    inputs = [x, y]
    if b.chance(0.6):
        inputs.append(b.const(b.array(b.pick(([n], [1, n], [m, 1], [m, n])), x.dtype)))
    b.emit("Gemm", inputs, [m, n], size=x.size * k + 4, transA=int(turn_a), transB=int(turn_b),
           alpha=float(b.pick((1.0, 0.5))), beta=float(b.pick((1.0, 2.0))))  # fmt: skip


def matmul(b: GraphBuilder) -> None:
    x = b.find(lambda v: v.dtype in ("float32", "float64") and v.rank >= 2 and v.count > 0,
               [b.dim(), b.dim(), b.dim()], "float32")  # fmt: skip
    n = b.dim()
    if b.chance(0.3):
        y = b.tensor([*x.shape[:-2], x.shape[-1], n], x.dtype)
        b.emit("MatMul", [x, y], [*x.shape[:-1], n], size=x.size * 4 * x.shape[-1])
    elif b.chance(0.2):
        y = b.const(b.array([x.shape[-1]], x.dtype))
        b.emit("MatMul", [x, y], x.shape[:-1], size=x.size * 4 * x.shape[-1])
    else:
        y = b.const(b.array([x.shape[-1], n], x.dtype) / 4)
        b.emit("MatMul", [x, y], [*x.shape[:-1], n], size=x.size * x.shape[-1])


def einsum(b: GraphBuilder) -> None:
    x = b.new_input([b.dim(), b.dim(), b.dim()], "float32")
    y = b.const(b.array([x.shape[0], x.shape[2], b.dim()], "float32"))
    shape = [x.shape[0], x.shape[1], y.shape[2]]
    b.emit("Einsum", [x, y], shape, size=90, equation="bij,bjk->bik")


def attention(b: GraphBuilder) -> None:
    """softmax(Q·K' · s + mask)·V as exporters spell it."""
    batch, heads, length, width = b.dim(1, 2), b.dim(1, 3), b.dim(2, 5), b.dim(2, 4)
    q, k, v = (b.new_input([batch, length, heads * width], "float32") for _ in range(3))
    split = []
    for x, perm in ((q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3])):
        four = b.emit("Reshape", [x, b.ints([batch, length, heads, width])],
                      [batch, length, heads, width])  # fmt: skip
        split.append(b.emit("Transpose", [four], [four.shape[p] for p in perm], perm=perm))
    scores = b.emit("MatMul", split[:2], [batch, heads, length, length], size=16)
    scores = b.emit("Mul", [scores, b.const(width**-0.5, "float32")], scores.shape, size=16)
    if b.chance(0.5):
        mask = np.triu(np.full((length, length), -1e4, np.float32), 1)
        scores = b.emit("Add", [scores, b.const(mask)], scores.shape, size=16)
    weights = b.emit("Softmax", [scores], scores.shape, size=1, axis=-1)
    out = b.emit("MatMul", [weights, split[2]], [batch, heads, length, width], size=4)
    back = b.emit("Transpose", [out], [batch, length, heads, width], perm=[0, 2, 1, 3])
    b.emit("Reshape", [back, b.ints([0, 0, -1])], [batch, length, heads * width])


def softmax(b: GraphBuilder) -> None:
    x = b.random_float()
    axis = b.dim(-x.rank, x.rank - 1)
    if b.chance(0.2) and x.exact:
        b.emit("Hardmax", [x], x.shape, exact=True, size=1, axis=axis)
    else:
        op = b.pick(("Softmax", "Softmax", "LogSoftmax"))
        b.emit(op, [x], x.shape, size=1 if op == "Softmax" else 2 * x.size + 5, axis=axis)


def norms(b: GraphBuilder) -> None:
    x = image(b)
    c = x.shape[1]
    scale, bias = (b.const(b.array([c], "float32")) for _ in range(2))
    kinds = ["BatchNormalization", "InstanceNormalization", "LRN", "LpNormalization"]
    kinds += ["GroupNormalization"] if b.opset >= 21 else []
    op = b.pick(kinds)
    if op == "BatchNormalization":
        mean = b.const(b.array([c], "float32"))
        var = b.const(np.abs(b.array([c], "float32")) + 0.5)
        b.emit(op, [x, scale, bias, mean, var], x.shape, size=x.size * 8 + 20)
    elif op == "InstanceNormalization":
        b.emit(op, [x, scale, bias], x.shape, size=40, epsilon=0.1)
    elif op == "GroupNormalization":
        groups = b.pick([g for g in range(1, c + 1) if c % g == 0])
        b.emit(op, [x, scale, bias], x.shape, size=40, num_groups=groups, epsilon=0.1)
    elif op == "LRN":
        b.emit(op, [x], x.shape, size=x.size, alpha=0.01)
        b.nodes[-1].attribute.append(helper.make_attribute("size", b.pick((3, 5))))
    elif x.exact:
        shifted = b.emit("Add", [b.emit("Abs", [x], x.shape), b.const(1.0, "float32")], x.shape)
        b.emit(op, [shifted], x.shape, size=1, axis=1, p=b.pick((1, 2)))


def layer_norm(b: GraphBuilder) -> None:
    if b.opset < 17:
        return
    x = b.find(lambda v: v.dtype == "float32" and v.rank >= 2 and v.shape[-1] > 1,
               [b.dim(), b.dim(), b.dim(2, 8)], "float32")  # fmt: skip
    axis = b.pick((-1, -1, x.rank - 2))
    shape = x.shape[axis:]
    inputs = [x, b.const(b.array(shape, "float32"))]
    if b.chance(0.7):
        inputs.append(b.const(b.array(shape, "float32")))
    b.emit("LayerNormalization", inputs, x.shape, size=30, axis=axis, epsilon=0.1)


def rms_norm(b: GraphBuilder) -> None:
    """As exporters spell it, or the operator."""
    x = b.find(lambda v: v.dtype == "float32" and v.rank >= 2 and v.shape[-1] > 1,
               [b.dim(), b.dim(), b.dim(2, 8)], "float32")  # fmt: skip
    scale = b.const(b.array([x.shape[-1]], "float32"))
    if b.opset >= 23 and b.chance(0.5):
        b.emit("RMSNormalization", [x, scale], x.shape, size=30, axis=-1, epsilon=0.1)
        return
    rows = [*x.shape[:-1], 1]
    square = b.emit("Pow", [x, b.const(2.0, "float32")], x.shape, size=x.size**2)
    if square.size != x.size**2:
        return  # it was squashed
    if b.opset >= 18:
        mean = b.emit("ReduceMean", [square, b.ints([-1])], rows, keepdims=1)
    else:
        mean = b.emit("ReduceMean", [square], rows, keepdims=1, axes=[-1])
    safe = b.emit("Add", [mean, b.const(0.1, "float32")], rows)
    factor = b.emit("Reciprocal", [b.emit("Sqrt", [safe], rows)], rows, size=4)
    b.emit("Mul", [b.emit("Mul", [x, factor], x.shape, size=20), scale], x.shape, size=40)


PRODUCTS = (
    gemm, matmul, matmul, einsum, attention, softmax, norms, norms, layer_norm, rms_norm,
)  # fmt: skip
