"""Symbolic batch, symbolic sequence, control flow: through the VM, behind the same calls."""

import numpy as np
import pytest

import byoc
from byoc.bench import difference
from byoc.testing.zoo import build, random_inputs

BOTH = pytest.mark.parametrize("vendors", [[], ["dnnl"]], ids=["host", "dnnl"])


def check(executable, model, reference, dims, seed=0):
    inputs = random_inputs(model, seed, dims)
    expected = reference(model, inputs)
    found = executable.run(inputs)
    for name, array in expected.items():
        assert found[name].shape == array.shape
        assert difference(found[name], array).relative <= 1e-4, (name, dims)


@BOTH
@pytest.mark.parametrize("name", ["mlp", "mobilenet_v2", "vit_tiny"])
def test_symbolic_batch(name, vendors, reference):
    options = {"mobilenet_v2": {"image": 64}}.get(name, {})
    model = build(name, batch="batch", **options)
    executable = byoc.compile(model, vendors=vendors)
    assert executable.inputs[0].type.shape[0] == "batch"
    for batch in (1, 3, 17):
        check(executable, model, reference, {"batch": batch})


@BOTH
@pytest.mark.parametrize("name", ["bert_tiny", "gpt2_tiny"])
def test_symbolic_sequence(name, vendors, reference):
    model = build(name, batch="batch", sequence="sequence")
    executable = byoc.compile(model, vendors=vendors)
    for batch, sequence in ((1, 7), (2, 16), (1, 33), (1, 7)):
        check(executable, model, reference, {"batch": batch, "sequence": sequence})


@pytest.mark.parametrize("name", ["mlp", "bert_tiny"])
def test_symbolic_models_are_offloaded_too(name):
    report = byoc.partition_model(build(name, batch="batch"), vendors=["dnnl"]).report
    assert report.coverage.ops >= 0.9, report.table()


@BOTH
def test_if_both_ways(vendors, reference):
    model = build("branch")
    executable = byoc.compile(model, vendors=vendors)
    ways = set()
    for seed in range(6):
        inputs = random_inputs(model, seed)
        ways.add(bool(inputs["input"].mean() > 0))
        check(executable, model, reference, {}, seed)
    assert ways == {True, False}


def test_branches_of_if_are_partitioned():
    report = byoc.partition_model(build("branch"), vendors=["dnnl"]).report
    convolutions = [op for op in report.ops if op.op == "nn.conv2d"]
    assert len(convolutions) == 3
    assert {op.place for op in convolutions} == {"dnnl"}


@BOTH
def test_dynamic_models_are_saved_and_loaded(vendors, tmp_path, reference):
    model = build("mlp", batch="batch")
    byoc.compile(model, vendors=vendors).save(tmp_path / "m.byoc")
    executable = byoc.load(tmp_path / "m.byoc")
    for batch in (1, 5):
        check(executable, model, reference, {"batch": batch})


def test_a_symbolic_dimension_is_checked_where_it_repeats():
    model = build("bert_tiny", batch="batch", sequence="sequence")
    executable = byoc.compile(model, vendors=["dnnl"])
    inputs = random_inputs(model, 0, {"batch": 1, "sequence": 16})
    inputs["attention_mask"] = np.ones((1, 15), np.int64)
    with pytest.raises(byoc.InputError, match=r"attention_mask.*axis 1 is 15, expected 16"):
        executable.run(inputs)


def test_one_executable_from_several_threads(reference):
    from concurrent.futures import ThreadPoolExecutor

    model = build("mlp", batch="batch")
    executable = byoc.compile(model, vendors=["dnnl"])

    def work(seed: int) -> float:
        inputs = random_inputs(model, seed, {"batch": 1 + seed % 4})
        (expected,) = reference(model, inputs).values()
        return difference(executable.run(inputs)["output"], expected).relative

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(work, range(24))) <= 1e-4
