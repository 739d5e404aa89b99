"""`dims=`: a symbolic model compiled for one size, beside the same model written with it."""

from __future__ import annotations

import numpy as np
import pytest

import byoc
from byoc.errors import ExecutionError, OptionError
from byoc.testing.zoo import build, random_inputs


@pytest.mark.parametrize("vendors", [[], ["dnnl"]])
def test_a_fixed_model_is_the_static_one(vendors):
    symbolic = build("bert_tiny", batch="b", sequence="s")
    static = build("bert_tiny", batch=2, sequence=8)
    fixed = byoc.compile(symbolic, vendors=vendors, dims={"b": 2, "s": 8})
    written = byoc.compile(static, vendors=vendors)
    assert fixed.inputs == written.inputs
    assert len(fixed.report.segments) == len(written.report.segments)
    inputs = random_inputs(static, 0)
    for name, array in written.run(inputs).items():
        np.testing.assert_allclose(fixed.run(inputs)[name], array, rtol=1e-5, atol=1e-5)


def test_the_other_dimensions_stay_symbolic():
    model = build("bert_tiny", batch="b", sequence="s")
    exe = byoc.compile(model, dims={"b": 1})
    assert {port.type.shape for port in exe.inputs} == {(1, "s")}
    parts = byoc.partition_model(model, ["dnnl"], dims={"b": 1})
    assert parts.report.segments


def test_a_size_that_does_not_fit_is_named():
    from onnx import TensorProto, helper

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    add = helper.make_node("Add", ["x", "y"], ["z"])
    graph = helper.make_graph([add], "g", [value("x", "n"), value("y", 3)], [value("z", 3)])
    model = helper.make_model(graph)
    exe = byoc.compile(model, dims={"n": 3})
    assert exe.inputs[0].type.shape == (3,)
    other = byoc.compile(model, dims={"n": 2})
    with pytest.raises(ExecutionError, match=r"an operand has shape \[2\], expected \[3\]"):
        other.run({"x": np.ones(2, "float32"), "y": np.ones(3, "float32")})


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ({"c": 2}, "no symbolic dimension 'c'"),
        ({"b": 0}, "'b' must be a whole number above 0, found 0"),
        ({"b": True}, "found True"),
        ({"b": "2"}, "found '2'"),
        ([2], "a mapping of symbolic dimensions to sizes"),
    ],
)
def test_bad_sizes(dims, message):
    with pytest.raises(OptionError, match=message):
        byoc.compile(build("mlp", batch="b", hidden=16), dims=dims)
    with pytest.raises(OptionError, match="the model has none"):
        byoc.compile(build("mlp", batch=1, hidden=16), dims={"b": 1})
