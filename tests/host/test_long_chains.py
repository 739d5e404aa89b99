"""Chains of element-wise ops, alone and behind products, convolutions and rows: right, and short.

What an op reads twice is written out twice: a chain of 30 tanh took hours to compile.
"""

from __future__ import annotations

import numpy as np
import pytest
import tvm
import tvm_ffi
from host_runner import module
from tvm import relax, tirx
from tvm.ir import TensorLoad

import byoc
from byoc import host
from byoc.tir.target import host_machine

_UNARY = {
    "tanh": (relax.op.tanh, np.tanh),
    "abs": (relax.op.abs, np.abs),
    "negative": (relax.op.negative, np.negative),
    "atan": (relax.op.atan, np.arctan),
}
_BINARY = {
    "maximum": (relax.op.maximum, np.maximum),
    "minimum": (relax.op.minimum, np.minimum),
    "add": (relax.op.add, lambda a, b: a + b),
    "multiply": (relax.op.multiply, lambda a, b: a * b),
}


def _softmax(x, xp):
    return relax.op.nn.softmax(x) if xp is relax else np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def _product(x, xp):
    weight = np.linspace(-0.3, 0.3, 144, dtype="float32").reshape(12, 12)
    return relax.op.matmul(x, relax.const(weight)) if xp is relax else x @ weight


def _sum(x, xp):
    return relax.op.sum(x, [-1], keepdims=True) if xp is relax else x.sum(-1, keepdims=True)


_HEADS = {"alone": lambda x, xp: x, "rows": _softmax, "product": _product, "sum": _sum}


def _steps(seed, count):
    """Names of ops, and which earlier value their second operand is."""
    rng = np.random.default_rng(seed)
    names = [*_UNARY, "tanh", *_BINARY]
    return [(names[rng.integers(len(names))], int(rng.integers(1, 6))) for _ in range(count)]


def _relax(head, steps):
    def build(builder, x):
        values = [builder.emit(head(x, relax))]
        for name, back in steps:
            op = _UNARY[name][0] if name in _UNARY else _BINARY[name][0]
            others = [] if name in _UNARY else [values[-min(back, len(values))]]
            values.append(builder.emit(op(values[-1], *others)))
        return values[-1]

    return build


def _numpy(head, steps, x):
    values = [head(x, np)]
    for name, back in steps:
        op = _UNARY[name][1] if name in _UNARY else _BINARY[name][1]
        others = [] if name in _UNARY else [values[-min(back, len(values))]]
        values.append(op(values[-1], *others))
    return values[-1]


@pytest.mark.parametrize("head", _HEADS)
@pytest.mark.parametrize("seed", range(3))
def test_chains_are_right_and_no_expression_is_long(head, seed):
    steps = _steps(seed, 24)
    made = module(_relax(_HEADS[head], steps), ((3, 12), "float32"))
    x = np.random.default_rng(seed).uniform(-1, 1, (3, 12)).astype("float32")
    np.testing.assert_allclose(
        byoc.compile(made, [])(x), _numpy(_HEADS[head], steps, x), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", ["tanh", "abs", "maximum", "atan"])
def test_expressions_grow_to_a_bound(name):
    steps = [(name, 5)] * 40
    made = module(_relax(_HEADS["alone"], steps), ((3, 12), "float32"))
    kernels = host.lower(made, threads=1).kernels
    target = host_machine(1).target
    for _, func in kernels.functions_items():
        mod = tvm.IRModule({"main": func.with_attr("target", target)})
        spelled = tirx.transform.LowerIntrin()(mod)["main"]
        assert _reads(spelled) < 40 * 100


def _reads(func):
    reads = []
    tvm_ffi.structural_walk(func.body, (TensorLoad, lambda load: reads.append(load)))
    return len(reads)
