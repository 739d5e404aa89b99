"""Sums of float16 and bfloat16 whose parts pass the range or precision of the type."""

from __future__ import annotations

import numpy as np
import pytest
from host_runner import Compiled, module
from tvm import relax

op = relax.op
RAMP = np.where(np.arange(64) < 32, 3000, -3000) + np.arange(64)
FLAT = np.full((4, 64), 3000)
IMAGE = np.repeat([3000, -3000], 8)[:, None] * np.ones((1, 2, 16, 16))
CHANNELS = np.repeat([3000, -3000], 32)[:, None, None] * np.ones((1, 64, 2, 2))
HUNDRED = np.full((64, 4), 50)

CASES = {
    "sum": (lambda x: op.sum(x, [1]), [[RAMP] * 4], lambda x: x.sum(1)),
    "sum of columns": (lambda x: op.sum(x, [0]), [np.transpose([RAMP] * 4)], lambda x: x.sum(0)),
    "sum of ones": (lambda x: op.sum(x, [1]), [np.ones((1, 2048))], lambda x: x.sum(1)),
    "mean": (lambda x: op.mean(x, [1]), [FLAT], lambda x: x.mean(1)),
    "mean of all": (op.mean, [FLAT], lambda x: x.mean()),
    "mean of means": (lambda x: op.mean(op.mean(x, [1])), [FLAT], lambda x: x.mean()),
    "variance": (lambda x: op.variance(x, [1]), [FLAT], lambda x: x.var(1)),
    "std": (lambda x: op.std(x, [1]), [[RAMP / 16] * 4], lambda x: x.std(1)),
    "prod": (
        lambda x: op.prod(x, [1]),
        [np.repeat([4, 0.25], 32)[None]],
        lambda x: x.prod(1),
    ),
    "cumsum": (lambda x: op.cumsum(x, 1), [np.ones((1, 3000))], lambda x: x.cumsum(1)),
    "avg_pool2d": (
        lambda x: op.nn.avg_pool2d(x, (8, 8), (8, 8)),
        [IMAGE],
        lambda x: x.reshape(1, 2, 2, 8, 2, 8).mean((3, 5)),
    ),
    "adaptive_avg_pool2d": (
        lambda x: op.nn.adaptive_avg_pool2d(x, (1, 1)),
        [abs(IMAGE)],
        lambda x: x.mean((2, 3), keepdims=True),
    ),
    "matmul": (op.matmul, [[RAMP] * 4, HUNDRED], lambda x, y: x @ y),
    "matmul with a vector": (op.matmul, [[RAMP] * 4, HUNDRED[:, 0]], lambda x, y: x @ y),
    "einsum": (lambda x, y: op.einsum((x, y), "ij,jk->ik"), [[RAMP] * 4, HUNDRED], np.matmul),
    "conv2d_transpose": (
        lambda x, w: op.nn.conv2d_transpose(x, w),
        [CHANNELS, np.full((64, 3, 1, 1), 50)],
        lambda x, w: np.zeros((1, 3, 2, 2)),
    ),
    "nll_loss": (
        lambda x: op.nn.nll_loss(x, relax.const(np.zeros(64), "int64"), reduction="mean"),
        [np.full((64, 4), -3000)],
        lambda x: np.float64(3000),
    ),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_sums_are_taken_in_float32(name, dtype):
    build, given, reference = CASES[name]
    operands = [np.array(x, np.float32) for x in given]

    def narrow(builder, *xs):
        y = builder.emit(build(*(builder.emit(op.astype(x, dtype)) for x in xs)))
        return builder.emit(op.astype(y, "float32"))

    run = Compiled(module(narrow, *((x.shape, "float32") for x in operands)))
    found = run(*operands)
    steps = 2**-10 if dtype == "float16" else 2**-7
    exact = reference(*(_rounded(x, dtype).astype(np.float64) for x in operands))
    limit = 65504 if dtype == "float16" else np.inf
    wanted = np.where(abs(exact) > limit, np.copysign(np.inf, exact), exact)
    np.testing.assert_allclose(found, wanted, rtol=2 * steps, atol=1e-3)


def _rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers as the type holds them."""
    if dtype == "float16":
        return x.astype(np.float16)
    bits = x.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
