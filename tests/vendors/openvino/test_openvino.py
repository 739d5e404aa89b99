"""The `openvino` vendor on whole models, and what it refuses.

Its ops are checked one by one in tests/kit.
"""

from __future__ import annotations

import pytest
from tvm import relax

import byoc
from byoc.bench.difference import difference
from byoc.errors import CompileError, OptionError
from byoc.testing.zoo import build, random_inputs

pytest.importorskip("openvino")


@pytest.mark.parametrize("name", ["squeezenet", "mlp"])
def test_whole_models_agree_with_onnx_runtime(name, reference):
    model = build(name)
    exe = byoc.compile(model, ["openvino"])
    assert exe.report.coverage.flops == 1
    for seed in range(2):
        inputs = random_inputs(model, seed)
        for key, expected in reference(model, inputs).items():
            assert difference(exe.run(inputs)[key], expected).relative <= 1e-4


def test_refusals_say_why():
    x = relax.Var("x", relax.TensorType((4, 4), "float64"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            result = bb.emit_output(relax.op.exp(x))
        bb.emit_func_output(result)
    report = byoc.partition_model(bb.get(), ["openvino"], min_segment_ops=1).report
    assert report.host_ops[0].refusals[0].reason.startswith("dtype float64 is computed in another")


def test_wrong_options_are_refused():
    model = build("mlp")
    with pytest.raises(CompileError, match="finds no device 'NOPE' on this machine; devices: CPU"):
        byoc.compile(model, {"openvino": {"device": "NOPE"}})
    with pytest.raises(OptionError, match="precision"):
        byoc.compile(model, {"openvino": {"precision": "f8"}})
