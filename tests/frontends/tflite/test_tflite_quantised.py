"""Quantised operators against LiteRT: the float operator between `dequantize` and `quantize`."""

import numpy as np
import pytest
from litert import XNNPACK, run
from tflite_build import Builder
from tflite_cases import weights

import byoc

SHAPE = (1, 6, 8, 4)
X = {"scale": 0.02, "zero": -3}
LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32767, 32767)}


class Quantised:
    """Cases for one dtype of activations: (builder, input) → results."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.wide = dtype == "int16"
        self.input = {"scale": 6e-5, "zero": 0} if self.wide else dict(X)
        if dtype == "uint8":
            self.input["zero"] = 125

    def out(self, b, shape, scale=0.03, zero=5):
        if self.wide:
            scale, zero = scale / 200, 0
        if self.dtype == "uint8":
            zero += 128
        return b.tensor(shape, self.dtype, scale=scale, zero=zero)

    def same(self, b, shape):
        return b.tensor(shape, self.dtype, **self.input)

    def fixed(self, b, shape, low=0.0):
        """The scale that the specification prescribes for results in [low, 1)."""
        if self.wide:
            return b.tensor(shape, "int16", scale=1 / 32768, zero=0)
        zero = (-128 if low == 0 else 0) + (128 if self.dtype == "uint8" else 0)
        return b.tensor(shape, self.dtype, scale=1 / 256 if low == 0 else 1 / 128, zero=zero)

    def weight(self, b, array, axis):
        spread = [i for i in range(array.ndim) if i != axis]
        scale = np.abs(array).max(tuple(spread), keepdims=True) / 127
        if self.dtype == "uint8":
            scale = np.abs(array).max() / 120
            stored = np.clip(np.round(array / scale) + 131, 0, 255)
            return b.const(stored.astype(np.uint8), scale=scale, zero=131), scale
        stored = np.round(array / scale).astype(np.int8)
        return b.const(stored, scale=scale.ravel(), axis=axis), scale.ravel()

    def bias(self, b, scale, count):
        step = np.float32(self.input["scale"]) * np.broadcast_to(scale, count).astype(np.float32)
        if self.dtype == "uint8":
            step = step[:1]
        stored = np.round(weights(count) / step)
        return b.const(stored.astype(np.int64 if self.wide else np.int32), scale=step)

    # -- cases

    def conv(self, b, x):
        w, scale = self.weight(b, weights(6, 3, 3, 4), 0)
        return b.op(
            "CONV_2D", [x, w, self.bias(b, scale, 6)], [self.out(b, (1, 3, 4, 6), 0.06)],
            "Conv2DOptions", strideH=2, strideW=2, fusedActivationFunction=0,
        )  # fmt: skip

    def conv_relu6(self, b, x):
        """The bounds lie inside the range of the result, and must be kept."""
        w, scale = self.weight(b, weights(6, 1, 1, 4), 0)
        return b.op(
            "CONV_2D", [x, w, self.bias(b, scale, 6)], [self.out(b, (1, 6, 8, 6), 0.08)],
            "Conv2DOptions", strideH=1, strideW=1, fusedActivationFunction=3,
        )  # fmt: skip

    def depthwise(self, b, x):
        w, scale = self.weight(b, weights(1, 3, 3, 8), 3)
        return b.op(
            "DEPTHWISE_CONV_2D", [x, w, self.bias(b, scale, 8)], [self.out(b, (1, 6, 8, 8))],
            "DepthwiseConv2DOptions", strideH=1, strideW=1, depthMultiplier=2,
            dilationHFactor=1, dilationWFactor=1, fusedActivationFunction=1,
        )  # fmt: skip

    def dense(self, b, x):
        (flat,) = b.op(
            "RESHAPE", [x, b.const(np.array([6, 32], np.int32))], [self.same(b, (6, 32))]
        )
        array = weights(5, 32)
        scale = np.abs(array).max() / 127
        if self.dtype == "uint8":
            w, scale = self.weight(b, array, 0)
        else:
            w = b.const(np.round(array / scale).astype(np.int8), scale=scale)
        bias = self.bias(b, np.array([scale]), 1 if self.dtype == "uint8" else 5)
        if self.dtype == "uint8":
            bias = -1
        else:
            step = np.float32(self.input["scale"]) * np.float32(scale)
            stored = np.round(weights(5) / step)
            bias = b.const(stored.astype(np.int64 if self.wide else np.int32), scale=step)
        return b.op(
            "FULLY_CONNECTED", [flat, w, bias], [self.out(b, (6, 5), 0.1)],
            "FullyConnectedOptions",
        )  # fmt: skip

    def add(self, b, x):
        (y,) = b.op("LOGISTIC", [x], [self.fixed(b, SHAPE)])
        return [
            y,
            *b.op(
                "ADD", [x, y], [self.out(b, SHAPE)], "AddOptions", fusedActivationFunction=1,
                potScaleInt16=False,
            ),
        ]  # fmt: skip

    def multiply(self, b, x):
        (y,) = b.op("TANH", [x], [self.fixed(b, SHAPE, -1)])
        return [y, *b.op("MUL", [x, y], [self.out(b, SHAPE)], "MulOptions")]

    def pools(self, b, x):
        small = (1, 3, 4, 4)
        values = {"filterHeight": 2, "filterWidth": 2, "strideH": 2, "strideW": 2}
        found = []
        for code in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            found += b.op(code, [x], [self.same(b, small)], "Pool2DOptions", **values)
        return found

    def mean(self, b, x):
        axes = b.const(np.array([1, 2], np.int32))
        return b.op("MEAN", [x, axes], [self.out(b, (1, 4), 0.01)], "ReducerOptions")

    def softmax(self, b, x):
        return b.op("SOFTMAX", [x], [self.fixed(b, SHAPE)], "SoftmaxOptions", beta=1.0)

    def moves(self, b, x):
        pads = b.const(np.array([[0, 0], [1, 1], [0, 2], [0, 0]], np.int32))
        (wide,) = b.op("PAD", [x, pads], [self.same(b, (1, 8, 10, 4))])
        begin, size = (b.const(np.array(v, np.int32)) for v in ([0, 1, 0, 1], [1, -1, 3, 2]))
        (cut,) = b.op("SLICE", [x, begin, size], [self.same(b, (1, 5, 3, 2))])
        axes = b.const(np.array([0, 3, 1, 2], np.int32))
        (turned,) = b.op("TRANSPOSE", [x, axes], [self.same(b, (1, 4, 6, 8))])
        (joined,) = b.op(
            "CONCATENATION", [x, x], [self.same(b, (1, 6, 8, 8))], "ConcatenationOptions", axis=3
        )
        return [wide, cut, turned, joined]

    def requantised(self, b, x):
        return b.op("QUANTIZE", [x], [self.out(b, SHAPE, 0.04)]) + b.op(
            "DEQUANTIZE", [x], [b.tensor(SHAPE)]
        )

    def leaky(self, b, x):
        return b.op("LEAKY_RELU", [x], [self.out(b, SHAPE, 0.02)], "LeakyReluOptions", alpha=0.3)


NAMES = {
    "int8": (
        "conv", "conv_relu6", "depthwise", "dense", "add", "multiply", "pools", "mean", "softmax",
        "moves", "requantised", "leaky",
    ),
    "uint8": ("conv", "conv_relu6", "depthwise", "dense", "add", "pools", "softmax", "moves"),
    "int16": ("conv", "conv_relu6", "depthwise", "dense", "add", "multiply", "mean", "softmax"),
}  # fmt: skip


def build(dtype, names):
    cases, b = Quantised(dtype), Builder()
    x = b.input(SHAPE, dtype, name="x", **cases.input)
    for name in names:
        b.outputs += getattr(cases, name)(b, x)
    return b.build()


def data(dtype):
    low, high = LIMITS[dtype]
    return np.random.default_rng(1).integers(low, high + 1, SHAPE).astype(dtype)


STEPS = {("int16", "multiply"): 2}
"""Of the result's grid, where it is not 1: LiteRT looks tanh of int16 up in a table."""
PRODUCTS = ("conv", "conv_relu6", "depthwise", "dense")


@pytest.mark.parametrize("dtype", NAMES)
def test_quantised_operators_are_a_step_from_litert(dtype):
    exe, x = byoc.compile(build(dtype, NAMES[dtype])), data(dtype)
    found = iter(exe(x))
    for name in NAMES[dtype]:
        for wanted in run(build(dtype, [name]), x):
            value = next(found)
            assert (value.dtype, value.shape) == (wanted.dtype, wanted.shape), name
            distance = np.abs(value.astype(np.float64) - wanted).max()
            assert distance <= STEPS.get((dtype, name), 1), f"{name}: {distance} steps"
            if dtype == "int16" and name in PRODUCTS:  # with LiteRT's own factors
                apart = (value != wanted).mean()
                assert apart < 0.005, f"{name}: {apart:.3%} of values differ"


@pytest.mark.parametrize("vendor", ["dnnl", "npu"])
def test_vendors_are_a_step_from_litert(vendor):
    """And take what there is but softmax and moves, which the npu does not know."""
    names = [n for n in NAMES["int8"] if n not in ("softmax", "moves")]
    model, x = build("int8", names), data("int8")
    exe = byoc.compile(model, vendors=[vendor], min_segment_flops=0)
    assert exe.report.coverage.flops > 0.95
    for value, wanted in zip(exe(x), run(model, x, kernels=XNNPACK), strict=True):
        assert np.abs(value.astype(np.float64) - wanted).max() <= 1
