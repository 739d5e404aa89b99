"""The native half: programs give what numpy gives, whatever layouts oneDNN chooses."""

import concurrent.futures
import json

import cases
import numpy as np
import pytest
import random_programs
from interpret import interpret
from native_programs import Writer, binary, check, load, random_arrays, relu, run, steps
from relaxed import as_segment, random_inputs, relax_module

from byoc.vendor_templates.dnnl import DnnlOptions
from byoc.vendor_templates.dnnl.compile import compile_segment

ALL = {
    **{f"op_{name}": case for name, case in cases.CASES.items()},
    **{name: (build, [cases.X4]) for name, (build, _) in cases.IDIOMS.items()},
}


@pytest.fixture(scope="module")
def lowered():
    return relax_module(ALL)


@pytest.mark.parametrize("name", ALL)
def test_every_lowered_case(name, lowered):
    segment = as_segment(lowered[name])
    for fuse in (True, False):
        artifact = compile_segment(segment, DnnlOptions(fuse=fuse))
        inputs = random_inputs(segment, seed=1)
        expected = interpret(artifact, inputs)
        for found, want in zip(run(load(artifact), artifact, inputs), expected, strict=True):
            assert found.dtype == want.dtype
            np.testing.assert_allclose(found, want, rtol=3e-5, atol=3e-5)


# 689: a window in a blocked window; 2290: one channel of a channels-last tensor, resized.
@pytest.mark.parametrize("seed", [*range(60), 689, 2290])
def test_random_convolutional_graph(seed):
    check(random_programs.convolutions(seed), tolerance=5e-5)


@pytest.mark.parametrize("seed", range(60))
def test_random_graph_of_views_and_products(seed):
    check(random_programs.products(seed), tolerance=5e-5)


# What must not cost a step of its own.


def _kinds(artifact):
    return [step["op"].split(" ")[0] for step in steps(artifact)]


def test_residual_add_and_relu_are_part_of_the_convolution():
    w = Writer()
    x = w.conv(w.input(1, 32, 8, 8), 32, post=[relu()])
    y = w.conv(w.conv(x, 32, post=[relu()]), 32, post=[binary("add", x), relu()])
    artifact = w.finish(w.op("reshape", [w.op("global_pooling", [y], [1, 32, 1, 1], alg="avg")],
                             [1, 32]))  # fmt: skip
    check(artifact)
    found = [s for s in steps(artifact) if not s["detail"].startswith("reorder")]
    assert [s["op"].split(" ")[0] for s in found] == ["convolution"] * 3 + ["global_pooling"]
    assert found[2]["detail"].endswith("+sum+relu")


@pytest.mark.parametrize("alg", ["tanh", "exp", "relu"])
@pytest.mark.parametrize("constant", [True, False])
def test_post_ops_of_a_batch_norm_are_applied_once(alg, constant):
    w = Writer()
    x = w.input(1, 8, 5, 5)
    stats = [w.positive(8), w.weight(8), w.weight(8), w.positive(8)]
    if not constant:
        stats[0] = w.eltwise(stats[0], "abs")
    post = {"post": "eltwise", "alg": alg, "alpha": 0.0, "beta": 0.0}
    check(w.finish(w.op("batch_norm", [x, *stats], w.shape(x), [post], eps=1e-5)))


def test_layouts_travel_between_convolutions():
    w = Writer()
    x = w.conv(w.input(1, 32, 8, 8), 64)
    for _ in range(4):
        x = w.eltwise(w.conv(x, 64), "tanh")
    artifact = w.finish(x)
    check(artifact)
    reorders = [s for s in steps(artifact) if s["detail"].startswith("reorder")]
    assert len(reorders) <= 3  # in, out, and one where implementations change


def test_a_residual_that_lives_on_is_not_overwritten():
    w = Writer()
    x = w.conv(w.input(1, 32, 8, 8), 32)
    y = w.conv(x, 32, post=[binary("add", x)])
    check(w.finish(y, w.eltwise(x, "abs")))


def test_attention_takes_transposed_operands_as_they_lie():
    w = Writer()
    x = w.input(2, 6, 24)
    heads = []
    for _ in range(3):
        y = w.op("matmul", [x, w.weight(24, 24)], [2, 6, 24], transpose_a=False, transpose_b=True)
        y = w.op("reshape", [y], [2, 6, 4, 6])
        heads.append(w.op("transpose", [y], [2, 4, 6, 6], axes=[0, 2, 1, 3]))
    y = w.op("attention", heads, [2, 4, 6, 6], scale=0.3, causal=False, layout="bhsd")
    y = w.op("transpose", [y], [2, 6, 4, 6], axes=[0, 2, 1, 3])
    y = w.op("reshape", [y], [2, 6, 24])
    out = w.op("matmul", [y, w.weight(24, 24)], [2, 6, 24], transpose_a=False, transpose_b=False)
    artifact = w.finish(out)
    check(artifact)
    assert _kinds(artifact) == ["matmul"] * 3 + ["attention", "matmul"]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(1, 9), (7, 7), (70, 130), (9, 4)])
@pytest.mark.parametrize("mask", [None, (1, 1, 1), (2, 1, 0), (2, 3, 1)])
def test_attention(causal, queries, keys, mask):
    if causal and queries > keys:
        pytest.skip("rows without any key have no softmax")
    w = Writer()
    operands = [w.input(2, 3, queries, 8), w.input(2, 3, keys, 8), w.input(2, 3, keys, 5)]
    if mask is not None:
        batch, heads, rows = mask
        operands.append(w.input(batch, heads, queries if rows else 1, keys))
    y = w.op("attention", operands, [2, 3, queries, 5], scale=0.4, causal=causal, layout="bhsd")
    check(w.finish(y))


def test_constants_are_read_only_while_packing(monkeypatch):
    w = Writer()
    artifact = w.finish(w.conv(w.input(1, 16, 8, 8), 16))
    weight = artifact.constants[0]
    inputs = random_arrays(artifact)
    expected = interpret(artifact, inputs)
    execute = load(artifact)
    weight[...] = np.nan
    np.testing.assert_allclose(run(execute, artifact, inputs)[0], expected[0], atol=2e-5)


# Symbolic shapes


def _symbolic():
    w = Writer()
    x = w.input("n", "s", 24)
    flat = w.op("reshape", [x], ["n * s", 24])
    y = w.op("matmul", [flat, w.weight(24, 24)], ["n * s", 24], [relu()], transpose_a=False,
             transpose_b=False)  # fmt: skip
    y = w.op("reshape", [y], ["n", "s", 4, 6])
    y = w.op("attention", [y, y, y], ["n", "s", 4, 6], scale=0.4, causal=True, layout="bshd")
    y = w.op("slice", [w.op("reshape", [y], ["n", "s", 24])], ["n", "s - s // 2", 24],
             begin=[0, "s // 2", 0], end=["n", "s", 24], strides=[1, 1, 1])  # fmt: skip
    return w.finish(y)


def test_symbolic_dims():
    artifact = _symbolic()
    for n, s in [(1, 5), (3, 1), (17, 4), (2, 9), (4, 4), (1, 5)]:
        check(artifact, n=n, s=s)


def test_symbolic_dims_on_many_threads():
    artifact = _symbolic()
    execute = load(artifact)

    def call(i):
        inputs = random_arrays(artifact, seed=i, n=1 + i % 3, s=2 + i % 4)
        np.testing.assert_allclose(
            run(execute, artifact, inputs)[0], interpret(artifact, inputs)[0], atol=3e-5
        )

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(24)))


# Errors


def _refused(artifact, *parts):
    with pytest.raises(RuntimeError) as error:
        load(artifact)
    for part in ("vendor 'dnnl'", *parts):
        assert part in str(error.value)


def test_an_op_that_cannot_be_built_is_named():
    w = Writer()
    y = w.op("convolution", [w.input(1, 6, 5, 5), w.weight(4, 5, 3, 3)], [1, 4, 3, 3],
             strides=[1, 1], dilations=[1, 1], pads_begin=[0, 0], pads_end=[0, 0],
             groups=1)  # fmt: skip
    _refused(w.finish(y), "convolution 'convolution.0' [1, 6, 5, 5], [4, 5, 3, 3] -> [1, 4, 3, 3]")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version": 1', '"version": 7', "version 7, this library reads version 1"),
        ('"softmax"', '"sparkmax"', "unknown kind; legal: convolution"),
        ('"axis": 1', '"axis": 9', "axis 9 is out of range for shape [2, 5]"),
        ('"axis": 1', '"axis": "one"', "attribute 'axis' must be an integer"),
        ('"axis"', '"axes"', "attribute 'axis' is missing"),
        ('"inputs": [0]', '"inputs": [4]', "names value 4, the program has values 0 to 1"),
        ("float32", "complex64", "dtype 'complex64'; legal: float32"),
        ("[2, 5]", "[2, 6]", "output has shape [2, 5], expected [2, 6]"),
    ],
)
def test_damaged_programs(old, new, message):
    w = Writer()
    artifact = w.finish(w.op("softmax", [w.input(2, 5)], [2, 5], axis=1, log=False))
    text = artifact.blob.decode()
    assert old in text
    artifact.blob = text.replace(old, new, 1).encode()
    _refused(artifact, message)


@pytest.mark.parametrize("blob", [b"", b"\x00\xff", b"[" * 100000, b'{"version": 1}', b"null"])
def test_blobs_that_are_no_program(blob):
    artifact = Writer().finish()
    artifact.blob = blob
    _refused(artifact, "program")


def test_calls_that_do_not_fit():
    w = Writer()
    artifact = w.finish(w.op("softmax", [w.input("n", 5)], ["n", 5], axis=1, log=False))
    execute = load(artifact)
    x, y = np.zeros((2, 5), "float32"), np.zeros((2, 5), "float32")
    with pytest.raises(RuntimeError, match=r"input 0 is float64|DLPack type"):
        execute(x.astype("float64"), y)
    with pytest.raises(
        RuntimeError, match=r"output 0 is float32\[2, 5\], expected float32\[3, 5\]"
    ):
        execute(np.zeros((3, 5), "float32"), y)
    with pytest.raises(RuntimeError, match="input 0 has 1 dimensions|expected"):
        execute(np.zeros(5, "float32"), y)
    with pytest.raises(TypeError, match="takes 1 inputs and 1 outputs, got 1"):
        execute(x)


def test_an_index_from_the_end_is_legal_only_where_the_program_says_so():
    w = Writer()
    x, indices = w.input(3, 4), w.input(2, dtype="int64")
    artifact = w.finish(w.op("gather", [x, indices], [2, 4], axis=0, from_end=False))
    data = np.arange(12, dtype="float32").reshape(3, 4)
    for bad in (-1, 3, 2**40, -(2**62)):
        with pytest.raises(RuntimeError, match=f"gather: index {bad} is out.*legal: 0 to 2"):
            run(load(artifact), artifact, [data, np.array([0, bad])])


def test_an_index_out_of_range_is_named_and_harmless():
    w = Writer()
    x, indices = w.input(3, 4), w.input(2, dtype="int64")
    artifact = w.finish(w.op("gather", [x, indices], [2, 4], axis=0, from_end=True))
    execute = load(artifact)
    data = np.arange(12, dtype="float32").reshape(3, 4)
    with pytest.raises(RuntimeError, match="gather: index -4 is out of range for an axis of 3"):
        run(execute, artifact, [data, np.array([0, -4])])
    np.testing.assert_array_equal(
        run(execute, artifact, [data, np.array([-1, 1])])[0], data[[2, 1]]
    )


def test_profile_names_every_step():
    import tvm_ffi

    w = Writer()
    artifact = w.finish(w.conv(w.input(1, 16, 8, 8), 16))
    load(artifact)
    inputs = random_arrays(artifact)
    outputs = [np.zeros((1, 16, 8, 8), "float32")]
    profile = tvm_ffi.get_global_func("byoc.vendor.dnnl.profile")
    found = json.loads(profile(artifact.blob, [*artifact.constants], inputs, outputs, 3))
    assert [s["op"] for s in found] == [s["op"] for s in steps(artifact)]
    assert all(s["us"] > 0 for s in found)
    np.testing.assert_allclose(outputs[0], interpret(artifact, inputs)[0], atol=2e-5)
