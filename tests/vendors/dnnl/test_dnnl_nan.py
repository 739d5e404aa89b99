"""NaN stays NaN: what numpy's interpreter makes of inputs with NaN, the library makes, too.

oneDNN's own max and min answer the other operand, so runs that met NaN are repeated by kernels that
keep it (src/checked_instance.h). Every case of the vendor is given NaN in data and in run-time
parameters; every function that can be fused is fused behind every op that fuses, with NaN made in
all the ways there are.
"""

from __future__ import annotations

import cases
import numpy as np
import pytest
from interpret import interpret
from native_programs import Writer, load, run
from relaxed import as_segment, random_inputs, relax_module

from byoc.testing.conformance import all_cases, sweep
from byoc.vendor_templates.dnnl import DnnlOptions
from byoc.vendor_templates.dnnl.compile import compile_segment

ALL = {
    **{f"op_{name}": case for name, case in cases.CASES.items()},
    **{name: (build, [cases.X4]) for name, (build, _) in cases.IDIOMS.items()},
}
# Linear resizing need not read a neighbour of weight 0, an attention row not what is hidden. Few
# groups of odd sizes run as one dense convolution, where NaN of one group reaches the others.
NAMES = [n for n in ALL if "linear" not in n and "causal" not in n and n != "op_conv2d_depthwise"]


@pytest.fixture(scope="module")
def lowered():
    return relax_module({name: ALL[name] for name in NAMES})


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays(name, lowered):
    segment = as_segment(lowered[name])
    for fuse in (True, False):
        artifact = compile_segment(segment, DnnlOptions(fuse=fuse))
        rng = np.random.default_rng(3)
        inputs = random_inputs(segment, seed=1)
        for array in inputs:
            if array.dtype == np.float32:
                array.flat[rng.integers(array.size, size=max(1, array.size // 7))] = np.nan
        with np.errstate(all="ignore"):
            expected = interpret(artifact, inputs)
        for found, want in zip(run(load(artifact), artifact, inputs), expected, strict=True):
            if found.dtype == np.float32:
                np.testing.assert_array_equal(np.isnan(found), np.isnan(want))


@pytest.mark.parametrize("channels", [3, 16, 20])
@pytest.mark.parametrize(
    ("alg", "alpha", "beta"),
    [("relu", 0.0, 0.0), ("clip", 0.0, 6.0), ("clip", 0.5, 1.0), ("hardsigmoid", 0.2, 0.5)],
)
def test_limits_keep_nan_and_infinities_in_every_layout(alg, alpha, beta, channels):
    """Behind a convolution with another reader: blocked memory, channels that fill no block."""
    w = Writer(1)
    x = w.input(1, 3, 6, 5)
    y = w.conv(x, channels, kernel=1)
    limited = w.op("eltwise", [y], w.shape(y), alg=alg, alpha=alpha, beta=beta)
    artifact = w.finish(limited, w.eltwise(y, "tanh"))
    array = np.random.default_rng(0).standard_normal((1, 3, 6, 5)).astype("float32")
    array[0, 1, 2, 3], array[0, 0, 4, 4], array[0, 2, 0, 0] = np.nan, np.inf, -np.inf
    with np.errstate(all="ignore"):
        expected = interpret(artifact, [array])
    for found, want in zip(run(load(artifact), artifact, [array]), expected, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 100, 20000])
@pytest.mark.parametrize("alg", ["max", "min"])
def test_reductions_see_nan_at_every_place(alg, size):
    w = Writer(0)
    x = w.input(4, size)
    artifact = w.finish(w.op("reduction", [x], [4], alg=alg, axes=[1]))
    execute = load(artifact)
    for place in {0, size // 2, size - 1}:
        array = np.random.default_rng(place).standard_normal((4, size)).astype("float32")
        array[1, place] = np.nan
        array[2] = -np.inf
        (found,) = run(execute, artifact, [array])
        np.testing.assert_array_equal(found, getattr(np, alg)(array, 1))


FUNCTIONS = {
    "relu": (0.0, 0.0), "clip": (0.0, 6.0), "hardsigmoid": (0.2, 0.5), "exp": (0.0, 0.0),
    "elu": (1.0, 0.0), "soft_relu": (1.0, 0.0), "mish": (0.0, 0.0), "gelu_erf": (0.0, 0.0),
    "gelu_tanh": (0.0, 0.0), "swish": (1.0, 0.0), "hardswish": (1 / 6, 0.5), "logistic": (0.0, 0.0),
    "tanh": (0.0, 0.0), "sqrt": (0.0, 0.0), "log": (0.0, 0.0), "round": (0.0, 0.0),
}  # fmt: skip
"""What is fused behind other ops: (alpha, beta)."""


def _convolution(w, post, constant):
    x = w.input(1, 3, 6, 5)
    weight = w.weight(20, 3, 1, 1) if constant else w.input(20, 3, 1, 1)
    return w.op(
        "convolution", [x, weight], [1, 20, 6, 5], post, strides=[1, 1], dilations=[1, 1],
        pads_begin=[0, 0], pads_end=[0, 0], groups=1,
    )  # fmt: skip


def _matmul(w, post, constant):
    x = w.input(4, 24)
    weight = w.weight(24, 19) if constant else w.input(24, 19)
    attrs = {"transpose_a": False, "transpose_b": False}
    return w.op("matmul", [x, weight], [4, 19], post, **attrs)


def _sum(w, post, constant):
    x = w.input(2, 5, 33)
    other = w.weight(2, 5, 33) if constant else w.input(2, 5, 33)
    return w.op("binary", [x, other], [2, 5, 33], post, alg="add")


def _average(w, post, constant):
    return w.op(
        "pooling", [w.input(1, 16, 6, 6)], [1, 16, 3, 3], post, alg="avg_include_pad",
        kernel=[2, 2], strides=[2, 2], dilations=[1, 1], pads_begin=[0, 0], pads_end=[0, 0],
    )  # fmt: skip


HOSTS = {"conv": _convolution, "matmul": _matmul, "sum": _sum, "average": _average}


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("host", HOSTS)
def test_fused_functions_keep_nan_however_it_came(host, function, constant):
    alpha, beta = FUNCTIONS[function]
    post = [{"post": "eltwise", "alg": function, "alpha": alpha, "beta": beta}]
    w = Writer(1)
    artifact = w.finish(HOSTS[host](w, post, constant))
    execute = load(artifact)
    shapes = [w.shape(value) for value in w.inputs]
    for number, value in enumerate([None, np.nan, np.inf, -np.inf, 3e38, None]):
        for place in range(len(shapes)):
            rng = np.random.default_rng(number)
            arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes]
            if value is not None:
                arrays[place].flat[:2] = [value, 1 if value == 3e38 else -value]
            with np.errstate(all="ignore"):
                (want,) = interpret(artifact, arrays)
            (found,) = run(execute, artifact, arrays)
            assert not (np.isnan(want) & ~np.isnan(found)).any()
            if value is None:  # ordinary numbers, also after a run that met NaN
                np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 8, 16, 20, 24])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "pad"),
    [(2, 2, 1, 0), (3, 2, 1, 1), (3, 1, 1, 1), (5, 1, 1, 2), (1, 2, 1, 0), (2, 1, 2, 1)],
)
def test_max_pool_sees_nan_and_infinities_at_every_place(channels, kernel, stride, dilation, pad):
    """Plain memory, and what lies behind a convolution: blocked or channels last."""
    size = (9 + 2 * pad - (kernel - 1) * dilation - 1) // stride + 1
    window = {
        "kernel": [kernel] * 2, "strides": [stride] * 2, "dilations": [dilation] * 2,
        "pads_begin": [pad] * 2, "pads_end": [pad] * 2,
    }  # fmt: skip
    w = Writer(1)
    x = w.input(2, channels, 9, 9)
    inner = w.conv(x, channels, kernel=1)
    shape = [2, channels, size, size]
    pools = [w.op("pooling", [value], shape, alg="max", **window) for value in (x, inner)]
    whole = w.op("global_pooling", [inner], [2, channels, 1, 1], alg="max")
    artifact = w.finish(pools[0], w.conv(pools[1], 4, kernel=1), whole)
    execute = load(artifact)
    for value in (0.0, np.nan, np.inf, -np.inf):
        array = np.random.default_rng(0).standard_normal((2, channels, 9, 9)).astype("float32")
        array[0, 0, 4, 5] = array[1, channels - 1, 8, 0] = value
        if value == -np.inf:
            array[:] = value
        with np.errstate(all="ignore"):
            expected = interpret(artifact, [array])
        for found, want in zip(run(execute, artifact, [array]), expected, strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)


def test_exp_is_exact_over_all_floats():
    w = Writer(0)
    x = w.input(1, 4099)
    artifact = w.finish(w.eltwise(x, "exp"))
    edges = [np.nan, np.inf, -np.inf, 88.72, 88.73, -87.4, -103.0, -104.5, 0.0, -0.0, 1e30, -1e30]
    array = np.linspace(-106, 90, 4099, dtype="float32")[None]
    array[0, : len(edges)] = edges
    (found,) = run(load(artifact), artifact, [array])
    with np.errstate(over="ignore"):
        want = np.exp(array.astype("float64")).astype("float32")
    np.testing.assert_allclose(found, want, rtol=5e-7, atol=2e-45)


def test_limits_tell_infinities_from_the_largest_number():
    clips = [case for case in all_cases() if case.op == "clip" and "float32" in case.label]
    verdicts = [(f.label, f.verdict) for f in sweep("dnnl", clips)]
    assert len(verdicts) >= 6
    assert {verdict for _, verdict in verdicts} == {"right"}, verdicts
