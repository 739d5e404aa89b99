"""Rewrites of the normal form keep what floats round, overflow and hide.

Generated chains of sums, products and quotients with constants, ended by what shows a rounding
(floor, round, a cast, a comparison), at values where a rewrite over the reals would differ:
whole multiples, halves, ties, magic numbers, overflow. The judge is numpy, one operation at a time.
"""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax
from tvm.relax import op as R

import byoc

MAGIC = {"float32": 12582912.0, "float16": 1536.0}
OPS = {
    "add": (R.add, np.add),
    "subtract": (R.subtract, np.subtract),
    "multiply": (R.multiply, np.multiply),
    "divide": (R.divide, np.divide),
}
ENDS = {
    "plain": (lambda x: x, lambda x: x),
    "floor": (R.floor, np.floor),
    "round": (R.round, np.rint),
    "less": (
        lambda x: R.astype(R.less(x, relax.const(1.0, x.ty.dtype)), "float32"),
        lambda x: (x < x.dtype.type(1)).astype("float32"),
    ),
}


def _edges(dtype, divisor):
    """Multiples of the divisor, halves, ties, and values near the ends of the type."""
    info = np.finfo(dtype)
    count = np.arange(-20, 30)
    with np.errstate(over="ignore"):
        return np.concatenate(
            [
                count * np.float64(np.dtype(dtype).type(divisor)),
                count / 2,
                [0.3, 0.49999997, 100.49, 1e-3, float(info.max) / 2, float(info.tiny) * 4],
            ]
        ).astype(dtype)


# A float after a product and a sum may be rounded once (a fused multiply-add): no chain here has
# one whose product is not exact.
CHAINS = [
    [("add", "magic"), ("subtract", "magic")],
    [("subtract", "magic"), ("add", "magic")],
    [("divide", 0.125), ("add", "magic"), ("subtract", "magic"), ("multiply", 0.125)],
    [("multiply", 300.0), ("multiply", 300.0)],
    [("multiply", 300.0), ("divide", 300.0)],
    [("divide", 3.0), ("divide", 7.0)],
    [("add", 0.1), ("add", 0.2), ("subtract", 0.3)],
    [("add", 2048.0), ("subtract", 2048.0)],
    *([("divide", d)] for d in (41.0, 47.0, 49.0, 55.0, 3.0, 10.0, 0.1, 0.7, 4.0)),
]


@pytest.mark.parametrize("vector", [False, True], ids=["number", "vector"])
@pytest.mark.parametrize("vendors", [(), ("dnnl",)], ids=["host", "dnnl"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_chains_of_constants_are_not_joined(dtype, vendors, vector):
    """All chains and ends are results of one module: one build per parameter."""
    builder = relax.BlockBuilder()
    columns = 5
    inner = (2, 1) if vector else ()  # a map, whose constants are one per channel
    shape = (len(_edges(dtype, 1.0)), columns, *inner)
    names = [(k, end) for k in range(len(CHAINS)) for end in ENDS]
    params = [relax.Var(f"x{k}", relax.TensorType(shape, dtype)) for k in range(len(CHAINS))]
    with builder.function("main", params):
        with builder.dataflow():
            results = []
            for k, end in names:
                y = params[k]
                for op, number in CHAINS[k]:
                    value = np.dtype(dtype).type(_number(number, dtype))
                    vary = np.full((columns, *inner), value) if vector else value
                    y = builder.emit(OPS[op][0](y, relax.const(vary)))
                results.append(builder.emit_output(builder.normalize(ENDS[end][0](y))))
        builder.emit_func_output(relax.Tuple(results))
    values = {}
    for k, chain in enumerate(CHAINS):
        divisor = next((n for op, n in chain if op == "divide"), 1.0)
        column = _edges(dtype, divisor).reshape(-1, *[1] * (len(shape) - 1))
        values[k] = np.ascontiguousarray(np.broadcast_to(column, shape))
    exe = byoc.compile(builder.get(), vendors=vendors)
    found = exe(*(values[k] for k in range(len(CHAINS))))
    with np.errstate(all="ignore"):
        for (k, end), got in zip(names, found, strict=True):
            want = values[k]
            for op, number in CHAINS[k]:
                want = OPS[op][1](want, np.dtype(dtype).type(_number(number, dtype)))
            want = ENDS[end][1](want)
            np.testing.assert_array_equal(got, want, err_msg=f"{CHAINS[k]} {end} {dtype}")


def _number(number, dtype):
    return MAGIC[dtype] if number == "magic" else number


@pytest.mark.parametrize("vendors", [(), ("dnnl",)], ids=["host", "dnnl"])
def test_rounding_behind_a_convolution(vendors, rng):
    """A bias and a magic number are no one bias, nor is the number part of the weights."""
    weight = rng.standard_normal((4, 3, 1, 1)).astype("float32")
    bias = rng.standard_normal((1, 4, 1, 1)).astype("float32")
    magic = np.full((1, 4, 1, 1), MAGIC["float32"], "float32")
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType([1, 3, 6, 5], "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit(R.nn.conv2d(x, relax.const(weight)))
            y = builder.emit(R.add(y, relax.const(bias)))
            y = builder.emit(R.add(y, relax.const(magic)))
            y = builder.emit_output(R.subtract(y, relax.const(magic)))
        builder.emit_func_output(y)
    array = rng.standard_normal((1, 3, 6, 5)).astype("float32")
    sums = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0].astype("f8"), array) + bias
    clear = np.abs(sums - np.floor(sums) - 0.5) > 1e-4  # not where a rounding of the sum decides
    found = byoc.compile(builder.get(), vendors=vendors)(array)
    np.testing.assert_array_equal(found[clear], np.rint(sums)[clear])


@pytest.mark.parametrize("vendors", [(), ("dnnl",)], ids=["host", "dnnl"])
@pytest.mark.parametrize("size", [1.0, 60.0], ids=["small scores", "large scores"])
@pytest.mark.parametrize("low", [-1e4, -65504.0, -1e9, -3.4e38])
def test_masks_that_select(low, size, vendors, rng):
    """Rows hidden whole, and scores that reach the number; constant, causal and run-time masks."""
    shape = (1, 4, 2, 8)
    causal = np.tri(4, dtype=bool)[None, None]
    hidden = causal.copy()
    hidden[..., 2, :] = False
    masks = {"causal": causal, "hidden": hidden, "input": None}
    builder = relax.BlockBuilder()
    q, k, v = (relax.Var(n, relax.TensorType(shape, "float32")) for n in "qkv")
    m = relax.Var("m", relax.TensorType((1, 1, 4, 4), "bool"))
    with builder.function("main", [q, k, v, m]):
        with builder.dataflow():
            results = []
            for mask in masks.values():
                heads = [builder.emit(R.permute_dims(t, [0, 2, 1, 3])) for t in (q, v)]
                keys = builder.emit(R.permute_dims(k, [0, 2, 3, 1]))
                scores = builder.emit(R.matmul(heads[0], keys))
                keep = m if mask is None else relax.const(mask)
                scores = builder.emit(R.where(keep, scores, relax.const(np.float32(low))))
                weights = builder.emit(R.nn.softmax(scores, -1))
                y = builder.emit(R.matmul(weights, heads[1]))
                results.append(builder.emit_output(R.permute_dims(y, [0, 2, 1, 3])))
        builder.emit_func_output(relax.Tuple(results))
    arrays = [rng.standard_normal(shape).astype("float32") * s for s in (size, size, 1.0)]
    found = byoc.compile(builder.get(), vendors=vendors)(*arrays, hidden)
    a, b, c = (t.astype("f8").transpose(0, 2, 1, 3) for t in arrays)
    for mask, got in zip(masks.values(), found, strict=True):
        scores = np.where(hidden if mask is None else mask, a @ b.swapaxes(-1, -2), low)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        want = (weights / weights.sum(-1, keepdims=True)) @ c
        np.testing.assert_allclose(got, want.transpose(0, 2, 1, 3), rtol=1e-3, atol=1e-3)
