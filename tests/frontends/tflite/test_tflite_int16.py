"""int16 activations: every operator gives LiteRT's values; networks do in test_tflite_networks."""

import numpy as np
import pytest
from litert import BUILTIN, run
from tflite_build import Builder

import byoc

SHAPE = (1, 12, 10, 8)
STEP = 6e-5


def wide(b, shape, scale):
    return b.tensor(shape, "int16", scale=scale, zero=0)


def parts(count, large, spread=1.0):
    """(weights' scales, bias) for sums that reach the ends of the result's grid."""
    rng = np.random.default_rng(count)
    scale = (rng.uniform(0.002, 0.005, count) * spread).astype(np.float32)
    return scale, rng.integers(-large, large, count).astype(np.int64)


def stored(*shape):
    return np.random.default_rng(len(shape)).integers(-127, 128, shape).astype(np.int8)


def conv(b, x):
    scale, bias = parts(6, 10**6)
    w, v = b.const(stored(6, 3, 3, 8), scale=scale), b.const(bias, scale=scale * STEP)
    values = {"strideH": 2, "strideW": 2, "fusedActivationFunction": 1}
    return b.op("CONV_2D", [x, w, v], [wide(b, (1, 6, 5, 6), 2e-3)], "Conv2DOptions", **values)


def conv_relu6(b, x):
    scale, bias = parts(5, 10**6)
    w, v = b.const(stored(5, 1, 1, 8), scale=scale), b.const(bias, scale=scale * STEP)
    values = {"strideH": 1, "strideW": 1, "fusedActivationFunction": 3}
    return b.op("CONV_2D", [x, w, v], [wide(b, (1, 12, 10, 5), 4e-4)], "Conv2DOptions", **values)


def conv_of_many(b, x):
    """Weights that add up to more than float32 holds: float64 does it."""
    scale, bias = parts(3, 10**6, 0.02)
    big = np.where(stored(3, 15, 15, 8) > 0, 127, 126).astype(np.int8)
    w, v = b.const(big, scale=scale), b.const(bias, scale=scale * STEP)
    values = {"strideH": 4, "strideW": 4, "fusedActivationFunction": 0}
    return b.op("CONV_2D", [x, w, v], [wide(b, (1, 3, 3, 3), 1e-3)], "Conv2DOptions", **values)


def depthwise(b, x):
    scale, bias = parts(16, 10**6)
    w, v = b.const(stored(1, 3, 3, 16), scale=scale, axis=3), b.const(bias, scale=scale * STEP)
    return b.op(
        "DEPTHWISE_CONV_2D", [x, w, v], [wide(b, (1, 12, 10, 16), 6e-4)], "DepthwiseConv2DOptions",
        strideH=1, strideW=1, depthMultiplier=2, dilationHFactor=1, dilationWFactor=1,
        fusedActivationFunction=2,
    )  # fmt: skip


def transposed(b, x):
    scale, bias = parts(4, 10**6)
    w, v = b.const(stored(4, 2, 2, 8), scale=scale), b.const(bias, scale=scale * STEP)
    shape = b.const(np.array([1, 24, 20, 4], np.int32))
    return b.op(
        "TRANSPOSE_CONV", [shape, w, x, v], [wide(b, (1, 24, 20, 4), 1e-3)],
        "TransposeConvOptions", strideH=2, strideW=2,
    )  # fmt: skip


def dense(b, x):
    (flat,) = b.op("RESHAPE", [x, b.const(np.array([4, 240], np.int32))], [wide(b, (4, 240), STEP)])
    found = []
    for scale in (np.float32([0.0031]), parts(9, 1)[0]):
        w = b.const(stored(9, 240), scale=scale)
        v = b.const(parts(9, 10**7)[1], scale=scale * STEP)
        found += b.op(
            "FULLY_CONNECTED", [flat, w, v], [wide(b, (4, 9), 2e-3)], "FullyConnectedOptions"
        )
    return found


def sums(b, x):
    (y,) = b.op("RESHAPE", [x, b.const(np.array(SHAPE, np.int32))], [wide(b, SHAPE, STEP)])
    vector = b.const(np.arange(-4, 4).astype(np.int16) * 8000, scale=3.1e-5)
    found = []
    for code in ("ADD", "SUB"):  # x - x is too little to tell
        for other, scale, act in ((y, 8.3e-5, 0), (vector, 5.9e-5, 1), (vector, 9.5e-4, 3)):
            if (code, other) == ("SUB", y):
                continue
            found += b.op(
                code, [x, other], [wide(b, SHAPE, scale)], f"{code.title()}Options",
                fusedActivationFunction=act, potScaleInt16=False,
            )  # fmt: skip
    return found


def products(b, x):
    vector = b.const(np.arange(-4, 4).astype(np.int16) * 8000, scale=3.1e-5)
    return [
        y
        for scale in (8.3e-5, 3.7e-6)
        for y in b.op("MUL", [x, vector], [wide(b, SHAPE, scale)], "MulOptions")
    ]


def means(b, x):
    found = []
    for axes, shape, scale in (
        ([1, 2], (1, 8), 3e-6),
        ([3], (1, 12, 10), STEP),
        ([2], (1, 12, 8), 1e-4),
    ):
        at = b.const(np.array(axes, np.int32))
        found += b.op("MEAN", [x, at], [wide(b, shape, scale)], "ReducerOptions")
    return found


def pools(b, x):
    found = []
    for window, stride, code, shape in (
        ((2, 2), 2, 1, (1, 6, 5, 8)), ((3, 4), 3, 0, (1, 4, 4, 8)), ((12, 10), 1, 1, (1, 1, 1, 8)),
    ):  # fmt: skip
        found += b.op(
            "AVERAGE_POOL_2D", [x], [wide(b, shape, STEP)], "Pool2DOptions", filterHeight=window[0],
            filterWidth=window[1], strideH=stride, strideW=stride, padding=code,
        )  # fmt: skip
    return found


def softmax(b, x):
    found = []
    for beta in (1.0, 7.5, 0.1):
        found += b.op(
            "SOFTMAX", [x], [wide(b, SHAPE, 1 / 32768)], "SoftmaxOptions", beta=beta
        )  # fmt: skip
    return found


CASES = (
    conv, conv_relu6, conv_of_many, depthwise, transposed, dense, sums, products, means, pools,
    softmax,
)  # fmt: skip


def built(case):
    b = Builder()
    b.outputs += case(b, b.input(SHAPE, "int16", name="x", scale=STEP, zero=0))
    return b.build()


def images():
    """Random values, ends of the range, and small ones, whose results meet ties."""
    rng = np.random.default_rng(3)
    yield rng.integers(-32768, 32768, SHAPE).astype(np.int16)
    yield rng.choice([-32768, -128, -1, 0, 1, 127, 128, 32767], SHAPE).astype(np.int16)
    yield rng.integers(-300, 300, SHAPE).astype(np.int16)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_operators_equal_litert(case):
    model = built(case)
    exe = byoc.compile(model)
    for number, x in enumerate(images()):
        found = exe(x)
        wanted = run(model, x, kernels=BUILTIN)
        for i, (a, b) in enumerate(zip(found if len(wanted) > 1 else [found], wanted, strict=True)):
            assert a.dtype == b.dtype == np.int16
            assert np.array_equal(a, b), f"result {i}: {(a != b).mean():.2%} of values differ"
            assert number or np.ptp(b.astype(np.int64)) > 100, "the operator answers something"


@pytest.mark.parametrize(("code", "shape"), [("ADD", (16,)), ("ADD", (1,)), ("SUB", (16,))])
def test_sums_round_where_litert_does(code, shape):
    """A pair that shows it: rounded once in vector code (ADD of one shape), twice elsewhere."""
    scale, other = 0.00011602906306507066, -6277 if code == "ADD" else 6277
    b = Builder()
    x = b.input((16,), "int16", name="x", scale=8.657515718368813e-05, zero=0)
    y = b.const(np.full(shape, other, np.int16), scale=scale)
    b.outputs += b.op(
        code, [x, y], [wide(b, (16,), scale)], f"{code.title()}Options",
        fusedActivationFunction=0, potScaleInt16=False,
    )  # fmt: skip
    model, data = b.build(), np.full(16, 7144, np.int16)
    found, (wanted,) = byoc.compile(model)(data), run(model, data, kernels=BUILTIN)
    assert found.tolist() == wanted.tolist()
    assert set(found.tolist()) == {-947 if (code, shape) == ("ADD", (16,)) else -946}


def test_vendors_take_the_products_and_change_nothing():
    """Two float32 convolutions of bytes are exact in whatever order an engine adds."""
    for case in (conv, depthwise, dense):
        model = built(case)
        exe = byoc.compile(model, vendors=["dnnl"], min_segment_flops=0)
        assert exe.report.coverage.flops > 0.8, case.__name__
        for x in images():
            found, wanted = exe(x), run(model, x, kernels=BUILTIN)
            for a, b in zip(found if len(wanted) > 1 else [found], wanted, strict=True):
                assert np.array_equal(a, b), case.__name__
