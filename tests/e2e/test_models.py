"""Whole models against ONNX Runtime: right, nearly all of it offloaded, in few segments."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnx
import pytest

import byoc
from byoc.bench import difference
from byoc.testing.zoo import check_nontrivial, model_path, random_inputs

TOLERANCE = 1e-4
ONE_SEGMENT = {"resnet50", "squeezenet", "vgg19"}

QUICK = ["squeezenet", "shufflenet", "resnet50", "mobilenet_v2", "mlp"]
TINY = ["bert_tiny", "gpt2_tiny", "vit_tiny"]
SLOW = ["alexnet", "densenet121", "inception_v1", "inception_v2", "vgg19", "zfnet512"]
SLOW += ["bert", "gpt2", "vit"]

every = pytest.mark.parametrize(
    "name", [*QUICK, *TINY, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)


@lru_cache(maxsize=1)  # tests of one model follow each other; big ones must not pile up
def compiled(name: str, vendors: tuple[str, ...]) -> byoc.Executable:
    return byoc.compile(model_path(name), vendors=list(vendors))


def check(executable, path, reference, seeds):
    proto = onnx.load(path)
    for seed in seeds:
        inputs = random_inputs(proto, seed)
        expected = reference(path, inputs)
        check_nontrivial(expected)
        found = executable.run(inputs)
        assert list(found) == list(expected)
        for output, array in expected.items():
            assert found[output].dtype == array.dtype
            d = difference(found[output], array)
            assert d.relative <= TOLERANCE, f"seed {seed}, {output}: {d}"


@every
def test_same_numbers_as_onnx_runtime(name, zoo, reference, request):
    slow = bool(request.node.get_closest_marker("slow"))
    check(compiled(name, ("dnnl",)), zoo(name), reference, range(5 if slow else 2))


@every
def test_nearly_everything_is_offloaded(name):
    report = compiled(name, ("dnnl",)).report
    assert report.coverage.flops is not None
    assert report.coverage.flops >= 0.99, report.table()
    if name in ONE_SEGMENT:
        assert len(report.segments) == 1, report.table()
    elif name.startswith("bert"):
        assert len(report.segments) <= 3, report.table()


@every
def test_every_op_has_a_place_and_host_ops_have_reasons(name):
    report = compiled(name, ("dnnl",)).report
    assert all(op.place in ("dnnl", "host") for op in report.ops)
    unexplained = [op.name for op in report.host_ops if not op.refusals]
    assert unexplained == []


@pytest.mark.parametrize(
    "name",
    ["squeezenet", "shufflenet", *TINY, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)],
)
def test_the_host_alone_gives_the_same_numbers(name, zoo, reference):
    executable = compiled(name, ())
    assert executable.report.segments == ()
    check(executable, zoo(name), reference, range(1))


@pytest.mark.parametrize("vendors", [(), ("dnnl",)], ids=["host", "dnnl"])
@pytest.mark.parametrize("name", ["squeezenet", "bert_tiny"])
def test_a_saved_model_gives_the_same_bits(name, vendors, tmp_path, zoo):
    executable = compiled(name, vendors)
    executable.save(tmp_path / "m.byoc")
    loaded = byoc.load(tmp_path / "m.byoc")
    inputs = random_inputs(onnx.load(zoo(name)), 0)
    for before, after in zip(
        executable.run(inputs).values(), loaded.run(inputs).values(), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    assert loaded.inputs == executable.inputs
    assert loaded.outputs == executable.outputs
    assert loaded.report.table() == executable.report.table()


def test_module_paths_survive_into_the_report():
    names = " ".join(op.name for op in compiled("bert_tiny", ("dnnl",)).report.ops)
    assert "/encoder/layer.0/attention/self/query/MatMul" in names
    assert "/pooler/dense/Gemm" in names


def test_spelled_out_layer_norms_are_recognised(reference):
    model = onnx.load(model_path("bert_tiny", spell_norms=True))
    executable = byoc.compile(model, vendors=["dnnl"])
    ops = [op.op for op in executable.report.ops]
    assert "nn.layer_norm" in ops
    assert "erf" not in ops, "GELU is one op"
    inputs = random_inputs(model, 0)
    for name, array in reference(model, inputs).items():
        assert difference(executable.run(inputs)[name], array).relative <= TOLERANCE


def test_called_with_arrays_it_returns_one_or_a_tuple(zoo):
    executable = compiled("mlp", ("dnnl",))
    x = np.ones((32, 784), np.float32)
    y = executable(x)
    assert isinstance(y, np.ndarray)
    assert y.shape == (32, 100)
    pair = compiled("bert_tiny", ("dnnl",))(*random_inputs(onnx.load(zoo("bert_tiny")), 0).values())
    assert isinstance(pair, tuple)
    assert [a.shape for a in pair] == [(1, 16, 64), (1, 64)]
