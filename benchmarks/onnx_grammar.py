"""Random ONNX graphs: a grammar over a hundred operators, of known shapes and dtypes.

    graph   = inputs, then rules, each of which adds a few nodes over values that are there
    rule    = "a unary operator", "a convolution", "shape arithmetic", "an If", …

A seed names a graph for ever. Two properties keep comparisons of two right engines equal:
values stay small (``size`` bounds them; what grows goes through Tanh), and operators that jump
(floor, arg max, casts to integers) read *exact* values only: inputs and what was moved from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["RULES", "Case", "make_case"]

FLOATS = ("float32", "float32", "float32", "float16", "float64")
INTS = ("int64", "int32", "int8", "uint8")
MAX_ELEMENTS = 4096
MAX_SIZE = 50.0


@dataclass(frozen=True)
class Value:
    """name, dtype, shape of a value; exact: the same in every right engine; size: |x| at most."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    exact: bool = False
    size: float = 4.0

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def count(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Case:
    """A model and values for its inputs."""

    seed: int
    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]
    rules: tuple[str, ...]


@dataclass
class Builder:
    """One graph in the making."""

    rng: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    stored: list[onnx.TensorProto] = field(default_factory=list)
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    prefix: str = ""
    count: list[int] = field(default_factory=lambda: [0])

    def fresh(self, hint: str) -> str:
        self.count[0] += 1
        return f"{self.prefix}{hint}_{self.count[0]}"

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, items: Sequence[Any]) -> Any:
        return items[int(self.rng.integers(len(items)))]

    def dim(self, low: int = 1, high: int = 6) -> int:
        return int(self.rng.integers(low, high + 1))

    def array(self, shape: Sequence[int], dtype: str) -> np.ndarray:
        if dtype == "bool":
            return np.asarray(self.rng.random(tuple(shape)) < 0.5)
        kind = np.dtype(dtype).kind
        if kind == "f":  # multiples of 1/64, which every float holds
            steps = np.round(self.rng.standard_normal(tuple(shape)) * 64)
            return (np.clip(steps, -250, 250) / 64).astype(dtype)
        low, high = (0, 10) if kind == "u" else (-9, 10)
        return self.rng.integers(low, high, tuple(shape)).astype(dtype)

    def input(self, shape: Sequence[int], dtype: str) -> Value:
        """A new input of the graph; inside a branch, a constant."""
        array = self.array(shape, dtype)
        if self.prefix:
            return self.const(array)
        name = self.fresh("x")
        self.inputs[name] = array
        value = Value(name, dtype, tuple(shape), True, _size(array))
        self.values.append(value)
        return value

    def const(self, array: Any, dtype: str | None = None) -> Value:
        array = np.asarray(array, dtype)
        name = self.fresh("w")
        self.stored.append(numpy_helper.from_array(array, name))
        return Value(name, str(array.dtype), array.shape, True, _size(array))

    def tensor(self, shape: Sequence[int], dtype: str) -> Value:
        """A constant or a new input."""
        if self.chance(0.3) and len(self.inputs) < 8:
            return self.input(shape, dtype)
        return self.const(self.array(shape, dtype))

    def find(
        self,
        fits: Callable[[Value], bool],
        shape: Sequence[int] | None = None,
        dtype: str | None = None,
    ) -> Value:
        """A value that fits; where there is none, a new input."""
        found = [v for v in self.values[-12:] if fits(v)]
        if found and self.chance(0.9):
            return self.pick(found)
        new = shape or [self.dim() for _ in range(self.dim(1, 4))]
        return self.input(new, dtype or self.pick(FLOATS))

    def float(
        self, ranks: Sequence[int] = (1, 2, 3, 4), exact: bool = False, **kwargs: Any
    ) -> Value:
        rank = self.pick(ranks)
        return self.find(
            lambda v: v.dtype.startswith("float") and v.rank in ranks and (v.exact or not exact),
            [self.dim() for _ in range(rank)],
            **kwargs,
        )

    def exact(self) -> Value:
        return self.find(lambda v: v.exact and v.rank > 0 and v.count > 0)

    def any(self) -> Value:
        return self.find(lambda v: v.rank > 0 and v.count > 0)

    def emit(
        self,
        op: str,
        inputs: Sequence[Value | None],
        shape: Sequence[int],
        dtype: str | None = None,
        *,
        exact: bool = False,
        size: float | None = None,
        **attrs: Any,
    ) -> Value:
        """A node of one output."""
        known = [v for v in inputs if v is not None]
        out = Value(
            self.fresh(op.lower()),
            dtype or known[0].dtype,
            tuple(int(d) for d in shape),
            exact and all(v.exact for v in known),
            max((v.size for v in known), default=1.0) if size is None else size,
        )
        names = [v.name if v else "" for v in inputs]
        self.nodes.append(helper.make_node(op, names, [out.name], name=out.name, **attrs))
        return self.keep(out)

    def keep(self, value: Value) -> Value:
        """Note a new value; one that grows goes through Tanh."""
        if value.size > MAX_SIZE and value.dtype.startswith("float"):
            return self.emit("Tanh", [value], value.shape, size=1.0)
        self.values.append(value)
        return value

    def many(
        self, op: str, inputs: Sequence[Value], outs: Sequence[Value], **attrs: Any
    ) -> list[Value]:
        names = [v.name for v in inputs]
        self.nodes.append(
            helper.make_node(op, names, [o.name for o in outs], name=outs[0].name, **attrs)
        )
        return [self.keep(o) for o in outs]

    def ints(self, values: Sequence[int]) -> Value:
        return self.const(np.array(values, np.int64))


def _size(array: np.ndarray) -> float:
    return float(np.abs(array.astype(np.float64)).max(initial=0.0))


# -- element-wise

_SMOOTH = {
    "Neg": None, "Abs": None, "Relu": None, "Sigmoid": 1.0, "Tanh": 1.0, "Erf": 1.0, "Sin": 1.0,
    "Cos": 1.0, "Atan": 1.6, "Softplus": None, "Softsign": 1.0, "Elu": None, "Selu": None,
    "LeakyRelu": None, "HardSigmoid": 1.0, "HardSwish": None, "Celu": None, "Gelu": None,
    "Mish": None, "Identity": None,
}  # fmt: skip
_SINCE = {"HardSwish": 14, "Gelu": 20, "Mish": 18, "GroupNormalization": 21}
_NOT_DOUBLE = {"Erf", "Mish", "Celu", "Gelu", "HardSwish"}


def unary(b: Builder) -> None:
    x = b.float((0, 1, 2, 3, 4))
    op = b.pick([o for o in _SMOOTH if _SINCE.get(o, 0) <= b.opset])
    if x.dtype == "float64" and op in _NOT_DOUBLE:
        op = "Sigmoid"
    bound = _SMOOTH[op]
    attrs: dict[str, Any] = {}
    if op in ("Elu", "LeakyRelu", "Celu", "HardSigmoid") and b.chance(0.5):
        attrs["alpha"] = float(b.pick((0.1, 0.5, 1.0, 2.0)))
    grown = 2.2 * x.size + 2 if bound is None else max(bound, x.size if op == "Gelu" else 0)
    moves = op in ("Neg", "Abs", "Relu", "Identity")
    b.emit(op, [x], x.shape, exact=moves, size=x.size if moves else grown, **attrs)


def positive(b: Builder) -> None:
    x = b.float()
    one = b.const(1.0, x.dtype)
    safe = b.emit("Add", [b.emit("Abs", [x], x.shape), one], x.shape, size=x.size + 1)
    if safe.size > MAX_SIZE:
        return
    op = b.pick(("Log", "Sqrt", "Reciprocal", "Pow"))
    if op == "Pow":
        exponent = b.const(float(b.pick((0.5, 2.0, -1.0, 1.5))), x.dtype)
        b.emit("Pow", [safe, exponent], x.shape, size=safe.size**2)
    else:
        b.emit(op, [safe], x.shape, size=safe.size)


def exponential(b: Builder) -> None:
    x = b.float()
    b.emit("Exp", [b.emit("Tanh", [x], x.shape, size=1.0)], x.shape, size=2.8)


def rounding(b: Builder) -> None:
    x = b.float(exact=True)
    op = b.pick(("Ceil", "Floor", "Round", "Sign"))
    b.emit(op, [x], x.shape, exact=True, size=x.size + 1)


def thresholds(b: Builder) -> None:
    x = b.float(exact=True)
    b.emit("ThresholdedRelu", [x], x.shape, exact=True, alpha=0.5)


def _partner(b: Builder, x: Value) -> tuple[Value, tuple[int, ...]]:
    """A value that broadcasts with x, and the shape of both."""
    shape = [d if b.chance(0.7) else 1 for d in x.shape]
    if b.chance(0.3):
        shape = shape[b.dim(0, max(0, len(shape) - 1)) :]
    y = b.tensor(shape, x.dtype)
    for v in b.values[-6:]:
        if v.dtype == x.dtype and v.shape == x.shape and b.chance(0.6):
            y = v
    return y, tuple(np.broadcast_shapes(x.shape, y.shape))


def binary(b: Builder) -> None:
    x = b.find(lambda v: v.dtype in (*FLOATS, "int32", "int64"))
    y, shape = _partner(b, x)
    op = b.pick(("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean", "Div"))
    if op == "Div":
        one = b.const(1, x.dtype)
        y = b.emit("Add", [b.emit("Abs", [y], y.shape, exact=True), one], y.shape,
                   exact=True, size=y.size + 1)  # fmt: skip
    whole = x.dtype.startswith("int")
    if op in ("Sum", "Mean") and whole:
        op = "Add"
    size = x.size * y.size if op == "Mul" else x.size + y.size
    if whole and size > 1e6:
        return
    pair = [y, x] if op in ("Sub", "Add") and b.chance(0.5) else [x, y]
    b.emit(op, pair, shape, exact=whole or op in ("Max", "Min"), size=size)


def whole_numbers(b: Builder) -> None:
    x = b.find(lambda v: v.dtype in ("int32", "int64"), dtype="int64")
    op = b.pick(("Mod", "Neg", "Abs", "Sign", "Pow"))
    if op == "Mod":
        y = b.const(b.rng.integers(1, 7, x.shape).astype(x.dtype))
        b.emit("Mod", [x, y], x.shape, exact=True, size=7)
    elif op == "Pow" and x.size < 1000:
        b.emit("Pow", [x, b.const(2, x.dtype)], x.shape, exact=True, size=x.size**2)
    else:
        b.emit(op if op != "Pow" else "Abs", [x], x.shape, exact=True)


def shifts(b: Builder) -> None:
    shape = [b.dim() for _ in range(2)]
    x = b.input(shape, "uint8")
    y = b.const(b.rng.integers(0, 4, shape).astype("uint8"))
    b.emit("BitShift", [x, y], shape, exact=True, size=255, direction=b.pick(("LEFT", "RIGHT")))


def comparisons(b: Builder) -> None:
    x = b.exact()
    if x.dtype == "bool":
        y = b.tensor(x.shape, "bool")
        b.emit(b.pick(("And", "Or", "Xor", "Equal")), [x, y], x.shape, exact=True, size=1)
        b.emit("Not", [x], x.shape, exact=True, size=1)
        return
    if x.dtype in ("int8", "uint8", "float16"):
        return
    y = b.tensor([d if b.chance(0.7) else 1 for d in x.shape], x.dtype)
    op = b.pick(("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"))
    b.emit(op, [x, y], x.shape, "bool", exact=True, size=1)


def where(b: Builder) -> None:
    x = b.find(lambda v: v.dtype in (*FLOATS, "int64", "int32", "uint8") and v.rank > 0)
    y, shape = _partner(b, x)
    c = b.tensor([d if b.chance(0.7) else 1 for d in shape], "bool")
    b.emit("Where", [c, x, y], shape, x.dtype, exact=True, size=max(x.size, y.size))


def clip(b: Builder) -> None:
    x = b.find(lambda v: v.dtype in (*FLOATS, "int64", "int32", "int8", "uint8"))
    low = b.const(0 if b.chance(0.5) or x.dtype[0] == "u" else -1, x.dtype)
    high = b.const(3, x.dtype) if b.chance(0.7) else None
    inputs = [x, low, high] if b.chance(0.8) or high is None else [x, None, high]
    b.emit("Clip", inputs, x.shape, exact=True)


def cast(b: Builder) -> None:
    x = b.exact()
    if x.dtype == "bool":
        target = b.pick(("float32", "int64", "int32", "float16"))
    elif x.dtype.startswith("float"):
        target = b.pick(("float32", "float16", "float64", "int32", "int64", "bool"))
    else:
        target = b.pick(("float32", "float64", "int64", "int32", "bool"))
    if x.size > 1e4:
        return
    to = helper.np_dtype_to_tensor_dtype(np.dtype(target))
    b.emit("Cast", [x], x.shape, target, exact=True, to=to)


def prelu(b: Builder) -> None:
    x = b.float((2, 3, 4))
    slope = b.const(b.array([x.shape[1], *[1] * (x.rank - 2)], x.dtype))
    b.emit("PRelu", [x, slope], x.shape, size=x.size * 4)


# -- reductions


def reductions(b: Builder) -> None:
    x = b.float((1, 2, 3, 4))
    op = b.pick(("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare"))
    if op == "Prod" and (x.count > 16 or x.size > 2):
        op = "Mean"
    if x.dtype == "float16" and op in ("SumSquare", "Prod", "L2", "L1", "LogSumExp", "Sum"):
        op = "Max"
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


def arg_extremes(b: Builder) -> None:
    x = b.float(exact=True)
    if x.dtype == "float16":
        return
    axis, keep = b.dim(0, x.rank - 1), int(b.chance(0.5))
    shape = [1 if i == axis else d for i, d in enumerate(x.shape) if keep or i != axis]
    b.emit(b.pick(("ArgMax", "ArgMin")), [x], shape, "int64", exact=True, size=6,
           axis=axis, keepdims=keep, select_last_index=int(b.chance(0.2)))  # fmt: skip


def running_sum(b: Builder) -> None:
    x = b.find(lambda v: v.dtype in ("float32", "int64", "int32") and v.rank > 0, dtype="float32")
    axis = b.const(np.int64(b.dim(0, x.rank - 1)))
    b.emit("CumSum", [x, axis], x.shape, exact=x.dtype[0] == "i", size=x.size * max(x.shape),
           exclusive=int(b.chance(0.3)), reverse=int(b.chance(0.3)))  # fmt: skip


def top_k(b: Builder) -> None:
    shape = [b.dim(2, 5), b.dim(2, 8)]
    array = b.rng.permutation(shape[0] * shape[1]).reshape(shape).astype("float32") / 8
    name = b.fresh("x")
    x = Value(name, "float32", tuple(shape), True, 8)
    if b.prefix:
        x = b.const(array)
    else:
        b.inputs[name] = array
    k, axis = b.dim(1, min(shape)), b.pick((0, 1, -1))
    out = list(shape)
    out[axis] = k
    outs = [
        Value(b.fresh("top"), "float32", tuple(out), True, 8),
        Value(b.fresh("at"), "int64", tuple(out), True, 64),
    ]
    b.many("TopK", [x, b.ints([k])], outs, axis=axis, largest=int(b.chance(0.7)), sorted=1)


# -- shapes


def _split_shape(b: Builder, count: int) -> list[int]:
    shape = []
    for d in (2, 3, 5, 7):
        while count % d == 0 and len(shape) < 5:
            shape.append(d)
            count //= d
    shape.append(count)
    b.rng.shuffle(shape)
    while len(shape) > 4:
        shape[0] *= shape.pop()
    return [int(d) for d in shape]


def reshape(b: Builder) -> None:
    x = b.any()
    shape = _split_shape(b, x.count)
    given = list(shape)
    if b.chance(0.5):
        given[b.dim(0, len(given) - 1)] = -1
    if given[0] == x.shape[0] and b.chance(0.5):
        given[0] = 0
    b.emit("Reshape", [x, b.ints(given)], shape, exact=True)


def computed_reshape(b: Builder) -> None:
    """Reshape to a shape that the model takes from another value."""
    x = b.find(lambda v: v.rank >= 2 and v.count > 0, [b.dim(), b.dim(), b.dim()])
    shape = b.emit("Shape", [x], [x.rank], "int64", exact=True, size=8)
    first = b.emit("Gather", [shape, b.ints([0])], [1], "int64", exact=True, size=8)
    rest = b.emit("ReduceProd", [shape], [1], "int64", exact=True, size=4096, keepdims=1)
    rest = b.emit("Div", [rest, first], [1], "int64", exact=True, size=4096)
    target = b.emit("Concat", [first, rest], [2], "int64", exact=True, size=4096, axis=0)
    b.emit("Reshape", [x, target], [x.shape[0], x.count // x.shape[0]], exact=True)


def transpose(b: Builder) -> None:
    x = b.any()
    perm = [int(p) for p in b.rng.permutation(x.rank)]
    b.emit("Transpose", [x], [x.shape[p] for p in perm], exact=True, perm=perm)


def ranks(b: Builder) -> None:
    x = b.any()
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


def grow(b: Builder) -> None:
    x = b.any()
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


def concat_split(b: Builder) -> None:
    x = b.any()
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
        outs.append(Value(b.fresh("split"), z.dtype, dims, z.exact, z.size))
    b.many("Split", [z, b.ints([cut, total - cut])], outs, axis=axis)


def slices(b: Builder) -> None:
    x = b.any()
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


def pad(b: Builder) -> None:
    x = b.find(lambda v: v.dtype in (*FLOATS, "int64", "int32") and v.rank > 0 and v.count > 0)
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


def about_shapes(b: Builder) -> None:
    x = b.any()
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
        y = b.input([b.dim(2, 4), b.dim(2, 4)], "float32")
        b.emit(op, [y], y.shape, exact=True, size=1)


def blocks(b: Builder) -> None:
    x = b.input([b.dim(1, 2), 4 * b.dim(1, 2), 2 * b.dim(1, 2), 2 * b.dim(1, 2)], "float32")
    n, c, h, w = x.shape
    if b.chance(0.5):
        b.emit("DepthToSpace", [x], [n, c // 4, 2 * h, 2 * w], exact=True, blocksize=2,
               mode=b.pick(("DCR", "CRD")))  # fmt: skip
    else:
        b.emit("SpaceToDepth", [x], [n, 4 * c, h // 2, w // 2], exact=True, blocksize=2)


def triangle(b: Builder) -> None:
    if b.opset < 14:
        return
    x = b.find(lambda v: v.dtype in ("float32", "float64", "int64") and v.rank >= 2,
               [b.dim(), b.dim()], "float32")  # fmt: skip
    inputs = [x, b.const(np.int64(b.dim(-1, 1)))] if b.chance(0.5) else [x]
    b.emit("Trilu", inputs, x.shape, exact=True, upper=int(b.chance(0.5)))


# -- indices


def gathers(b: Builder) -> None:
    x = b.any()
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
        at = np.stack([b.rng.integers(0, d, count) for d in x.shape[:depth]], 1)
        b.emit(op, [x, b.const(at)], [count, *x.shape[depth:]], exact=True)


def scatters(b: Builder) -> None:
    x = b.find(lambda v: v.dtype in ("float32", "int64") and v.rank > 0 and v.count > 0,
               dtype="float32")  # fmt: skip
    if b.chance(0.5):
        axis = b.dim(0, x.rank - 1)
        dims = [b.dim(1, d) for d in x.shape]
        at = np.zeros(dims, np.int64)
        order = b.rng.permutation(x.shape[axis])[: dims[axis]]
        at += order.reshape([-1 if i == axis else 1 for i in range(x.rank)])
        attrs = {"reduction": "add"} if b.opset >= 16 and b.chance(0.3) else {}
        updates = b.tensor(dims, x.dtype)
        b.emit("ScatterElements", [x, b.const(at), updates], x.shape, exact=not attrs,
               size=x.size + updates.size, axis=axis, **attrs)  # fmt: skip
        return
    rows = b.rng.permutation(x.shape[0])[: b.dim(1, x.shape[0])].reshape(-1, 1)
    updates = b.tensor([len(rows), *x.shape[1:]], x.dtype)
    b.emit("ScatterND", [x, b.const(rows), updates], x.shape, exact=True,
           size=max(x.size, updates.size))  # fmt: skip


def one_hot(b: Builder) -> None:
    at = b.input([b.dim(), b.dim()], "int64")
    depth = b.const(np.int64(5))
    b.emit("OneHot", [at, depth, b.const(np.array([0, 1], np.float32))], [*at.shape, 5],
           "float32", exact=True, size=1, axis=-1)  # fmt: skip


# -- neural networks


def _image(b: Builder, channels: int | None = None) -> Value:
    fits = [v for v in b.values if v.dtype == "float32" and v.rank == 4 and min(v.shape) > 0]
    fits = [v for v in fits if min(v.shape[2:]) >= 3 and channels in (None, v.shape[1])]
    if fits and b.chance(0.6):
        return b.pick(fits)
    return b.input([b.dim(1, 2), channels or b.dim(1, 6), b.dim(4, 9), b.dim(4, 9)], "float32")


def conv(b: Builder) -> None:
    x = _image(b)
    n, c, h, w = x.shape
    group = b.pick([g for g in (1, 1, c) if c % g == 0])
    out, k = group * b.dim(1, 3), b.pick((1, 2, 3))
    stride, dilation = b.dim(1, 2), b.pick((1, 1, 2))
    weight = b.const(b.array([out, c // group, k, k], "float32") / (c * k))
    inputs = [x, weight]
    if b.chance(0.5):
        inputs.append(b.const(b.array([out], "float32")))
    attrs: dict[str, Any] = {"strides": [stride] * 2, "dilations": [dilation] * 2, "group": group}
    span = (k - 1) * dilation + 1
    style = b.pick(("pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"))
    if style.startswith("SAME"):  # ONNX Runtime has no dilation there
        attrs["dilations"] = [1, 1]
    if style == "pads":
        p = [b.dim(0, 2) for _ in range(4)]
        attrs["pads"] = p
        dims = [(h + p[0] + p[2] - span) // stride + 1, (w + p[1] + p[3] - span) // stride + 1]
    elif style == "VALID":
        attrs["auto_pad"] = style
        dims = [(h - span) // stride + 1, (w - span) // stride + 1]
    else:
        attrs["auto_pad"] = style
        dims = [-(-h // stride), -(-w // stride)]
    if min(dims) < 1:
        return
    b.emit("Conv", inputs, [n, out, *dims], size=x.size * 16 * k, **attrs)


def conv1d(b: Builder) -> None:
    x = b.input([b.dim(1, 2), b.dim(1, 4), b.dim(5, 12)], "float32")
    k, out = b.dim(1, 3), b.dim(1, 4)
    weight = b.const(b.array([out, x.shape[1], k], "float32") / 8)
    shape = [x.shape[0], out, x.shape[2] - k + 1 + 2]
    b.emit("Conv", [x, weight], shape, size=12, pads=[1, 1])


def conv_transpose(b: Builder) -> None:
    x = _image(b)
    n, c, h, w = x.shape
    k, stride, out = b.dim(1, 3), b.dim(1, 2), b.dim(1, 3)
    weight = b.const(b.array([c, out, k, k], "float32") / (c * k))
    extra = b.dim(0, stride - 1)
    dims = [(d - 1) * stride + k + extra for d in (h, w)]
    if n * out * dims[0] * dims[1] <= MAX_ELEMENTS:
        b.emit("ConvTranspose", [x, weight], [n, out, *dims], size=x.size * 8,
               strides=[stride] * 2, output_padding=[extra] * 2)  # fmt: skip


def pool(b: Builder) -> None:
    x = _image(b)
    n, c, h, w = x.shape
    op = b.pick(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"))
    if op.startswith("Global"):
        b.emit(op, [x], [n, c, 1, 1], exact=op == "GlobalMaxPool")
        return
    k, stride = b.dim(2, 3), b.dim(1, 2)
    p = [b.dim(0, 1) for _ in range(4)]
    attrs: dict[str, Any] = {"kernel_shape": [k, k], "strides": [stride] * 2, "pads": p}
    if op == "AveragePool":
        attrs["count_include_pad"] = int(b.chance(0.5))
    up = b.chance(0.3)
    dims = []
    for d, total in ((h, p[0] + p[2]), (w, p[1] + p[3])):
        full = d + total - k
        size = (-(-full // stride) if up else full // stride) + 1
        dims.append(size)
    if up:  # windows that begin in the padding: engines differ
        starts = [(o - 1) * stride < d + q for o, d, q in zip(dims, (h, w), p[:2], strict=True)]
        if not all(starts) or op == "AveragePool":
            return
        attrs["ceil_mode"] = 1
    if min(dims) >= 1:
        b.emit(op, [x], [n, c, *dims], exact=op == "MaxPool", **attrs)


def gemm(b: Builder) -> None:
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


def matmul(b: Builder) -> None:
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


def einsum(b: Builder) -> None:
    x = b.input([b.dim(), b.dim(), b.dim()], "float32")
    y = b.const(b.array([x.shape[0], x.shape[2], b.dim()], "float32"))
    shape = [x.shape[0], x.shape[1], y.shape[2]]
    b.emit("Einsum", [x, y], shape, size=90, equation="bij,bjk->bik")


def attention(b: Builder) -> None:
    """softmax(Q·K' · s + mask)·V as exporters spell it."""
    batch, heads, length, width = b.dim(1, 2), b.dim(1, 3), b.dim(2, 5), b.dim(2, 4)
    q, k, v = (b.input([batch, length, heads * width], "float32") for _ in range(3))
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


def softmax(b: Builder) -> None:
    x = b.float()
    axis = b.dim(-x.rank, x.rank - 1)
    if b.chance(0.2) and x.exact:
        b.emit("Hardmax", [x], x.shape, exact=True, size=1, axis=axis)
    else:
        op = b.pick(("Softmax", "Softmax", "LogSoftmax"))
        b.emit(op, [x], x.shape, size=1 if op == "Softmax" else 2 * x.size + 5, axis=axis)


def norms(b: Builder) -> None:
    x = _image(b)
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


def layer_norm(b: Builder) -> None:
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


def resize(b: Builder) -> None:
    x = _image(b)
    n, c, h, w = x.shape
    mode = b.pick(("nearest", "linear", "cubic"))
    where_ = b.pick(("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"))
    attrs: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": where_}
    if mode == "nearest":
        attrs["nearest_mode"] = b.pick(("floor", "round_prefer_floor", "ceil"))
    dims = [d * b.pick((1, 2)) for d in (h, w)]
    if n * c * dims[0] * dims[1] > MAX_ELEMENTS:
        return
    if b.chance(0.5):
        inputs = [x, None, None, b.ints([n, c, *dims])]
    else:
        scales = [1.0, 1.0, dims[0] / h, dims[1] / w]
        inputs = [x, None, b.const(np.array(scales, np.float32))]
    b.emit("Resize", inputs, [n, c, *dims], exact=mode == "nearest", size=x.size * 1.5, **attrs)


# -- quantised


def quantised(b: Builder) -> None:
    x = b.find(lambda v: v.dtype == "float32" and v.exact and v.rank > 0 and v.size < 8,
               dtype="float32", shape=[b.dim(), b.dim(), b.dim()])  # fmt: skip
    kind = b.pick(("int8", "uint8"))
    # A scale that no value lies half-way between two steps of.
    scale = b.const(np.float32(0.0437))
    zero = b.const(0 if kind == "int8" else 128, kind)
    q = b.emit("QuantizeLinear", [x, scale, zero], x.shape, kind, size=128, exact=True)
    y = b.emit("DequantizeLinear", [q, scale, zero], x.shape, "float32", size=x.size + 1)
    if x.rank == 2:
        weight = b.const(b.rng.integers(-90, 90, [x.shape[1], b.dim()]).astype(np.int8))
        factor = b.const(np.float32(0.02))
        w = b.emit("DequantizeLinear", [weight, factor, b.const(0, "int8")], weight.shape,
                   "float32", size=2)  # fmt: skip
        b.emit("MatMul", [y, w], [x.shape[0], weight.shape[1]], size=20)


def integer_products(b: Builder) -> None:
    x = b.input([b.dim(), b.dim()], "uint8")
    y = b.const(b.array([x.shape[1], b.dim()], b.pick(("int8", "uint8"))))
    inputs = [x, y]
    if b.chance(0.5):
        inputs.append(b.const(3, "uint8"))
    b.emit("MatMulInteger", inputs, [x.shape[0], y.shape[1]], "int32", exact=True, size=2000)


# -- steps and branches


def recurrent(b: Builder) -> None:
    steps, batch, width, hidden = b.dim(1, 4), b.dim(1, 2), b.dim(1, 4), b.dim(1, 3)
    x = b.input([steps, batch, width], "float32")
    op, gates = b.pick((("LSTM", 4), ("GRU", 3), ("RNN", 1)))
    w = b.const(b.array([1, gates * hidden, width], "float32") / 4)
    r = b.const(b.array([1, gates * hidden, hidden], "float32") / 4)
    inputs = [x, w, r]
    if b.chance(0.5):
        inputs.append(b.const(b.array([1, 2 * gates * hidden], "float32") / 4))
    attrs = {"linear_before_reset": int(b.chance(0.5))} if op == "GRU" else {}
    b.emit(op, inputs, [steps, 1, batch, hidden], size=1, hidden_size=hidden, **attrs)


def _inner(b: Builder, prefix: str) -> Builder:
    return Builder(b.rng, b.opset, values=list(b.values), prefix=prefix, count=b.count)


def branches(b: Builder) -> None:
    x = b.find(lambda v: v.dtype == "float32" and v.rank > 0 and v.count > 0, dtype="float32")
    condition = b.input([], "bool")
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


def loops(b: Builder) -> None:
    if b.prefix:
        return
    x = b.find(lambda v: v.dtype == "float32" and v.rank > 0 and v.count > 0, dtype="float32")
    inner = Builder(b.rng, b.opset, prefix=f"{b.fresh('loop')}_", count=b.count)
    names = [inner.fresh(n) for n in ("i", "go", "state")]
    state = Value(names[2], "float32", x.shape, False, x.size)
    half = inner.emit("Mul", [state, inner.const(0.5, "float32")], x.shape, size=x.size)
    new = inner.emit("Add", [half, inner.const(1.0, "float32")], x.shape, size=x.size)
    go = inner.fresh("go")
    inner.nodes.append(helper.make_node("Identity", [names[1]], [go]))
    body = helper.make_graph(
        inner.nodes, "body",
        [helper.make_tensor_value_info(names[0], TensorProto.INT64, []),
         helper.make_tensor_value_info(names[1], TensorProto.BOOL, []),
         helper.make_tensor_value_info(names[2], TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info(go, TensorProto.BOOL, []),
         helper.make_tensor_value_info(new.name, TensorProto.FLOAT, list(x.shape))],
        inner.stored,
    )  # fmt: skip
    trips = b.const(np.int64(b.dim(0, 3)))
    b.emit("Loop", [trips, b.const(np.array(True)), x], x.shape, "float32", size=x.size + 3,
           body=body)  # fmt: skip


RULES: tuple[Callable[[Builder], None], ...] = (
    unary, unary, unary, positive, exponential, rounding, thresholds, binary, binary, binary,
    whole_numbers, shifts, comparisons, where, clip, cast, prelu, reductions, reductions,
    arg_extremes, running_sum, top_k, reshape, computed_reshape, transpose, ranks, grow,
    concat_split, slices, pad, about_shapes, blocks, triangle, gathers, scatters, one_hot, conv,
    conv, conv1d, conv_transpose, pool, gemm, matmul, einsum, attention, softmax, norms, norms,
    layer_norm, resize, quantised, integer_products, recurrent, branches, loops,
)  # fmt: skip


def make_case(seed: int) -> Case:
    """The graph of a seed: opset 13 to 21, one to eight inputs, three to twelve rules."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, int(rng.integers(13, 22)))
    b.input([b.dim() for _ in range(b.dim(1, 4))], b.pick(FLOATS))
    names = []
    for _ in range(b.dim(3, 12)):
        rule = b.pick(RULES)
        names.append(rule.__name__)
        rule(b)
    made = {n for node in b.nodes for n in node.output}
    read = {n for node in b.nodes for n in node.input}
    outputs = [v for v in b.values if v.name in made and (v.name not in read or b.chance(0.15))]
    if not outputs:
        outputs = [b.emit("Identity", [b.values[0]], b.values[0].shape)]
    ports = [_port(Value(n, str(a.dtype), a.shape)) for n, a in b.inputs.items()]
    graph = helper.make_graph(b.nodes, f"random_{seed}", ports, list(map(_port, outputs)), b.stored)
    opset = helper.make_opsetid("", b.opset)
    version = helper.find_min_ir_version_for([opset], True)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=version)
    return Case(seed, model, b.inputs, tuple(names))


def _port(value: Value) -> onnx.ValueInfoProto:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
    return helper.make_tensor_value_info(value.name, element, list(value.shape))
