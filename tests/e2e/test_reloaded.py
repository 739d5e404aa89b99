"""Saved models in processes without TVM, in Python and through C: bit for bit as they were live."""

from __future__ import annotations

import re
import warnings
from contextlib import closing

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import numpy_helper, parser
from quantised_models import save_quantised

import byoc
from byoc.specialise.options import Specialise
from byoc.testing.grammar import make_case
from byoc.testing.reloaded import FreshProcesses
from byoc.testing.zoo import build, random_inputs

BOTH = pytest.mark.parametrize("vendors", [[], ["dnnl"]], ids=["host", "dnnl"])


@pytest.fixture(scope="module")
def fresh():
    with closing(FreshProcesses()) as processes:
        yield processes


@BOTH
@pytest.mark.parametrize("name", ["mlp", "mobilenet_v2", "bert_tiny", "gpt2_tiny", "vit_tiny"])
def test_models_of_the_zoo(name, vendors, fresh):
    model = build(name, **({"image": 64} if name == "mobilenet_v2" else {}))
    before = fresh.run_by_c
    runs = [random_inputs(model, seed) for seed in (0, 1)]
    assert fresh.difference(byoc.compile(model, vendors=vendors), runs) is None
    assert fresh.run_by_c == before + 1


@BOTH
def test_symbolic_shapes_and_control_flow(vendors, fresh):
    model = build("bert_tiny", batch="batch", sequence="sequence")
    runs = [random_inputs(model, 0, {"batch": b, "sequence": s}) for b, s in ((1, 7), (2, 16))]
    assert fresh.difference(byoc.compile(model, vendors=vendors), runs) is None
    model = build("branch")
    runs = [random_inputs(model, seed) for seed in range(4)]
    assert fresh.difference(byoc.compile(model, vendors=vendors), runs) is None


def test_specialised_models(fresh):
    model = build("mlp", batch="batch")
    plans = Specialise(shapes=[{"batch": 4}])
    exe = byoc.compile(model, vendors=["dnnl"], specialise=plans)
    runs = [random_inputs(model, 0, {"batch": b}) for b in (4, 3)]
    assert fresh.difference(exe, runs) is None


@pytest.mark.parametrize("vendors", [[], ["dnnl"], ["npu", "dnnl"]], ids="-".join)
def test_quantised_models(vendors, fresh, tmp_path):
    save_quantised(tmp_path)
    exe = byoc.compile(tmp_path / "q.onnx", vendors=vendors)
    assert fresh.difference(exe, [random_inputs(onnx.load(tmp_path / "q.onnx"), 1)]) is None


SORTS = {
    "top_k": "g (float[4,60] x) => (float[4,5] y, int64[4,5] i) <int64[1] k = {5}> "
    "{ y, i = TopK(x, k) }",
    "top_k_of_many": "g (float[N,600] x) => (float[N,5] y, int64[N,5] i) <int64[1] k = {5}> "
    "{ y, i = TopK<largest = 0>(x, k) }",
    "places": "g (float[3,5] x) => (int64[2,n] y) { r = Relu(x) y = NonZero(r) }",
    "distinct": "g (float[40] x) => (float[n] y, int64[n] f, int64[40] i, int64[n] c) "
    "{ r = Round(x) y, f, i, c = Unique<sorted = 0>(r) }",
    "kept": "g (float[6] x) => (float[n] y) <float z = {0.0}> { c = Greater(x, z) "
    "y = Compress<axis = 0>(x, c) }",
    "shape": "g (float[N,6] x) => (int64[2] y) { y = Shape(x) }",
    "range": "g (float[N,6] x) => (int64[M] y) <int64 z = {0}, int64 e = {1}, int64 i = {0}> "
    "{ s = Shape(x) n = Gather(s, i) y = Range(z, n, e) }",
}


@pytest.mark.parametrize("name", SORTS)
def test_what_tvm_calls_functions_of_its_own_for(name, fresh):
    text = f'<ir_version: 8, opset_import: ["" : 17]> {SORTS[name]}'
    model = parser.parse_model(text)
    runs = [random_inputs(model, seed, {"N": 3 + seed}) for seed in range(2)]
    assert fresh.difference(byoc.compile(model), runs) is None


def test_random_graphs(fresh):
    """A dozen seeds; `benchmarks/random_onnx.py --reload` runs as many as are wanted."""
    for seed in range(12):
        case = make_case(seed)
        try:
            exe = byoc.compile(case.model, vendors=["dnnl"])
        except byoc.ByocError:
            continue
        assert fresh.difference(exe, [case.inputs, *case.more]) is None, f"seed {seed}"


NODES = (
    r"test_(argmax_default_axis_example|argsort|batchnorm_epsilon|cast_FLOAT_to_FLOAT16|clip|compress_0|"
    r"cumsum_1d|einsum_batch_matmul|gather_elements_1|gru_defaults|hardswish|if|layer_normalization_4d_axis1|"
    r"logsoftmax_axis_1|lstm_defaults|maxpool_2d_dilations|nonzero_example|onehot_with_axis|pow|"
    r"qlinearmatmul_2D_uint8_float32|reduce_max_bool_inputs|resize_upsample_sizes_nearest|"
    r"scatter_elements_with_axis|slice|softmax_axis_0|split_equal_parts_1d_opset18|top_k.*|unique_.*|"
    r"where_example)"
)


def test_nodes_of_the_suite_of_onnx(fresh):
    ran = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy, about onnx's own samples
        cases = onnx.backend.test.loader.load_model_tests(kind="node")
    for case in cases:
        if not re.fullmatch(NODES, case.name):
            continue
        given, _ = case.data_sets[0]
        ports = case.model.graph.input
        arrays = [
            numpy_helper.to_array(a) if hasattr(a, "HasField") else np.asarray(a) for a in given
        ]
        inputs = {port.name: array for port, array in zip(ports, arrays, strict=True)}
        try:
            exe = byoc.compile(case.model, vendors=["dnnl"])
        except byoc.ByocError:
            continue
        assert fresh.difference(exe, [inputs]) is None, case.name
        ran += 1
    assert ran >= 30
