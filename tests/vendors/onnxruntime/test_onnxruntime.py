"""The `onnxruntime` vendor on whole models; what it refuses; its options.

Its ops are checked one by one in tests/kit, opaque nodes and values in tests/frontends.
"""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tvm import relax

import byoc
from byoc.bench.difference import difference
from byoc.errors import CompileError, OptionError
from byoc.segment import Segment, TensorType
from byoc.testing.zoo import build, random_inputs
from byoc.vendor_templates.onnxruntime.compile import compile_segment
from byoc.vendor_templates.onnxruntime.options import OnnxRuntimeOptions

ort = pytest.importorskip("onnxruntime")


def one_op(op, dtype, shape=(4, 4)):
    """A module of one op of one tensor."""
    x = relax.Var("x", relax.TensorType(shape, dtype))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            result = bb.emit_output(op(x))
        bb.emit_func_output(result)
    return bb.get()


def det_between(opset=17):
    """relu ─▶ Det (which Relax cannot express) ─▶ exp."""
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["r"], name="relu"),
            helper.make_node("Det", ["r"], ["d"], name="det"),
            helper.make_node("Exp", ["d"], ["y"], name="exp"),
        ],
        "det",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 18, 18])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def header_of(executable):
    (artifact,) = executable._program.artifacts
    size = int.from_bytes(artifact.blob[:8], "little")
    return json.loads(artifact.blob[8 : 8 + size]), artifact.blob[8 + size :]


@pytest.mark.parametrize("name", ["squeezenet", "mlp", "bert_tiny"])
def test_whole_models_agree_with_onnx_runtime_itself(name, reference):
    model = build(name)
    exe = byoc.compile(model, ["onnxruntime"])
    assert exe.report.coverage.flops == 1
    for seed in range(2):
        inputs = random_inputs(model, seed)
        for key, expected in reference(model, inputs).items():
            assert difference(exe.run(inputs)[key], expected).relative <= 1e-4


def test_the_artifact_holds_onnx_models_that_check():
    exe = byoc.compile(build("mlp"), ["onnxruntime"])
    header, models = header_of(exe)
    at = 0
    for step in header["steps"]:
        onnx.checker.check_model(onnx.load_from_string(models[at : at + step["bytes"]]))
        at += step["bytes"]
    assert at == len(models) and header["boxed"] == []


def test_symbolic_sizes():
    model = build("mlp", batch="n")
    exe = byoc.compile(model, ["onnxruntime"])
    for n in (1, 5):
        inputs = random_inputs(model, n, {"n": n})
        for key, expected in byoc.compile(model).run(inputs).items():
            assert difference(exe.run(inputs)[key], expected).relative <= 1e-4


def test_a_caller_s_memory_is_written_in_place():
    exe = byoc.compile(one_op(relax.op.exp, "float32"), ["onnxruntime"], min_segment_ops=1)
    x = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    np.testing.assert_allclose(exe(x), np.exp(x), rtol=1e-6)
    odd = np.concatenate([x, x], 1)[:, ::2]  # not dense
    np.testing.assert_allclose(exe(odd), np.exp(odd), rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "dtype", "reason"),
    [
        (relax.op.erf, "float64", "erf: ONNX Runtime has no kernel of float64 on the CPU"),
        (relax.op.tan, "float64", "tan: ONNX Runtime has no kernel of float64 on the CPU"),
        (relax.op.exp, "bfloat16", "exp: ONNX Runtime has few kernels of bfloat16 on the CPU"),
    ],
)
def test_refusals_say_why(op, dtype, reason):
    report = byoc.partition_model(one_op(op, dtype), ["onnxruntime"], min_segment_ops=1).report
    assert report.host_ops[0].refusals[0].reason == reason


def test_what_it_refuses_runs_on_the_host():
    exe = byoc.compile(one_op(relax.op.tan, "float64"), ["onnxruntime"], min_segment_ops=1)
    x = np.linspace(-1, 1, 16).reshape(4, 4)
    np.testing.assert_allclose(exe(x), np.tan(x), rtol=1e-12)


def test_more_weights_than_one_message_holds_are_refused():
    class Huge(np.ndarray):
        """Says that it has 2 GiB, without having them."""

        @property
        def nbytes(self):
            return 1 << 31

    segment = Segment(
        name="onnxruntime_0",
        vendor="onnxruntime",
        values=(TensorType((1,), "float32"),) * 2,
        nodes=(),
        inputs=(0,),
        outputs=(0,),
        constants={1: np.zeros(1, np.float32).view(Huge)},
        composites=(),
    )
    with pytest.raises(CompileError, match=r"'onnxruntime_0': 2\.0 GiB of weights do not fit"):
        compile_segment(segment)


class TestOptions:
    def test_defaults(self):
        options = OnnxRuntimeOptions()
        assert (options.only_opaque, options.threads, options.spin) == (False, 0, False)

    @pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 2, "spin": True}])
    def test_threads_do_not_change_results(self, options):
        model = build("mlp")
        inputs = random_inputs(model, 3)
        expected = byoc.compile(model, ["onnxruntime"]).run(inputs)
        for key, value in byoc.compile(model, {"onnxruntime": options}).run(inputs).items():
            assert difference(value, expected[key]).relative <= 1e-5

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"threads": -1}, "threads = -1"),
            ({"spin": "maybe"}, "spin = 'maybe'"),
            ({"thread": 2}, "unknown option 'thread': did you mean 'threads'"),
        ],
    )
    def test_wrong_ones_are_refused(self, options, words):
        with pytest.raises(OptionError) as caught:
            byoc.compile(build("mlp"), {"onnxruntime": options})
        assert words in str(caught.value)

    def test_only_opaque_leaves_all_else_to_the_host(self):
        x = np.random.default_rng(1).standard_normal((3, 18, 18)).astype(np.float32) / 4
        expected = np.exp(np.linalg.det(np.maximum(x, 0).astype(np.float64)))
        for only, ops in ((True, 1), (False, 3)):
            exe = byoc.compile(
                det_between(), {"onnxruntime": {"only_opaque": only}}, min_segment_ops=1
            )
            taken = [op for op in exe.report.ops if op.place == "onnxruntime"]
            assert len(taken) == ops
            np.testing.assert_allclose(exe(x), expected, rtol=1e-4)

    def test_an_opaque_node_is_said(self):
        exe = byoc.compile(det_between(), ["onnxruntime"])
        (artifact,) = exe._program.artifacts
        assert artifact.notes[0] == "1 of 3 nodes kept as ONNX"
