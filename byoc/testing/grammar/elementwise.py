"""Rules: operators that work element by element."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from byoc.testing.grammar.core import FLOATS, INTS, MAX_SIZE, GraphBuilder, KnownValue

__all__ = ["ELEMENTWISE"]


_NUMBERS = (*FLOATS, "int32", "int64")

_SMOOTH = {
    "Neg": None, "Abs": None, "Relu": None, "Sigmoid": 1.0, "Tanh": 1.0, "Erf": 1.0, "Sin": 1.0,
    "Cos": 1.0, "Atan": 1.6, "Softplus": None, "Softsign": 1.0, "Elu": None, "Selu": None,
    "LeakyRelu": None, "HardSigmoid": 1.0, "HardSwish": None, "Celu": None, "Gelu": None,
    "Mish": None, "Identity": None, "Sinh": 30.0, "Cosh": 30.0, "Asinh": 6.0, "Shrink": None,
    "Swish": None,
}  # fmt: skip
_SINCE = {"HardSwish": 14, "Gelu": 20, "Mish": 18, "Swish": 24}
_NOT_DOUBLE = {"Erf", "Mish", "Celu", "Gelu", "HardSwish", "Sinh", "Cosh", "Asinh", "Shrink",
               "Swish"}  # fmt: skip


def unary(b: GraphBuilder) -> None:
    x = b.random_float((0, 1, 2, 3, 4))
    op = b.pick([o for o in _SMOOTH if _SINCE.get(o, 0) <= b.opset])
    if x.dtype == "float64" and op in _NOT_DOUBLE:
        op = "Sigmoid"
    if (op in ("Sinh", "Cosh") and x.size > 4) or (op == "Shrink" and not x.exact):
        op = "Tanh"  # the one grows, the other jumps
    bound = _SMOOTH[op]
    attrs: dict[str, Any] = {}
    if op in ("Elu", "LeakyRelu", "Celu", "HardSigmoid") and b.chance(0.5):
        attrs["alpha"] = float(b.pick((0.1, 0.5, 1.0, 2.0)))
    grown = 2.2 * x.size + 2 if bound is None else max(bound, x.size if op == "Gelu" else 0)
    moves = op in ("Neg", "Abs", "Relu", "Identity")
    b.emit(op, [x], x.shape, exact=moves, size=x.size if moves else grown, **attrs)


def positive(b: GraphBuilder) -> None:
    x = b.random_float()
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


def exponential(b: GraphBuilder) -> None:
    x = b.random_float()
    b.emit("Exp", [b.emit("Tanh", [x], x.shape, size=1.0)], x.shape, size=2.8)


def rounding(b: GraphBuilder) -> None:
    x = b.random_float(exact=True)
    op = b.pick(("Ceil", "Floor", "Round", "Sign"))
    b.emit(op, [x], x.shape, exact=True, size=x.size + 1)


def thresholds(b: GraphBuilder) -> None:
    x = b.random_float(exact=True)
    b.emit("ThresholdedRelu", [x], x.shape, exact=True, alpha=0.5)


def _partner(b: GraphBuilder, x: KnownValue) -> tuple[KnownValue, tuple[int, ...]]:
    """A value that broadcasts with x, and the shape of both."""
    shape = [d if b.chance(0.7) else 1 for d in x.shape]
    if b.chance(0.3):
        shape = shape[b.dim(0, max(0, len(shape) - 1)) :]
    if b.chance(0.15):
        shape = []
    y = b.tensor(shape, x.dtype)
    for v in b.values[-6:]:
        if v.dtype == x.dtype and v.shape == x.shape and b.chance(0.6):
            y = v
    return y, tuple(np.broadcast_shapes(x.shape, y.shape))


def binary(b: GraphBuilder) -> None:
    x = b.find(lambda v: v.dtype in (*FLOATS, "int32", "int64"), dtype=b.pick(_NUMBERS))
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


def bits(b: GraphBuilder) -> None:
    if b.opset < 18:
        return
    x = b.find(lambda v: v.dtype in INTS, dtype=b.pick(INTS))
    y = b.tensor(x.shape, x.dtype)
    op = b.pick(("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"))
    b.emit(op, [x] if op == "BitwiseNot" else [x, y], x.shape, exact=True, size=256)


def remainders(b: GraphBuilder) -> None:
    """Mod of floats as C's fmod, of exact values: it jumps."""
    x = b.random_float(exact=True)
    y = b.const(float(b.pick((0.75, 2.0, 3.5))), x.dtype)
    b.emit("Mod", [x, y], x.shape, exact=True, size=4, fmod=1)


def not_numbers(b: GraphBuilder) -> None:
    x = b.random_float()
    if x.dtype == "float16":
        return
    some = b.const(np.array([np.nan, np.inf, -np.inf, 1.0]).astype(x.dtype))
    wide = b.emit("Unsqueeze", [b.emit("Tanh", [x], x.shape, size=1), b.ints([x.rank])],
                  [*x.shape, 1])  # fmt: skip
    name = b.fresh("add")
    b.nodes.append(helper.make_node("Add", [wide.name, some.name], [name], name=name))
    y = KnownValue(name, x.dtype, (*x.shape, 4))
    b.emit(b.pick(("IsNaN", "IsInf")), [y], y.shape, "bool", size=1)


def whole_numbers(b: GraphBuilder) -> None:
    x = b.find(lambda v: v.dtype in ("int32", "int64"), dtype="int64")
    op = b.pick(("Mod", "Neg", "Abs", "Sign", "Pow"))
    if op == "Mod":
        y = b.const(b.rng.integers(1, 7, x.shape).astype(x.dtype))
        b.emit("Mod", [x, y], x.shape, exact=True, size=7)
    elif op == "Pow" and x.size < 1000:
        b.emit("Pow", [x, b.const(2, x.dtype)], x.shape, exact=True, size=x.size**2)
    else:
        b.emit(op if op != "Pow" else "Abs", [x], x.shape, exact=True)


def shifts(b: GraphBuilder) -> None:
    shape = [b.dim() for _ in range(2)]
    x = b.new_input(shape, "uint8")
    y = b.const(b.rng.integers(0, 4, shape).astype("uint8"))
    b.emit("BitShift", [x, y], shape, exact=True, size=255, direction=b.pick(("LEFT", "RIGHT")))


def comparisons(b: GraphBuilder) -> None:
    x = b.exact_value()
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


def where(b: GraphBuilder) -> None:
    x = b.find(lambda v: v.dtype in (*FLOATS, "int64", "int32", "uint8") and v.rank > 0,
               dtype=b.pick((*_NUMBERS, "uint8")))  # fmt: skip
    y, shape = _partner(b, x)
    c = b.tensor([d if b.chance(0.7) else 1 for d in shape], "bool")
    b.emit("Where", [c, x, y], shape, x.dtype, exact=True, size=max(x.size, y.size))


def clip(b: GraphBuilder) -> None:
    x = b.find(lambda v: v.dtype in (*FLOATS, *INTS), dtype=b.pick((*FLOATS, *INTS)))
    low = b.const(0 if b.chance(0.5) or x.dtype[0] == "u" else -1, x.dtype)
    high = b.const(3, x.dtype) if b.chance(0.7) else None
    inputs = [x, low, high] if b.chance(0.8) or high is None else [x, None, high]
    b.emit("Clip", inputs, x.shape, exact=True)


def cast(b: GraphBuilder) -> None:
    x = b.exact_value()
    if x.dtype == "bool":
        target = b.pick(("float32", "int64", "int32", "float16"))
    elif x.dtype.startswith("float"):
        target = b.pick(("float32", "float16", "float64", "int32", "int64", "bool"))
    else:
        target = b.pick(("float32", "float64", "int64", "int32", "bool"))
        if x.size < 100:  # beyond, casts to small integers are anybody's
            target = b.pick((target, "int8"))
    if x.size > 1e4:
        return
    to = helper.np_dtype_to_tensor_dtype(np.dtype(target))
    b.emit("Cast", [x], x.shape, target, exact=True, to=to)


def prelu(b: GraphBuilder) -> None:
    x = b.random_float((2, 3, 4))
    slope = b.const(b.array([x.shape[1], *[1] * (x.rank - 2)], x.dtype))
    b.emit("PRelu", [x, slope], x.shape, size=x.size * 4)


ELEMENTWISE = (
    unary, unary, unary, positive, exponential, rounding, thresholds, binary, binary, binary,
    whole_numbers, bits, remainders, not_numbers, shifts, comparisons, where, clip, cast, prelu,
)  # fmt: skip
