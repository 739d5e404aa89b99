"""Stored tensors that the graph lists as inputs, given and left out, against ONNX Runtime."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import parser

import byoc
from byoc.errors import InputError

ort = pytest.importorskip("onnxruntime")

TEXT = """<ir_version: {ir}, opset_import: ["": 13]>
g (float[2,3] x, float[3,4] w, float[4] b, int64[2] s) => (float[p,q] y)
<float[3,4] w = {{1,2,3,4,5,6,7,8,9,10,11,12}}, float[4] b = {{1,-1,2,-2}}, int64[2] s = {{4, 2}}>
{{ m = MatMul(x, w) a = Add(m, b) r = Relu(a) y = Reshape(r, s) }}"""
GIVEN = {
    "w": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "b": np.array([0.5, 1, -3, 2], np.float32),
}
X = np.array([[1, -2, 3], [0.5, 4, -1]], np.float32)


def model(ir=8):
    return parser.parse_model(TEXT.format(ir=ir))


def reference(feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(model().SerializeToString(), options).run(None, feeds)[0]


@pytest.mark.parametrize("vendors", [[], ["dnnl"]], ids=["host", "dnnl"])
def test_what_is_given_replaces_what_is_stored(vendors):
    exe = byoc.compile(model(), vendors, min_segment_ops=1, min_segment_flops=0)
    assert [p.name for p in exe.inputs] == ["x", "w", "b", "s"]
    assert [p.name for p in exe.defaults] == ["w", "b", "s"]
    for count in (0, 1, 2, 0):
        for names in itertools.combinations(GIVEN, count):
            feeds = {"x": X, **{name: GIVEN[name] for name in names}}
            np.testing.assert_allclose(exe.run(feeds)["y"], reference(feeds), 1e-5)
    np.testing.assert_allclose(exe(X), reference({"x": X}), 1e-5)
    both = {"x": X, **GIVEN}
    np.testing.assert_allclose(exe.submit(both).result()["y"], reference(both), 1e-5)
    assert len(exe.profile(both).tasks) > 0


def test_all_inputs_in_order():
    stored = parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13]> '
        "g (float[3] k, float[3] x) => (float[3] y) <float[3] k = {1, 2, 3}> { y = Sub(k, x) }"
    )
    exe = byoc.compile(stored)
    assert [p.name for p in exe.inputs] == ["x", "k"]
    one, two = np.ones(3, np.float32), np.full(3, 7, np.float32)
    np.testing.assert_array_equal(exe(one), [0, 1, 2])
    np.testing.assert_array_equal(exe(one, two), [6, 6, 6])


def test_what_does_not_fit_is_named():
    exe = byoc.compile(model())
    with pytest.raises(InputError, match=r"input 'b' has shape \(3,\), expected \(4,\)"):
        exe.run({"x": X, "b": np.ones(3, np.float32)})
    with pytest.raises(InputError, match="no input 'nope'"):
        exe.run({"x": X, "nope": X})


def test_a_shape_is_given():
    feeds = {"x": X, "s": np.array([2, 4]), "b": GIVEN["b"]}
    np.testing.assert_allclose(byoc.compile(model()).run(feeds)["y"], reference(feeds), 1e-5)


def test_what_decides_how_the_model_is_built_cannot_be_given():
    axes = parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13]> g (float[2,3] x, int64[1] a) => (float[p,q] y) '
        "<int64[1] a = {0}> { y = ReduceSum(x, a) }"
    )
    exe = byoc.compile(axes)
    np.testing.assert_allclose(exe(X), X.sum(0, keepdims=True))
    with pytest.raises(InputError, match="cannot be compiled with 'a' as input"):
        exe.run({"x": X, "a": np.array([1])})


def test_before_version_4_nothing_has_a_default():
    exe = byoc.compile(model(ir=3))
    assert exe.defaults == ()
    with pytest.raises(InputError, match="no input 'b'"):
        exe.run({"x": X, "b": GIVEN["b"]})


@pytest.mark.parametrize("as_file", [True, False])
def test_a_model_that_changed_is_not_compiled_again(as_file, tmp_path):
    path, proto = tmp_path / "m.onnx", model()
    onnx.save(proto, path)
    exe = byoc.compile(path if as_file else proto)
    proto.graph.node[1].op_type = "Mul"
    onnx.save(proto, path)
    with pytest.raises(InputError, match="was changed since it was compiled"):
        exe.run({"x": X, **GIVEN})
    np.testing.assert_allclose(exe(X), reference({"x": X}), 1e-5)


def test_a_file_holds_the_defaults_for_good(tmp_path):
    byoc.compile(model()).save(tmp_path / "m.byoc")
    exe = byoc.load(tmp_path / "m.byoc")
    assert exe.defaults == ()
    np.testing.assert_allclose(exe(X), reference({"x": X}), 1e-5)
    with pytest.raises(InputError, match="no input 'b'"):
        exe.run({"x": X, "b": GIVEN["b"]})
