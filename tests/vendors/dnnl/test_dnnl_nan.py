"""NaN stays NaN: what numpy's interpreter makes of inputs with NaN, the library makes, too.

Left out is what oneDNN itself computes with the processor's max and min, which answer the other
operand: see `_lost_by_onednn` and README.md.
"""

from __future__ import annotations

import json

import cases
import numpy as np
import pytest
from interpret import interpret
from native_programs import Writer, load, run
from relaxed import as_segment, random_inputs, relax_module

from byoc.vendor_templates.dnnl import DnnlOptions
from byoc.vendor_templates.dnnl.compile import compile_segment

ALL = {
    **{f"op_{name}": case for name, case in cases.CASES.items()},
    **{name: (build, [cases.X4]) for name, (build, _) in cases.IDIOMS.items()},
}
# Linear resizing need not read a neighbour of weight 0, an attention row not what is hidden. Few
# groups of odd sizes run as one dense convolution, where NaN of one group reaches the others.
NAMES = [n for n in ALL if "linear" not in n and "causal" not in n and n != "op_conv2d_depthwise"]

_LOST = {"relu", "clip", "hardsigmoid", "exp"}
"""Functions that lose NaN inside a primitive of oneDNN."""


def _lost_by_onednn(op):
    """True for an op with a step of oneDNN's that turns NaN into a number."""
    posts = [p for p in op.get("post", []) if p["post"] == "eltwise" and p["alg"] in _LOST]
    if any(p["alg"] != "relu" or p["alpha"] == 0 for p in posts):
        return True
    alg = op["attrs"].get("alg")
    if op["kind"] in ("pooling", "global_pooling"):
        return alg == "max"
    if op["kind"] == "eltwise":
        return alg == "exp"
    return False


@pytest.fixture(scope="module")
def lowered():
    return relax_module({name: ALL[name] for name in NAMES})


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays(name, lowered):
    segment = as_segment(lowered[name])
    for fuse in (True, False):
        artifact = compile_segment(segment, DnnlOptions(fuse=fuse))
        if any(_lost_by_onednn(op) for op in json.loads(artifact.blob)["ops"]):
            continue
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
