"""Products of a softmax in float16: rounded once."""

from __future__ import annotations

import numpy as np
import pytest
from host_runner import Compiled, module
from tvm import relax

op = relax.op


def shares(scores):
    power = np.exp(scores - scores.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


@pytest.mark.parametrize("keys", [6, 70])
def test_a_product_of_shares_is_rounded_once(keys):
    """Shares in float16 would be off by more than half a step of the result."""
    run = Compiled(
        module(
            lambda b, s, v: b.emit(op.matmul(b.emit(op.nn.softmax(s, -1)), v)),
            ((2, 3, 16, keys), "float16"),
            ((2, 3, keys, 8), "float16"),
        )
    )
    rng = np.random.default_rng(keys)
    s = rng.standard_normal((2, 3, 16, keys)).astype("float16")
    v = rng.uniform(1, 2, (2, 3, keys, 8)).astype("float16")
    exact = shares(s.astype("float64")) @ v.astype("float64")
    between = shares(s.astype("float64")).astype("float16").astype("float64") @ v.astype("float64")
    half = np.spacing(exact.astype("float16")).astype("float64") / 2
    found = run(s, v)
    assert found.dtype == np.float16
    assert np.all(np.abs(found.astype("float64") - exact) <= 1.001 * half)
    assert not np.all(np.abs(between.astype("float16") - exact) <= 1.001 * half)


def test_attention_in_float16_is_near_the_exact_one():
    run = Compiled(
        module(
            lambda b, q, k, v: b.emit(op.nn.attention(q, k, v)),
            *[((2, n, 3, 8), "float16") for n in (4, 6, 6)],
        )
    )
    rng = np.random.default_rng(1)
    q, k, v = (rng.random((2, n, 3, 8)).astype("float16") for n in (4, 6, 6))
    wide_q, wide_k, wide_v = (a.astype("float64").transpose(0, 2, 1, 3) for a in (q, k, v))
    exact = shares(wide_q @ wide_k.transpose(0, 1, 3, 2) / np.sqrt(8)) @ wide_v
    np.testing.assert_allclose(
        run(q, k, v).astype("float64"), exact.transpose(0, 2, 1, 3), rtol=1e-3, atol=1e-7
    )
