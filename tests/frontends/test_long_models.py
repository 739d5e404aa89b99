"""Twice the nodes cost about twice the time to import and compile, and depth has no limit."""

import time

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from repeated_timing import least

import byoc

FLOAT = onnx.TensorProto.FLOAT


class _Graph:
    """Nodes as they come, with seeded weights."""

    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.nodes, self.stored = [], []

    def node(self, op, *inputs, outputs=1, **attrs):
        names = [f"v{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attrs))
        return names[0] if outputs == 1 else names

    def weight(self, *shape):
        return self.constant((self.rng.standard_normal(shape) / np.sqrt(shape[0])).astype("f"))

    def constant(self, array):
        self.stored.append(numpy_helper.from_array(np.asarray(array), f"c{len(self.stored)}"))
        return self.stored[-1].name

    def model(self, shape, output):
        graph = helper.make_graph(
            self.nodes,
            "long",
            [helper.make_tensor_value_info("x", FLOAT, shape)],
            [helper.make_empty_tensor_value_info(output)],
            self.stored,
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)


def _chain(nodes):
    g, x = _Graph(), "x"
    weight, bias = g.weight(16, 16), g.weight(16)
    for _ in range(nodes // 3):
        x = g.node("Relu", g.node("Add", g.node("MatMul", x, weight), bias))
    return g.model([4, 16], x)


def _split(parts):
    g = _Graph()
    found = g.node("Split", "x", g.constant(np.full(parts, 4)), outputs=parts, axis=1)
    return g.model([2, 4 * parts], g.node("Concat", *[g.node("Relu", p) for p in found], axis=1))


def _sum(branches):
    g = _Graph()
    kinds = ("Relu", "Tanh", "Sigmoid", "Exp")
    return g.model([4, 16], g.node("Sum", *[g.node(kinds[k % 4], "x") for k in range(branches)]))


def _decoder(layers, width=32, heads=4, length=8):
    g, x = _Graph(), "x"
    parted, joined = g.constant([1, length, heads, width // heads]), g.constant([1, length, width])

    def norm(y):
        return g.node("LayerNormalization", y, g.weight(width), g.weight(width))

    def product(y, inner=width, outer=width):
        return g.node("MatMul", y, g.weight(inner, outer))

    for _ in range(layers):
        y = norm(x)
        q, k, v = (
            g.node("Transpose", g.node("Reshape", product(y), parted), perm=perm)
            for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
        )
        y = g.node("MatMul", g.node("Softmax", g.node("MatMul", q, k)), v)
        y = g.node("Reshape", g.node("Transpose", y, perm=[0, 2, 1, 3]), joined)
        x = g.node("Add", x, product(y))
        y = product(norm(x), width, 2 * width)
        y = g.node("Mul", y, g.node("Sigmoid", y))
        x = g.node("Add", x, product(y, 2 * width, width))
    return g.model([1, length, width], x)


def _seconds(model, vendors):
    start = time.process_time()
    byoc.compile(model, vendors=vendors)
    return time.process_time() - start


@pytest.mark.parametrize(
    ("make", "size", "vendors"),
    [
        (_chain, 600, ["dnnl"]),
        (_chain, 300, []),
        (_split, 150, ["dnnl"]),
        (_split, 50, []),
        (_sum, 64, ["dnnl"]),
        (_decoder, 10, ["dnnl"]),
    ],
)
def test_twice_the_nodes(make, size, vendors):
    once, twice = make(size), make(2 * size)
    _seconds(make(2), vendors)  # what is made once per process
    ratio = least(lambda: _seconds(twice, vendors) / _seconds(once, vendors), 3, tries=6)
    assert ratio < 3  # 2 when linear, 4 when quadratic


def test_five_thousand_nodes():
    model = _chain(5001)
    exe = byoc.compile(model, vendors=["dnnl"])
    assert exe.report.coverage.ops == 1
    x = np.ones((4, 16), "float32")
    want, products = x, [numpy_helper.to_array(c) for c in model.graph.initializer]
    for _ in range(5001 // 3):
        want = np.maximum(want @ products[0] + products[1], 0)
    (got,) = exe.run({"x": x}).values()
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)
