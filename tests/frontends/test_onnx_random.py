"""Random graphs of 130 operators (`byoc/testing/grammar/`): as ONNX Runtime, or refused.

2,000 of them for each set of vendors run with --slow.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from benchmarks import onnx_compare, random_onnx
from benchmarks.onnx_compare import difference, reference, try_case, try_sets
from benchmarks.random_onnx import SETS
from byoc.testing.grammar import Case, make_case
from byoc.testing.grammar.hard import make_hard_case
from byoc.testing.reloaded import FreshProcesses

TABLE = Path(__file__).parents[2] / "benchmarks" / "random_onnx.py"
GRAPHS = Path(__file__).parent / "random_graphs"

# Graphs as the grammar made them when they failed; what they failed of.
FAILED = {
    "branches_then_convolutions": "memory was planned across branches of If: crashed",
    "two_branches": "memory was planned across branches of If: crashed",
}

# Seeds that failed; what they failed of.
SEEDS = {
    20088: "LLVM has no comparison of booleans: refused",
    20470: "the reference left out negative axes of an empty tensor",
    20533: "a scale was multiplied by 1 / 255 on dnnl, and a tie rounded the other way",
    20687: "the maximum of no halves was what memory held",
    20739: "LLVM has no arc tangent of halves: refused",
    20866: "the sum of what Compress kept, nothing, was what memory held",
    20892: "as 20533, by DynamicQuantizeLinear alone",
    20973: "as 20470",
}

# Graphs cut down to what failed: opset, text, what it failed of.
SMALL = {
    "empty_transpose": (
        17,
        "g (float[0,1] x) => (float[1,0] y) { y = Transpose<perm = [1, 0]>(x) }",
        "a transpose became reshape to [1, 0], where Relax reads 0 as 'as it was': TVM's exception",
    ),
    "empty_reshape": (
        17,
        "g (float[0,2] x) => (float[4,2,0] y) "
        "<int64[3] s = {4, 2, 0}> { y = Reshape<allowzero = 1>(x, s) }",
        "allowzero was not read",
    ),
    "shape_gather_concat": (
        15,
        "g (float[N,3,6] x) => (float[N,18] y) <int64[1] i = {0}, int64[1] r = {-1}> "
        "{ s = Shape(x) n = Gather<axis = 0>(s, i) t = Concat<axis = 0>(n, r) y = Reshape(x, t) }",
        "dimensions gathered by a vector of one became a tensor that no reshape takes: refused",
    ),
    "dimension_as_output": (
        13,
        "g (float[N,4] x) => (int64 n) <int64 i = {0}> { s = Shape(x) n = Gather(s, i) }",
        "a single symbolic dimension was no tensor: refused",
    ),
    "range_of_dimension": (
        15,
        "g (float[N,1] x) => (float[N,1] y) <int64 o = {0}, int64 e = {1}, int64[1] a = {1}> "
        "{ s = Shape(x) n = Gather(s, o) r = Range(o, n, e) f = Cast<to = 1>(r) "
        "c = Unsqueeze(f, a) y = Add(x, c) }",
        "as many numbers as the batch is long were of unknown length, so their sum of unknown "
        "shape: TVM could not compile it",
    ),
    "scatter_in_part": (
        16,
        "g (float[3,4,2] x, float[2,3,1] u) => (float[3,4,2] y) "
        "<int64[2,3,1] i = {0, 2, 1, -1, 3, 0}> { y = ScatterElements<axis = 1>(x, i, u) }",
        "TVM writes elsewhere when indices span a part of the other dimensions: refused",
    ),
    "selu_of_halves": (
        14,
        "g (float16[3,4] x) => (float16[3,4] y) { y = Selu(x) }",
        "TVM's Selu knows float32 only: refused",
    ),
}


def _values(model: onnx.ModelProto, size: int = 3) -> dict[str, np.ndarray]:
    rng, values = np.random.default_rng(0), {}
    stored = {t.name for t in model.graph.initializer}
    for port in model.graph.input:
        kind = port.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else size for d in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if port.name not in stored:
            values[port.name] = np.asarray(2 * rng.standard_normal(dims)).astype(dtype)
    return values


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_is_equal_or_refused(seed):
    ends = dict(try_sets(make_case(seed), {s: [] if s == "host" else s.split(",") for s in SETS}))
    assert list(ends) == list(SETS)
    for name, (outcome, why) in ends.items():
        assert outcome in ("equal", "refused", "skip"), f"{name}: {outcome}: {why}"
    assert any(outcome == "equal" for outcome, _ in ends.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_graph_that_once_went_wrong_is_equal(seed):
    ends = try_sets(make_case(seed), {s: [] if s == "host" else s.split(",") for s in SETS[:2]})
    assert dict(ends) == dict.fromkeys(SETS[:2], ("equal", "")), SEEDS[seed]


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(("axes", "shape"), [([0, -1], (1, 1)), ([-2], (1, 3)), ([-1], (0, 1))])
def test_the_reference_is_onnx_where_its_runtime_misreads_axes(opset, axes, shape):
    """ONNX Runtime leaves out negative axes of an empty tensor, against ONNX's own evaluator."""
    data = np.zeros((0, 3), np.float32)
    attrs, inputs, stored = {"axes": axes}, ["x"], []
    if opset >= 18:
        attrs, inputs = {}, ["x", "axes"]
        stored = [onnx.numpy_helper.from_array(np.array(axes, np.int64), "axes")]
    node = onnx.helper.make_node("ReduceMax", inputs, ["y"], keepdims=1, **attrs)
    ports = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)
        for name, dims in (("x", data.shape), ("y", shape))
    ]
    graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:], stored)
    opsets = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": data})
    ((found,),) = reference(Case(0, model, {"x": data}, ()))
    assert found.shape == expected.shape == shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", FAILED)
def test_what_once_went_wrong_is_equal(name):
    model = onnx.load(GRAPHS / f"{name}.onnx")
    outcome, why = try_case(Case(0, model, _values(model), ()), ())
    assert outcome == "equal", why


@pytest.mark.parametrize("name", SMALL)
def test_what_once_went_wrong_is_equal_when_small(name):
    opset, text, _ = SMALL[name]
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')
    case = Case(0, model, _values(model), (), (_values(model, 5),))
    assert reference(case) is not None
    outcome, why = try_case(case, ())
    assert outcome == "equal", why


def test_a_seed_names_a_graph():
    first, again, other = make_case(7), make_case(7), make_case(8)
    assert first.model == again.model
    assert first.model != other.model
    assert all(np.array_equal(first.inputs[n], again.inputs[n]) for n in first.inputs)


def test_graphs_are_legal_and_cover_what_models_hold():
    operators, dtypes, opsets, ran = set(), set(), set(), 0
    symbolic = scalar = empty = given_weights = 0
    for seed in range(400):
        case = make_case(seed)
        graph = case.model.graph
        operators.update(node.op_type for node in graph.node)
        dtypes.update(str(a.dtype) for a in case.inputs.values())
        opsets.add(case.model.opset_import[0].version)
        symbolic += bool(case.more)
        scalar += any(a.shape == () for a in case.inputs.values())
        empty += any(a.size == 0 for a in case.inputs.values())
        stored = {t.name for t in graph.initializer}
        given_weights += any(i.name in stored for i in graph.input)
        if seed < 20:
            onnx.checker.check_model(case.model, full_check=True)
            ran += reference(case) is not None
    assert len(operators) >= 120
    assert {"If", "Loop", "Scan", "QuantizeLinear", "DequantizeLinear", "Shape"} <= operators
    assert {"float16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool"} <= dtypes
    assert opsets == set(range(13, 25))
    assert min(symbolic, scalar, empty, given_weights) >= 10
    assert ran >= 16  # ONNX Runtime lacks a few kernels of float16 and float64


def test_hard_graphs_name_their_hardness_and_are_legal():
    found = set()
    for seed in range(40):
        case, again = make_hard_case(seed), make_hard_case(seed)
        assert case.model == again.model
        assert {i.name for i in case.model.graph.input} >= set(case.inputs)
        found |= {"parameters", "numbers", "ends", "deep"} & set(case.rules)
        found |= {name for name in ("given", "outside") if getattr(case, name)}
        if "parameters" in case.rules and len(case.inputs) > len(make_case(seed).inputs):
            found.add("freed")
    assert found == {"parameters", "numbers", "ends", "deep", "freed", "given", "outside"}


@pytest.mark.parametrize("seed", [1000, 1001])
def test_a_hard_graph_is_equal_live_and_reloaded_without_tvm(seed):
    with closing(FreshProcesses()) as fresh:
        ends = dict(try_sets(make_hard_case(seed), {"host": []}, fresh.difference))
    assert ends["host"][0] in ("equal", "refused", "skip"), ends


def test_symbolic_graphs_run_at_two_sizes():
    case = next(c for c in map(make_case, range(100)) if c.more)
    assert reference(case) is not None
    sizes = {inputs[n].shape[0] for inputs in (case.inputs, *case.more) for n in inputs}
    assert len(sizes) == 2
    for port in case.model.graph.input:
        if port.name in case.inputs:
            assert port.type.tensor_type.shape.dim[0].dim_param == "N"


def test_differences_are_found():
    a = np.array([1.0, np.nan, np.inf], np.float32)
    assert difference(a, a.copy()) is None
    assert "elements differ" in difference(a, np.array([1.1, np.nan, np.inf], np.float32))
    assert "elements differ" in difference(a, np.array([1.0, 0, np.inf], np.float32))
    assert "expected" in difference(a, a.astype(np.float64))
    assert "first at" in difference(np.array([1, 2]), np.array([1, 3]))


def test_a_wrong_number_is_found(monkeypatch):
    case = make_case(0)
    right = reference(case)
    wrong = [[a + 1 if a.dtype != bool else ~a for a in outputs] for outputs in right]
    monkeypatch.setattr(onnx_compare, "reference", lambda case: wrong)
    assert try_case(case, ())[0] == "wrong"


def test_a_crash_is_counted_and_the_worker_ended():
    """A worker that dies says so for the set that killed it; earlier sets keep their end."""
    code = (
        "import os, sys; line = sys.stdin.readline(); "
        'print(\'["host", "equal", ""]\', flush=True); '
        "print('last words', file=sys.stderr, flush=True); os.kill(os.getpid(), 11)"
    )
    worker = random_onnx._Worker([sys.executable, "-c", code])
    ends = worker.run(1, ["host", "dnnl", "dnnl,onnxruntime"])
    assert [tuple(end[:2]) for end in ends] == [("host", "equal"), ("dnnl", "crash")]
    assert str(-signal.SIGSEGV) in ends[1][2]
    assert "last words" in ends[1][2]
    assert worker.process.poll() is not None


@pytest.mark.slow
def test_two_thousand_are_equal_or_refused(tmp_path):
    command = [sys.executable, str(TABLE), "--graphs", "2000", "--first", "20000"]
    command += ["--json", str(tmp_path / "result.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["operators"]) >= 120
    for name in SETS:
        assert result["counts"][name]["equal"] >= 1800
