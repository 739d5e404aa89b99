"""bfloat16 between ops: numbers as numpy gives them when it rounds at the same places."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cases
import numpy as np
import pytest
import random_programs
from interpret import bfloat16, interpret
from native_programs import Writer, binary, load, random_arrays, relu, run, steps
from relaxed import as_segment, random_inputs, relax_module

from byoc.segment import Segment, TensorType
from byoc.tir.target import host_machine
from byoc.vendor_templates.dnnl import DnnlOptions
from byoc.vendor_templates.dnnl.compile import compile_segment, encode
from byoc.vendor_templates.dnnl.graph import DnnlGraph, PostOp
from byoc.vendor_templates.dnnl.passes import narrow

NATIVE = "avx512bf16" in host_machine().features
STEP = 2.0**-8


def narrowed(artifact, keep=()):
    """The program with values in bfloat16 wherever the pass puts them."""
    program = json.loads(artifact.blob)
    graph = DnnlGraph(TensorType(tuple(v["shape"]), v["dtype"]) for v in program["values"])
    graph.inputs, graph.outputs = program["inputs"], program["outputs"]
    for value, index in program["constants"].items():
        graph.constants[int(value)] = artifact.constants[index]
    for op in program["ops"]:
        graph.source = (op["source"],)
        graph.emit(op["kind"], op["inputs"], out=op["outputs"], **op["attrs"])
        graph.ops[-1].post = [
            PostOp(p["alg"], p.get("alpha", 0.0), p.get("beta", 0.0), p.get("value"))
            for p in op["post"]
        ]
        for post in graph.ops[-1].post:
            if post.value is not None:
                graph.readers.setdefault(post.value, []).append(graph.ops[-1])
    narrow(graph, keep)
    return encode(graph, Segment("s", "dnnl", (), (), (), (), (), {}), DnnlOptions())


def dtypes(artifact):
    """Kind of each op with the dtypes of its outputs."""
    program = json.loads(artifact.blob)
    return [
        (op["kind"], *(program["values"][v]["dtype"] for v in op["outputs"]))
        for op in program["ops"]
    ]


def check(artifact, seed=0, tolerance=6 * STEP):
    """Native results against numpy that rounds where the program says, or not at all.

    A rounding that falls on the other side moves a value by a step, and what follows with it: the
    distance between rounding and not rounding at all says how much a graph makes of steps.
    """
    execute = load(artifact)
    inputs = random_arrays(artifact, seed)
    exact = interpret(artifact, inputs, wide=True, rounds=False)
    rounded = interpret(artifact, inputs, wide=True, rounds=NATIVE)
    for _ in range(2):
        found = run(execute, artifact, inputs)
        for y, near, far in zip(found, rounded, exact, strict=True):
            scale = max(float(np.abs(far).max(initial=0)), 1e-6)
            allowed = tolerance + 4 * float(np.abs(near - far).max(initial=0)) / scale
            assert np.abs(y - near).max(initial=0) / scale <= allowed


@pytest.mark.parametrize("seed", range(40))
def test_random_convolutional_graph(seed):
    check(narrowed(random_programs.convolutions(seed)))


@pytest.mark.parametrize("seed", range(40))
def test_random_graph_of_views_and_products(seed):
    check(narrowed(random_programs.products(seed)))


ALL = {
    **{f"op_{name}": case for name, case in cases.CASES.items()},
    **{name: (build, [cases.X4]) for name, (build, _) in cases.IDIOMS.items()},
}


@pytest.fixture(scope="module")
def lowered():
    return relax_module(ALL)


@pytest.mark.parametrize("name", ALL)
def test_every_case_behind_a_product(name, lowered):
    """Each op alone: products round their operands, all others have nothing to follow."""
    segment = as_segment(lowered[name])
    artifact = compile_segment(segment, DnnlOptions(precision="bf16"))
    inputs = random_inputs(segment, seed=1)
    expected = interpret(artifact, inputs, rounds=NATIVE)
    for found, want in zip(run(load(artifact), artifact, inputs), expected, strict=True):
        assert found.dtype == want.dtype
        scale = max(1.0, float(np.abs(want).max(initial=0)))
        np.testing.assert_allclose(found / scale, want / scale, atol=2 * STEP, rtol=0)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(1, 9), (7, 7), (70, 130), (197, 197)])
@pytest.mark.parametrize("mask", [None, (1, 1, 1), (2, 1, 0), (2, 3, 1)])
def test_attention(causal, queries, keys, mask):
    w = Writer()
    q, k, v = (w.eltwise(w.input(2, 3, n, d), "tanh") for n, d in
               ((queries, 8), (keys, 8), (keys, 6)))  # fmt: skip
    operands = [q, k, v]
    if mask is not None:
        batch, heads, rows = mask
        operands.append(w.input(batch, heads, queries if rows else 1, keys))
    y = w.op("attention", operands, [2, 3, queries, 6], scale=0.4, causal=causal, layout="bhsd")
    y = w.op("transpose", [y], [2, queries, 3, 6], axes=[0, 2, 1, 3])
    y = w.op("reshape", [y], [2, queries, 18])
    y = w.op("matmul", [y, w.weight(18, 18)], [2, queries, 18], transpose_a=False,
             transpose_b=False)  # fmt: skip
    artifact = narrowed(w.finish(y))
    assert ("attention", "bfloat16") in dtypes(artifact)
    check(artifact)


def _network(w):
    """Convolutions with a residual, a pool that is float32, a mean, and a product."""
    x = w.conv(w.input(1, 3, 32, 32), 32, post=[relu()])
    x = w.op("pooling", [x], [1, 32, 16, 16], alg="max", kernel=[2, 2], strides=[2, 2],
             dilations=[1, 1], pads_begin=[0, 0], pads_end=[0, 0])  # fmt: skip
    x = w.conv(x, 32, post=[relu()])
    y = w.conv(w.conv(x, 32, post=[relu()]), 32, post=[binary("add", x), relu()])
    y = w.op("global_pooling", [y], [1, 32, 1, 1], alg="avg")
    y = w.op("reshape", [y], [1, 32])
    return w.op("matmul", [y, w.weight(32, 10)], [1, 10], transpose_a=False, transpose_b=False)


def test_values_between_products_are_narrow_and_borders_are_not():
    w = Writer()
    artifact = narrowed(w.finish(_network(w)))
    assert dtypes(artifact) == [
        ("convolution", "float32"),  # for the max pool
        ("pooling", "float32"),
        *[("convolution", "bfloat16")] * 3,
        ("global_pooling", "bfloat16"),
        ("reshape", "bfloat16"),
        ("matmul", "float32"),
    ]
    check(artifact)


@pytest.mark.skipif(not NATIVE, reason="needs a CPU with AVX512_BF16")
def test_no_step_of_its_own_converts_between_products():
    w = Writer()
    found = steps(narrowed(w.finish(_network(w))))
    moves = [s for s in found if s["detail"].startswith("reorder")]
    products = [s for s in found if s["op"].startswith(("conv", "matmul")) and s not in moves]
    assert len(products) == 5
    assert all("bf16" in s["impl"] for s in products)
    assert len(moves) <= 2, moves  # the input, the pool's result
    (residual,) = [s for s in found if "+sum" in s["detail"]]
    assert residual["detail"].endswith("+sum+relu")


def test_products_that_are_kept_compute_in_float32():
    w = Writer()
    whole = w.finish(_network(w))
    kept = [op["source"] for op in json.loads(whole.blob)["ops"] if op["kind"] == "convolution"][1]
    artifact = narrowed(whole, keep=[kept])
    ops = json.loads(artifact.blob)["ops"]
    assert [op["attrs"].get("bf16", False) for op in ops if op["kind"] == "convolution"] == [
        True, False, True, True,
    ]  # fmt: skip
    check(artifact)
    strict = interpret(whole, random_arrays(whole), wide=True)
    everything = narrowed(whole, keep=[op["source"] for op in json.loads(whole.blob)["ops"]])
    found = run(load(everything), everything, random_arrays(whole))
    np.testing.assert_allclose(found[0], strict[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["eltwise", "binary", "softmax", "reduction", "concat"])
def test_nothing_is_rounded_where_there_is_no_product(kind):
    w = Writer()
    x = w.input(2, 8)
    y = {
        "eltwise": lambda: w.eltwise(w.eltwise(x, "tanh"), "exp"),
        "binary": lambda: w.eltwise(w.op("binary", [x, x], [2, 8], alg="add"), "tanh"),
        "softmax": lambda: w.op("softmax", [x], [2, 8], axis=1, log=False),
        "reduction": lambda: w.op("reduction", [x], [2, 1], alg="sum", axes=[1]),
        "concat": lambda: w.eltwise(w.op("concat", [x, x], [4, 8], axis=0), "tanh"),
    }[kind]()
    artifact = narrowed(w.finish(y))
    assert all(dtype == "float32" for _, dtype in dtypes(artifact))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays(value):
    w = Writer()
    x = w.conv(w.input(1, 16, 6, 6), 16, post=[relu()])
    artifact = narrowed(w.finish(w.conv(w.eltwise(x, "exp"), 16, kernel=1, post=[relu()])))
    execute = load(artifact)
    (x,) = random_arrays(artifact)
    clean = run(execute, artifact, [x])[0]
    bad = x.copy()
    bad[0, 3, 2, 2] = value
    assert np.isnan(run(execute, artifact, [bad])[0]).any()
    np.testing.assert_array_equal(run(execute, artifact, [x])[0], clean)


@pytest.mark.skipif(not NATIVE, reason="needs a CPU with AVX512_BF16")
def test_kernels_of_ours_round_to_nearest_even():
    w = Writer()
    x = w.input(64, 37)
    y = w.op("rms_norm", [x, w.positive(37)], [64, 37], dtype="bfloat16", axes=[1], eps=1e-5)
    artifact = w.finish(w.op("cast", [y], [64, 37]))
    inputs = random_arrays(artifact)
    inputs[0][3, 5] = np.nan
    (found,) = run(load(artifact), artifact, inputs)
    np.testing.assert_array_equal(bfloat16(found), found)
    (want,) = interpret(artifact, inputs)
    assert np.isnan(found[3]).all()
    same = (found == want) | np.isnan(want)
    assert same.mean() > 0.99  # the sums of two orders may differ in their last digit
    np.testing.assert_allclose(found, want, rtol=2 * STEP)


def test_a_cpu_without_the_instructions_computes_in_float32(tmp_path):
    """oneDNN is told to do without, which it asks the environment for when it is loaded."""
    w = Writer()
    artifact = narrowed(w.finish(_network(w)))
    (x,) = random_arrays(artifact)
    (exact,) = interpret(artifact, [x], rounds=False)
    np.savez(tmp_path / "a.npz", *artifact.constants, x=x)
    (tmp_path / "program.json").write_bytes(artifact.blob)
    script = (
        "import sys, numpy as np; from types import SimpleNamespace as Given\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from native_programs import load, run, steps\n"
        f"stored = np.load({str(tmp_path / 'a.npz')!r})\n"
        "arrays = tuple(stored[f'arr_{k}'] for k in range(len(stored.files) - 1))\n"
        f"given = Given(blob=open({str(tmp_path / 'program.json')!r}, 'rb').read(), "
        "constants=arrays)\n"
        "assert not any('bf16' in s['impl'] for s in steps(given))\n"
        f"np.save({str(tmp_path / 'y.npy')!r}, run(load(given), given, [stored['x']])[0])\n"
    )
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), exact, rtol=1e-4, atol=1e-5)
