"""Rules: quantised values and products of whole numbers."""

from __future__ import annotations

import numpy as np

from byoc.testing.grammar.core import GraphBuilder, KnownValue

__all__ = ["QUANTISED"]


def quantised(b: GraphBuilder) -> None:
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


def integer_products(b: GraphBuilder) -> None:
    x = b.new_input([b.dim(), b.dim()], "uint8")
    y = b.const(b.array([x.shape[1], b.dim()], b.pick(("int8", "uint8"))))
    inputs = [x, y]
    if b.chance(0.5):
        inputs.append(b.const(3, "uint8"))
    b.emit("MatMulInteger", inputs, [x.shape[0], y.shape[1]], "int32", exact=True, size=2000)


def _steps(b: GraphBuilder, kind: str) -> tuple[KnownValue, KnownValue]:
    """A scale and a zero point."""
    scale = b.const(np.float32(b.pick((0.013, 0.0437, 0.101))))
    return scale, b.const(b.pick((0, 3) if kind == "int8" else (0, 120)), kind)


def quantised_products(b: GraphBuilder) -> None:
    """QLinearMatMul and QLinearConv."""
    kind = b.pick(("uint8", "uint8", "int8"))
    x = b.new_input([1, b.dim(1, 4), b.dim(4, 6), b.dim(4, 6)], kind)
    a, y = _steps(b, kind), _steps(b, kind)
    if b.chance(0.5):
        out = b.dim(1, 4)
        w = b.const(b.array([out, x.shape[1], 3, 3], "int8"))
        factor = b.const(np.full(out if b.chance(0.5) else 1, 0.037, np.float32))
        zero = b.const(np.zeros(factor.shape, np.int8))
        inputs = [x, *a, w, factor, zero, *y]
        if b.chance(0.5):
            inputs.append(b.const(b.rng.integers(-50, 50, out).astype(np.int32)))
        q = b.emit("QLinearConv", inputs, [1, out, *x.shape[2:]], kind, size=255,
                   pads=[1, 1, 1, 1])  # fmt: skip
    else:
        n = b.dim()
        w = b.const(b.array([x.shape[3], n], "int8" if kind == "int8" else b.pick(("int8", kind))))
        inputs = [x, *a, w, *_steps(b, w.dtype), *y]
        q = b.emit("QLinearMatMul", inputs, [*x.shape[:3], n], kind, size=255)
    b.emit("DequantizeLinear", [q, *y], q.shape, "float32", size=30)


def by_channel(b: GraphBuilder) -> None:
    """A weight with a scale for each channel, as quantisers write it."""
    x = b.new_input([b.dim(), b.dim(2, 5)], "float32")
    n = b.dim(2, 5)
    weight = b.const(b.rng.integers(-90, 90, [x.shape[1], n]).astype(np.int8))
    scale = b.const((b.rng.integers(1, 9, n) / 256).astype(np.float32))
    w = b.emit("DequantizeLinear", [weight, scale, b.const(np.zeros(n, np.int8))], weight.shape,
               "float32", size=3, axis=1)  # fmt: skip
    b.emit("MatMul", [x, w], [x.shape[0], n], size=40)


def dynamic_scale(b: GraphBuilder) -> None:
    """DynamicQuantizeLinear, MatMulInteger, and the scale brought back."""
    x = b.new_input([b.dim(), b.dim(2, 5)], "float32")
    outs = [KnownValue(b.fresh("dq"), "uint8", x.shape, False, 255),
            KnownValue(b.fresh("dq"), "float32", (), False, 1),
            KnownValue(b.fresh("dq"), "uint8", (), False, 255)]  # fmt: skip
    q, scale, zero = b.many("DynamicQuantizeLinear", [x], outs)
    w = b.const(b.array([x.shape[1], b.dim()], "int8"))
    y = b.emit("MatMulInteger", [q, w, zero], [x.shape[0], w.shape[1]], "int32", size=4000)
    y = b.emit("Cast", [y], y.shape, "float32", size=4, to=1)
    b.emit("Mul", [y, scale], y.shape, size=200)


def integer_conv(b: GraphBuilder) -> None:
    x = b.new_input([1, b.dim(1, 4), b.dim(4, 6), b.dim(4, 6)], "uint8")
    w = b.const(b.array([b.dim(1, 4), x.shape[1], 3, 3], "uint8"))
    inputs = [x, w, b.const(3, "uint8")] if b.chance(0.5) else [x, w]
    b.emit("ConvInteger", inputs, [1, w.shape[0], *x.shape[2:]], "int32", exact=True, size=5000,
           pads=[1, 1, 1, 1])  # fmt: skip


QUANTISED = (
    quantised, quantised_products, by_channel, dynamic_scale, integer_products, integer_conv,
)  # fmt: skip
