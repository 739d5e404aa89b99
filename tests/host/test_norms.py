"""Group, instance and layer norms over several axes, of rows that hardly vary."""

from __future__ import annotations

import numpy as np
import pytest
from host_runner import Compiled, module
from tvm import relax

op = relax.op
SHAPE = (2, 8, 5, 6)
RNG = np.random.default_rng(3)
GAMMA, BETA = (RNG.standard_normal(8).astype("float32") for _ in range(2))
WIDE_GAMMA, WIDE_BETA = (RNG.standard_normal((5, 6)).astype("float32") for _ in range(2))


def normalised(x, axes):
    x = x.astype("float64")
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + 1e-5)


def by_channel(y):
    return y * GAMMA[:, None, None] + BETA[:, None, None]


def grouped(x):
    return by_channel(normalised(x.reshape(2, 4, -1), -1).reshape(SHAPE))


CASES = {
    "group_norm": (
        lambda x: op.nn.group_norm(
            x, relax.const(GAMMA), relax.const(BETA), 4, channel_axis=1, axes=[2, 3], epsilon=1e-5
        ),
        grouped,
    ),
    "instance_norm": (
        lambda x: op.nn.instance_norm(
            x, relax.const(GAMMA), relax.const(BETA), channel_axis=1, axes=[2, 3], epsilon=1e-5
        ),
        lambda x: by_channel(normalised(x, (2, 3))),
    ),
    "layer_norm": (
        lambda x: op.nn.layer_norm(
            x, relax.const(WIDE_GAMMA), relax.const(WIDE_BETA), axes=[-2, -1], epsilon=1e-5
        ),
        lambda x: normalised(x, (2, 3)) * WIDE_GAMMA + WIDE_BETA,
    ),
    "layer_norm of all": (
        lambda x: op.nn.layer_norm(
            x,
            relax.const(np.ones(SHAPE, "float32")),
            relax.const(np.zeros(SHAPE, "float32")),
            axes=[0, 1, 2, 3],
            epsilon=1e-5,
        ),
        lambda x: normalised(x, (0, 1, 2, 3)),
    ),
}


@pytest.mark.parametrize("name", ["layer_norm", "layer_norm of rows", "group_norm", "no scale"])
def test_norms_of_doubles_keep_their_digits(name):
    x = 1e3 + np.random.default_rng(4).standard_normal(SHAPE)
    scale, shift = np.arange(1.0, 9.0), np.arange(-3.0, 5.0)
    double = lambda v: relax.const(v, "float64")  # noqa: E731
    wide = np.arange(1.0, 31.0).reshape(5, 6)
    build, expected = {
        "layer_norm": (
            lambda v: op.nn.layer_norm(v, double(wide), double(-wide), axes=[-2, -1]),
            normalised(x, (2, 3)) * wide - wide,
        ),
        "layer_norm of rows": (
            lambda v: op.nn.layer_norm(v, double(wide[0]), double(wide[1]), axes=[-1]),
            normalised(x, 3) * wide[0] + wide[1],
        ),
        "group_norm": (
            lambda v: op.nn.group_norm(
                v, double(scale), double(shift), 4, channel_axis=1, axes=[2, 3]
            ),
            normalised(x.reshape(2, 4, -1), -1).reshape(SHAPE) * scale[:, None, None]
            + shift[:, None, None],
        ),
        "no scale": (
            lambda v: op.nn.instance_norm(
                v, double(scale), double(shift), 1, [2, 3], 1e-5, True, False
            ),
            normalised(x, (2, 3)) + shift[:, None, None],
        ),
    }[name]
    run = Compiled(module(lambda bb, v: bb.emit(build(v)), (SHAPE, "float64")), threads=1)
    np.testing.assert_allclose(run(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_norms_of_rows_that_hardly_vary(name):
    """Mean 100, deviation 0.05: E[x²] - E[x]² in float32 would leave no digit of the variance."""
    build, reference = CASES[name]
    run = Compiled(module(lambda b, x: b.emit(build(x)), (SHAPE, "float32")))
    for mean, spread in ((0, 1), (100, 0.05)):
        x = (mean + spread * RNG.standard_normal(SHAPE)).astype("float32")
        np.testing.assert_allclose(run(x), reference(x), atol=2e-3 if mean else 1e-5, rtol=1e-4)


def test_every_part_has_the_name_of_the_norm():
    build, _ = CASES["group_norm"]

    def two(b, x):
        return b.emit(op.tanh(b.emit(build(x), "norm")), "tanh_of_it")

    lowered = Compiled(module(two, (SHAPE, "float32"))).lowered
    names = {name for each in lowered.sources.values() for name in each}
    bound = {b.var.name for block in lowered.main.body.blocks for b in block.bindings}
    assert "norm" in names | bound
    assert not {n for n in names | bound if n.startswith("lv")}
