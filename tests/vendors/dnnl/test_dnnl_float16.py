"""float16 models: every number crosses the border as numpy converts it, and ops compute wide."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from native_programs import Writer, load, run
from onnx import helper, numpy_helper

import byoc
from byoc.testing.conformance import all_cases, sweep
from byoc.vendor_templates.dnnl import VENDOR, patterns

ort = pytest.importorskip("onnxruntime")
HALF, FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


def _cast(array, dtype):
    w = Writer(0)
    x = w.input(*array.shape, dtype=array.dtype.name)
    artifact = w.finish(w.op("cast", [x], array.shape, dtype=dtype))
    return run(load(artifact), artifact, [array])[0]


def test_every_number_widens():
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(_cast(halves, "float32"), halves.astype(np.float32))
    turned = halves.reshape(256, 256)
    np.testing.assert_array_equal(_cast(turned[:, :3].copy(), "float32"), turned[:, :3])


def test_numbers_round_to_the_nearest_and_ties_to_even():
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middle = (halves[1:] + halves[:-1]) / 2
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 1 << 16, np.uint32).view(np.float32)
    limits = np.array([65519.9, 65520, 65536, np.inf, np.nan, 1e-30], "f")
    below, above = (np.nextafter(middle, np.float32(end)) for end in (0, 1e6))
    parts = [halves, middle, below, above, bits, limits]
    numbers = np.concatenate(parts)
    numbers = np.concatenate([numbers, -numbers]).astype(np.float32)
    with np.errstate(over="ignore"):
        want = numbers.astype(np.float16)
    found = _cast(numbers, "float16")
    np.testing.assert_array_equal(found, want)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(want))


def test_a_program_that_computes_float16_is_refused():
    w = Writer(0)
    x = w.input(4, dtype="float16")
    artifact = w.finish(w.op("eltwise", [x], [4], alg="relu", dtype="float16"))
    with pytest.raises(RuntimeError, match="reads float16; only cast does"):
        load(artifact)


class _Net:
    def __init__(self, seed, dtype):
        self.rng = np.random.default_rng(seed)
        self.dtype, self.nodes, self.stored = dtype, [], []

    def node(self, op, *inputs, **attrs):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attrs))
        return name

    def weight(self, *shape, scale=1.0):
        return self.stored_as((self.rng.standard_normal(shape) * scale).astype(self.dtype))

    def stored_as(self, array):
        self.stored.append(numpy_helper.from_array(array, f"c{len(self.stored)}"))
        return f"c{len(self.stored) - 1}"

    def model(self, inputs, *outputs):
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(n, kind, shape) for n, kind, shape in inputs],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            self.stored,
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)


def _image():
    net = _Net(1, np.float16)
    x, channels = "x", 3
    for wide in (8, 16):
        x = net.node("Conv", x, net.weight(wide, channels, 3, 3, scale=0.3), net.weight(wide),
                     pads=[1] * 4)  # fmt: skip
        x = net.node("Relu", x)
        x, channels = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), wide
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    x = net.node("Gemm", x, net.weight(10, 16), net.weight(10), transB=1)
    shape = ["n", 3, 16, 16]
    return net.model([("x", HALF, shape)], net.node("Softmax", x)), {"x": (2, 3, 16, 16)}


def _block():
    """A transformer's block with a cache that comes and goes as float16, from a float32 input."""
    net = _Net(2, np.float16)
    x = net.node("Cast", "x", to=HALF)
    h = net.node("LayerNormalization", x, net.weight(32), net.weight(32))
    q, k, v = (net.node("MatMul", h, net.weight(32, 32, scale=0.2)) for _ in range(3))
    k = net.node("Concat", "past", k, axis=1)
    scores = net.node("MatMul", q, net.node("Transpose", k, perm=[0, 2, 1]))
    scores = net.node("Mul", scores, net.stored_as(np.array(0.18, np.float16)))
    v = net.node("Concat", "past", v, axis=1)
    x = net.node("Add", x, net.node("MatMul", net.node("Softmax", scores, axis=-1), v))
    inner = net.node("MatMul", x, net.weight(32, 64, scale=0.2))
    inner = net.node("Mul", inner, net.node("Sigmoid", inner))
    x = net.node("Add", x, net.node("MatMul", inner, net.weight(64, 32, scale=0.2)))
    inputs = [("x", FLOAT, [1, "s", 32]), ("past", HALF, [1, "p", 32])]
    return net.model(inputs, net.node("Cast", x, to=FLOAT), k), {
        "x": (1, 5, 32),
        "past": (1, 3, 32),
    }


@pytest.mark.parametrize("make", [_image, _block])
def test_models_are_taken_whole(make):
    model, shapes = make()
    kinds = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    rng = np.random.default_rng(0)
    given = {
        name: rng.standard_normal(shape).astype(np.float16 if kinds[name] == HALF else np.float32)
        for name, shape in shapes.items()
    }
    session = ort.InferenceSession(model.SerializeToString())
    exe = byoc.compile(model, vendors=["dnnl"])
    assert exe.report.coverage.ops == 1
    assert len(exe.report.segments) == 1
    for want, got in zip(session.run(None, given), exe.run(given).values(), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=4e-3, atol=4e-3)


def _also_alone():
    """The vendor, taking what it takes only beside products by itself, too."""

    def check(match):
        verdict = patterns.check(match)
        return None if isinstance(verdict, byoc.OnlyBeside) else verdict

    return replace(VENDOR, patterns=lambda: [replace(p, check=check) for p in patterns.patterns()])


def test_conformance_cases_of_float16():
    cases = [case for case in all_cases() if "float16" in case.label.split()]
    found = sweep(_also_alone(), cases)
    assert sum(f.verdict == "right" for f in found) > 150
    assert not [f for f in found if f.verdict not in ("right", "refused")]


def test_what_is_cheap_stays_on_the_host():
    net = _Net(3, np.float16)
    y = net.node("Relu", net.node("Add", "x", "x"))
    model = net.model([("x", HALF, [4, 4])], y)
    report = byoc.compile(model, vendors=["dnnl"]).report
    assert report.coverage.ops == 0
    assert all("no product" in reason.reason for reason in report.reasons())
