"""Rules: operators that move elements, and arithmetic on shapes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from byoc.testing.grammar.core import ANY, FLOATS, MAX_ELEMENTS, GraphBuilder, KnownValue

__all__ = ["SHAPES"]


def _split_shape(b: GraphBuilder, count: int) -> list[int]:
    shape: list[int] = []
    for d in (2, 3, 5, 7):
        while count % d == 0 and len(shape) < 5:
            shape.append(d)
            count //= d
    shape.append(count)
    b.rng.shuffle(shape)
    while len(shape) > 4:
        shape[0] *= shape.pop()
    return [int(d) for d in shape]


def reshape(b: GraphBuilder) -> None:
    x = b.random_value()
    shape = _split_shape(b, x.count)
    given = list(shape)
    if b.chance(0.5):
        given[b.dim(0, len(given) - 1)] = -1
    if given[0] == x.shape[0] and b.chance(0.5):
        given[0] = 0
    b.emit("Reshape", [x, b.ints(given)], shape, exact=True)


def computed_reshape(b: GraphBuilder) -> None:
    """Reshape to a shape that the model takes from another value."""
    x = b.find(lambda v: v.rank >= 2 and v.count > 0, [b.dim(), b.dim(), b.dim()])
    shape = b.emit("Shape", [x], [x.rank], "int64", exact=True, size=8)
    first = b.emit("Gather", [shape, b.ints([0])], [1], "int64", exact=True, size=8)
    rest = b.emit("ReduceProd", [shape], [1], "int64", exact=True, size=4096, keepdims=1)
    rest = b.emit("Div", [rest, first], [1], "int64", exact=True, size=4096)
    target = b.emit("Concat", [first, rest], [2], "int64", exact=True, size=4096, axis=0)
    b.emit("Reshape", [x, target], [x.shape[0], x.count // x.shape[0]], exact=True)


def transpose(b: GraphBuilder) -> None:
    x = b.random_value()
    perm = [int(p) for p in b.rng.permutation(x.rank)]
    b.emit("Transpose", [x], [x.shape[p] for p in perm], exact=True, perm=perm)


def ranks(b: GraphBuilder) -> None:
    x = b.random_value()
    if x.rank < 4 and b.chance(0.6):
        axis = b.dim(0, x.rank)
        shape = [*x.shape[:axis], 1, *x.shape[axis:]]
        x = b.emit("Unsqueeze", [x, b.ints([axis])], shape, exact=True)
    ones = [i for i, d in enumerate(x.shape) if d == 1]
    if ones and x.rank > 1:
        axis = b.pick(ones)
        given = axis - x.rank if b.chance(0.4) else axis
        shape = [d for i, d in enumerate(x.shape) if i != axis]
        b.emit("Squeeze", [x, b.ints([given])], shape, exact=True)
    else:
        axis = b.dim(0, x.rank)
        shape = [int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:]))]
        b.emit("Flatten", [x], shape, exact=True, axis=axis)


def grow(b: GraphBuilder) -> None:
    x = b.random_value()
    if b.chance(0.5):
        repeats = [b.dim(1, 2) for _ in x.shape]
        if x.count * int(np.prod(repeats)) <= MAX_ELEMENTS:
            shape = [d * r for d, r in zip(x.shape, repeats, strict=True)]
            b.emit("Tile", [x, b.ints(repeats)], shape, exact=True)
        return
    shape = [d if d > 1 or b.chance(0.5) else b.dim(1, 3) for d in x.shape]
    if x.rank < 4 and b.chance(0.4):
        shape = [b.dim(1, 3), *shape]
    if int(np.prod(shape)) <= MAX_ELEMENTS:
        b.emit("Expand", [x, b.ints(shape)], shape, exact=True)


def concat_split(b: GraphBuilder) -> None:
    x = b.random_value()
    axis = b.dim(0, x.rank - 1)
    other = list(x.shape)
    other[axis] = b.dim(1, 3)
    y = b.tensor(other, x.dtype)
    total = x.shape[axis] + other[axis]
    shape = [*x.shape[:axis], total, *x.shape[axis + 1 :]]
    z = b.emit("Concat", [x, y], shape, exact=True, size=max(x.size, y.size),
               axis=axis - (x.rank if b.chance(0.3) else 0))  # fmt: skip
    if total < 2 or z.dtype == "bool":
        return
    cut = b.dim(1, total - 1)
    outs = []
    for part in (cut, total - cut):
        dims = (*z.shape[:axis], part, *z.shape[axis + 1 :])
        outs.append(KnownValue(b.fresh("split"), z.dtype, dims, z.exact, z.size))
    b.many("Split", [z, b.ints([cut, total - cut])], outs, axis=axis)


def slices(b: GraphBuilder) -> None:
    x = b.random_value()
    axis = b.dim(0, x.rank - 1)
    length = x.shape[axis]
    start, step = b.dim(0, length - 1), b.pick((1, 1, 2, -1))
    if step > 0:
        end, kept = b.pick((length, 2**31 - 1)), len(range(start, length, step))
    else:
        end, kept = -(2**31), len(range(start, -1, -1))
    shape = [*x.shape[:axis], kept, *x.shape[axis + 1 :]]
    begin = start - length if b.chance(0.3) else start
    b.emit("Slice", [x, b.ints([begin]), b.ints([end]), b.ints([axis]), b.ints([step])], shape,
           exact=True)  # fmt: skip


def pad(b: GraphBuilder) -> None:
    x = b.find(lambda v: v.dtype in (*FLOATS, "int64", "int32") and v.rank > 0 and v.count > 0,
               dtype=b.pick((*FLOATS, "int64", "int32")))  # fmt: skip
    mode = b.pick(("constant", "constant", "edge", "reflect"))
    before = [b.dim(0, min(2, d - 1) if mode == "reflect" else 2) for d in x.shape]
    after = [b.dim(0, min(2, d - 1) if mode == "reflect" else 2) for d in x.shape]
    shape = [d + p + q for d, p, q in zip(x.shape, before, after, strict=True)]
    if int(np.prod(shape)) > MAX_ELEMENTS:
        return
    inputs = [x, b.ints([*before, *after])]
    if mode == "constant" and b.chance(0.5):
        inputs.append(b.const(2, x.dtype))
    b.emit("Pad", inputs, shape, exact=True, size=max(x.size, 2), mode=mode)


def about_shapes(b: GraphBuilder) -> None:
    x = b.random_value()
    op = b.pick(("Shape", "Size", "ConstantOfShape", "Range", "EyeLike"))
    if op == "Shape":
        b.emit("Shape", [x], [x.rank], "int64", exact=True, size=64)
    elif op == "Size":
        b.emit("Size", [x], [], "int64", exact=True, size=4096)
    elif op == "ConstantOfShape":
        shape = b.emit("Shape", [x], [x.rank], "int64", exact=True, size=64)
        value = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.5])
        b.emit(op, [shape], x.shape, "float32", exact=True, size=1, value=value)
    elif op == "Range":
        stop = b.dim(2, 9)
        parts = [b.const(np.int64(v)) for v in (0, stop, 2)]
        b.emit(op, parts, [len(range(0, stop, 2))], "int64", exact=True, size=9)
    else:
        y = b.new_input([b.dim(2, 4), b.dim(2, 4)], "float32")
        b.emit(op, [y], y.shape, exact=True, size=1)


def blocks(b: GraphBuilder) -> None:
    x = b.new_input([b.dim(1, 2), 4 * b.dim(1, 2), 2 * b.dim(1, 2), 2 * b.dim(1, 2)], "float32")
    n, c, h, w = x.shape
    if b.chance(0.5):
        b.emit("DepthToSpace", [x], [n, c // 4, 2 * h, 2 * w], exact=True, blocksize=2,
               mode=b.pick(("DCR", "CRD")))  # fmt: skip
    else:
        b.emit("SpaceToDepth", [x], [n, 4 * c, h // 2, w // 2], exact=True, blocksize=2)


def triangle(b: GraphBuilder) -> None:
    if b.opset < 14:
        return
    x = b.find(lambda v: v.dtype in ("float32", "float64", "int64") and v.rank >= 2,
               [b.dim(), b.dim()], "float32")  # fmt: skip
    inputs = [x, b.const(np.int64(b.dim(-1, 1)))] if b.chance(0.5) else [x]
    b.emit("Trilu", inputs, x.shape, exact=True, upper=int(b.chance(0.5)))


def computed_slice(b: GraphBuilder) -> None:
    """Slice off the last elements, their number taken from the shape."""
    x = b.random_value()
    axis = b.dim(0, x.rank - 1)
    shape = b.emit("Shape", [x], [x.rank], "int64", exact=True, size=8)
    length = b.emit("Gather", [shape, b.ints([axis])], [1], "int64", exact=True, size=8)
    less = 1 if x.shape[axis] > 1 else 0
    end = b.emit("Sub", [length, b.ints([less])], [1], "int64", exact=True, size=8)
    dims = [*x.shape[:axis], x.shape[axis] - less, *x.shape[axis + 1 :]]
    b.emit("Slice", [x, b.ints([0]), end, b.ints([axis])], dims, exact=True)


def nothing(b: GraphBuilder) -> None:
    """Tensors without elements, and what becomes of them."""
    d = b.dim(1, 4)
    x = b.new_input([0, d], b.pick(("float32", "float32", "int64", "float16")))
    b.emit(b.pick(("Neg", "Abs", "Identity")), [x], x.shape, exact=True)
    op = b.pick(("Concat", "Transpose", "Sum", "MatMul", "Reshape", "Slice", "Shape"))
    if op == "Concat":
        y = b.tensor([b.dim(0, 2), d], x.dtype)
        b.emit(op, [x, y], y.shape, exact=True, size=y.size, axis=0)
    elif op == "Transpose":
        b.emit(op, [x], [d, 0], exact=True, perm=[1, 0])
    elif op == "Sum":
        b.emit("ReduceSum", [x, b.ints([0])], [d], exact=True, keepdims=0)
    elif op == "MatMul" and x.dtype == "float32":
        y = b.emit("Transpose", [x], [d, 0], exact=True, perm=[1, 0])
        b.emit(op, [y, b.const(np.zeros([0, 3], np.float32))], [d, 3], exact=True, size=0)
    elif op == "Reshape" and b.opset >= 14:
        b.emit(op, [x, b.ints([d, 2, 0])], [d, 2, 0], exact=True, allowzero=1)
    elif op == "Slice":
        y = b.new_input([3, d], x.dtype)
        b.emit(op, [y, b.ints([2]), b.ints([2]), b.ints([0])], [0, d], exact=True)
    else:
        b.emit("Shape", [x], [2], "int64", exact=True, size=8)


def single_numbers(b: GraphBuilder) -> None:
    """Tensors of no dimensions."""
    x = b.new_input([], b.pick(ANY))
    if x.dtype == "bool":
        b.emit("Not", [x], [], exact=True)
        return
    y = b.emit("Unsqueeze", [x, b.ints([0])], [1], exact=True)
    b.emit("Expand", [y, b.ints([2, 3])], [2, 3], exact=True)
    b.emit("Reshape", [y, b.const(np.zeros([0], np.int64))], [], exact=True)


SHAPES = (
    reshape, computed_reshape, computed_slice, transpose, ranks, grow, concat_split, slices, pad,
    about_shapes, blocks, triangle, nothing, single_numbers,
)  # fmt: skip
