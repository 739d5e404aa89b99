"""ONNX Runtime's own operators, against ONNX Runtime: random nodes of each, and bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from contrib_cases import PIECES, Piece, joined
from onnx import helper

import byoc
from byoc.errors import ModelError
from byoc.frontends import import_model
from byoc.frontends.onnx.ops.table import OPERATORS

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_operator_gives_the_numbers_of_onnx_runtime(tools, seed):
    pieces = [make(np.random.default_rng([seed, i])) for i, make in enumerate(PIECES.values())]
    for place, piece in enumerate(pieces):  # two forms of QLinearConv are one operator
        piece.rename(str(place))
    model = joined(pieces)
    feeds = {name: array for piece in pieces for name, array in piece.feeds.items()}
    expected = tools.reference(model, feeds, optimised=False)
    executable = byoc.compile(model, vendors=["dnnl"] if seed else [])
    found = executable.run(feeds)
    names = [(name, piece) for piece in pieces for name in piece.types]
    for (name, piece), want in zip(names, expected, strict=True):
        got, want = piece.defined(found[name]), piece.defined(want)
        assert (got.shape, got.dtype) == (want.shape, want.dtype), name
        if want.dtype.kind in "iu":
            steps = np.abs(got.astype(int) - want.astype(int))
            assert steps.max() <= piece.steps, name
            assert (steps > 0).mean() < 0.02, name
        else:
            scale = max(1.0, float(np.abs(want).max()))
            np.testing.assert_allclose(got, want, atol=1e-5 * scale, rtol=0, err_msg=name)


def test_a_quantised_network_is_one_segment_of_integers(tools):
    """Convolutions, a pool of integers, a sum, a mean, a product: as the quantiser writes them."""
    rng = np.random.default_rng(3)
    weights = {"s": np.float32(0.05), "z": np.uint8(120), "s2": np.float32(0.2)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"])]

    def add(op, inputs, output, domain="com.microsoft", **attributes):
        nodes.append(helper.make_node(op, inputs.split(), [output], domain=domain, **attributes))

    def stored(name, *shape):
        weights[name] = rng.integers(-127, 128, shape).astype("i1")
        weights[f"{name}s"] = rng.uniform(0.001, 0.01, shape[0]).astype("f4")
        weights[f"{name}z"] = np.zeros(shape[0], "i1")
        return f"{name} {name}s {name}z"

    conv = {"domain": "", "pads": [1, 1, 1, 1]}
    add("QLinearConv", f"q s z {stored('w0', 8, 3, 3, 3)} s z", "c0", **conv)
    add("MaxPool", "c0", "p", "", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    add("QLinearConv", f"p s z {stored('w1', 8, 8, 3, 3)} s2 z", "c1", **conv)
    add("QLinearAdd", "p s z c1 s2 z s z", "a")
    add("QLinearGlobalAveragePool", "a s z s z", "g")
    add("Flatten", "g", "f", "")
    add("QGemm", f"f s z {stored('w2', 10, 8)} s z", "y0", transB=1)
    nodes[-1].input.insert(6, "")  # no bias
    add("DequantizeLinear", "y0 s z", "y", "")
    model = tools.model(
        nodes,
        {"x": ("f4", [1, 3, 16, 16])},
        {"y": ("f4", [1, 10])},
        weights,
        domains={"com.microsoft": 1},
    )
    executable = byoc.compile(model, vendors=["dnnl"])
    assert len(executable.report.segments) == 1
    assert executable.report.coverage.ops == 1
    for seed in range(3):
        feeds = tools.feeds(model, seed, {})
        [want] = tools.reference(model, feeds, optimised=False)
        steps = np.abs(executable.run(feeds)["y"] - want) / weights["s"]
        assert steps.max() < 1.01 and (steps > 0.5).mean() < 0.2


def test_tables_of_integers_are_looked_up_in_the_segment(tools):
    """An embedding that the quantiser left as bytes: Gather, then DequantizeLinear."""
    weights = {
        "table": np.random.default_rng(0).integers(0, 256, (50, 16)).astype("u1"),
        "s": np.float32(0.1),
        "z": np.uint8(120),
        "gamma": np.ones(16, "f4"),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("LayerNormalization", ["x", "gamma"], ["y"]),
    ]
    model = tools.model(nodes, {"ids": ("i8", [2, 5])}, {"y": ("f4", [2, 5, 16])}, weights)
    executable = byoc.compile(model, vendors=["dnnl"])
    assert executable.report.coverage.ops == 1
    feeds = {"ids": np.array([[0, 1, 2, 3, 49], [-1, -50, 7, 7, 8]])}
    tools.close([executable.run(feeds)["y"]], tools.reference(model, feeds))


def test_decoders_attention_over_symbolic_lengths(tools):
    """A cache and a total length that are symbols, as exporters of decoders write them."""
    shape = ["batch", 2, "past", 8]
    nodes = [
        helper.make_node("Shape", ["mask"], ["dims"]),
        helper.make_node("Gather", ["dims", "one"], ["long"]),
        helper.make_node("Cast", ["long"], ["total"], to=6),
        helper.make_node("ReduceSum", ["mask", "axes"], ["words"], keepdims=0),
        helper.make_node("Sub", ["words", "one"], ["last"]),
        helper.make_node("Cast", ["last"], ["seqlens"], to=6),
        helper.make_node(
            "GroupQueryAttention",
            ["q", "k", "v", "pk", "pv", "seqlens", "total"],
            ["y", "nk", "nv"],
            domain="com.microsoft",
            num_heads=4,
            kv_num_heads=2,
        ),
    ]
    model = tools.model(
        nodes,
        {
            "q": ("f4", ["batch", "new", 32]),
            "k": ("f4", ["batch", "new", 16]),
            "v": ("f4", ["batch", "new", 16]),
            "pk": ("f4", shape),
            "pv": ("f4", shape),
            "mask": ("i8", ["batch", "total"]),
        },
        {
            "y": ("f4", ["batch", "new", 32]),
            "nk": ("f4", ["batch", 2, "total", 8]),
            "nv": ("f4", ["batch", 2, "total", 8]),
        },
        {"one": np.array(1), "axes": np.array([1])},
        domains={"com.microsoft": 1},
    )
    executable = byoc.compile(model, vendors=["dnnl"])
    rng = np.random.default_rng(0)
    for batch, past, new in ((1, 0, 5), (1, 5, 1), (2, 3, 1)):
        feeds = {
            name: rng.standard_normal(dims).astype("f4")
            for name, dims in {
                "q": (batch, new, 32),
                "k": (batch, new, 16),
                "v": (batch, new, 16),
                "pk": (batch, 2, past, 8),
                "pv": (batch, 2, past, 8),
            }.items()
        }
        feeds["mask"] = np.ones((batch, past + new), "i8")
        found = executable.run(feeds)
        expected = tools.reference(model, feeds)
        tools.close([found[n] for n in ("y", "nk", "nv")], expected)


def _piece(op, **attributes) -> Piece:
    return Piece(op, attributes=attributes)


def _binary(change=lambda name, array: array) -> Piece:
    piece = _piece("QLinearAdd")
    for side in "AB":
        piece.feed(side, np.zeros((2, 3), "u1"))
        piece.store(f"{side}_scale", change(f"{side}_scale", np.float32(0.1)))
        piece.store(f"{side}_zero", change(f"{side}_zero", np.uint8(3)))
    piece.store("C_scale", np.float32(0.1))
    piece.result("C", "u1")
    return piece


def _nbits(**attributes) -> Piece:
    piece = _piece("MatMulNBits", **{"K": 32, "N": 8, "bits": 4, "block_size": 16, **attributes})
    piece.feed("A", np.zeros((3, 32), "f4"))
    piece.store("B", np.zeros((8, 2, 8), "u1"))
    piece.store("scales", np.ones(16, "f4"))
    piece.result("Y", "f4")
    return piece


def _heads(**attributes) -> Piece:
    piece = _piece("MultiHeadAttention", **attributes)
    for name in ("query", "key", "value"):
        piece.feed(name, np.zeros((1, 3, 16), "f4"))
    piece.result("Y", "f4")
    return piece


def _shape_of(name, wanted, shape):
    return lambda n, a: np.broadcast_to(a, shape).copy() if n == wanted else a


BAD = {
    "scale of two dimensions": (
        _binary(_shape_of("A_scale", "A_scale", (2, 1))),
        "the scale of A has the shape",
    ),
    "zero points beside one scale": (
        _binary(_shape_of("B_zero", "B_zero", (3,))),
        "B has 3 scales or zero points",
    ),
    "zero point of another type": (
        _binary(lambda n, a: np.int8(3) if n == "A_zero" else a),
        "the zero point of A is of int8, but its integers are uint8",
    ),
    "scale of whole numbers": (
        _binary(lambda n, a: np.int32(1) if n == "A_scale" else a),
        "the scale of A is of int32",
    ),
    "block size without sense": (_nbits(block_size=0), "'block_size' is 0"),
    "three bits": (_nbits(bits=3), "3 bits are not supported"),
    "other sizes than the weight": (_nbits(K=64), "its weight holds 256 numbers"),
    "heads that do not divide": (_heads(num_heads=3), "16 elements for 3 heads"),
    "no heads": (_heads(), "'num_heads' is missing"),
    "a value that nobody reads": (
        PIECES["GroupQueryAttention"](np.random.default_rng(0)).with_attributes(smooth_softmax=1),
        "'smooth_softmax' is 1, supported is -1 or 0",
    ),
    "an unknown attribute": (_heads(num_heads=4, chunk=8), "'chunk' is not supported"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_nodes_are_refused_by_name(name):
    piece, reason = BAD[name]
    with pytest.raises(ModelError, match=reason) as error:
        byoc.compile(joined([piece]), vendors=[])
    assert piece.op in str(error.value)


@pytest.mark.parametrize("place", range(1, 7))
def test_an_input_that_is_missing_is_named(place):
    piece = _binary()
    gone = piece.inputs[place]
    piece.inputs[place] = ""
    piece.weights.pop(gone, None)
    piece.feeds.pop(gone, None)
    if "zero" in gone:  # those are 0 then
        import_model(joined([piece]))
        return
    with pytest.raises(ModelError, match=rf"its input {gone.split('.')[-1]} is missing"):
        import_model(joined([piece]))


def test_weights_that_the_model_computes_are_named():
    piece = _nbits()
    piece.feeds[piece.inputs[1]] = piece.weights.pop(piece.inputs[1])
    with pytest.raises(ModelError, match="its weight is computed by the model"):
        byoc.compile(joined([piece]), vendors=[])


def test_the_page_names_every_operator():
    page = (Path(__file__).parents[2] / "docs" / "frontends.md").read_text()
    ours = [op for domain, op in OPERATORS if domain == "com.microsoft"]
    assert [op for op in ours if f"`{op}`" not in page] == []
    generated = {name.split(",")[0] for name in PIECES}
    other = {"MatMulInteger16", "QuantizeLinear", "DequantizeLinear"}
    assert set(ours) - generated == other, "an operator without random nodes"
