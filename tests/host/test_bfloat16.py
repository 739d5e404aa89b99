"""bfloat16 on the host: every op rounds, as eager torch does, in kernels of several ops too."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from tvm import relax

import byoc
from byoc.ir.arrays import from_numpy

BF16 = np.dtype(ml_dtypes.bfloat16)

_EDGES = [0.0, -0.0, 1 / 3, 65504, 70000, 1e-8, 3.4e38, -3.4e38, 1.00390625, 1.01171875,
          np.inf, -np.inf, np.nan]  # fmt: skip


def _compiled(build, *arrays):
    bb = relax.BlockBuilder()
    given = [
        relax.Var(f"x{i}", relax.TensorType(a.shape, str(a.dtype))) for i, a in enumerate(arrays)
    ]
    with bb.function("main", given):
        with bb.dataflow():
            out = bb.emit_output(build(bb, *given))
        bb.emit_func_output(out)
    return byoc.compile(bb.get(), [])


def _same_bits(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    known = ~np.isnan(expected.astype(np.float32))
    bits = f"u{found.itemsize}"
    np.testing.assert_array_equal(found[known].view(bits), expected[known].view(bits))


def test_a_cast_there_and_back_rounds():
    rng = np.random.default_rng(0)
    x = np.concatenate([_EDGES, rng.normal(size=300) * 10.0 ** rng.integers(-30, 30, 300)])
    x = x.astype(np.float32)

    def build(bb, a):
        return relax.op.astype(bb.emit(relax.op.astype(a, "bfloat16")), "float32")

    with np.errstate(over="ignore"):
        _same_bits(_compiled(build, x)(x), x.astype(BF16).astype(np.float32))


@pytest.mark.parametrize("seed", range(4))
def test_chains_round_after_every_op(seed):
    rng = np.random.default_rng(seed)
    ops = rng.choice(["add", "subtract", "multiply", "divide", "maximum", "negative"], 5)
    a, b = ((rng.normal(size=64) * 3).astype(BF16) for _ in range(2))

    def build(bb, x, y):
        for name in ops:
            op = getattr(relax.op, name)
            x = bb.emit(op(x) if name == "negative" else op(x, y))
        return x

    expected = a
    for name in ops:
        function = getattr(np, name)
        expected = function(expected) if name == "negative" else function(expected, b)
    _same_bits(_compiled(build, a, b)(a, b), expected)


@pytest.mark.parametrize("kind", ["product", "convolution"])
def test_constant_weights_are_packed(kind):
    rng = np.random.default_rng(0)
    shape, data = ((8, 5), (3, 8)) if kind == "product" else ((4, 3, 3, 3), (1, 3, 6, 6))
    weight, x = (rng.integers(-3, 4, s).astype(BF16) for s in (shape, data))

    def build(bb, a):
        w = relax.const(from_numpy(weight))
        return relax.op.matmul(a, w) if kind == "product" else relax.op.nn.conv2d(a, w)

    found = _compiled(build, x)(x)
    wide = [v.astype(np.float64) for v in (x, weight)]
    if kind == "product":
        expected = wide[0] @ wide[1]
    else:
        windows = np.lib.stride_tricks.sliding_window_view(wide[0], (3, 3), axis=(2, 3))
        expected = np.einsum("nchwij,ocij->nohw", windows, wide[1])
    _same_bits(found, expected.astype(BF16))
