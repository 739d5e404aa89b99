"""Models on the VM heal, too: symbolic shapes and control flow with host twins behind their
segments, and engines built in the background."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

import byoc
from byoc.bench import difference
from byoc.runtime import Healing, Isolation, Session
from byoc.specialise import Specialise
from byoc.testing.fault_injection import faulty
from byoc.testing.zoo import build, random_inputs

OPS = ["matmul", "add", "nn.relu"]


def check(executable, model, reference, dims, seed=0):
    inputs = random_inputs(model, seed, dims)
    found = executable.run(inputs)
    for name, array in reference(model, inputs).items():
        assert found[name].shape == array.shape
        assert difference(found[name], array).relative <= 1e-4, (name, dims)


@pytest.fixture(scope="module")
def symbolic():
    return build("mlp", batch="batch", hidden=32, features=8)


def test_faults_with_any_batch(symbolic, reference, tmp_path):
    vendor = faulty("bad", {1: "throw", 3: "nan", 5: "status"}, ops=OPS)
    executable = byoc.compile(symbolic, [vendor], heal=Healing(check_nan=True, failures=99))
    assert executable.report.coverage.ops == 1.0
    for batch in (1, 3, 17, 2, 1, 5):
        check(executable, symbolic, reference, {"batch": batch})
    assert {f.kind for f in executable.faults} == {"error", "nan"}
    assert {f.vendor for f in executable.faults} == {"bad"}
    # without healing the first of them is an error
    with pytest.raises(byoc.ExecutionError, match="segment 'bad_0' of vendor 'bad' failed"):
        byoc.compile(symbolic, [vendor], heal=False).run(random_inputs(symbolic, 0, {"batch": 2}))


def test_a_twin_takes_over_for_good(symbolic, reference):
    executable = byoc.compile(symbolic, [faulty("bad", "throw", ops=OPS)], heal=True)
    for batch in (4, 1, 2, 3, 9):
        check(executable, symbolic, reference, {"batch": batch})
    by_segment = [f for f in executable.faults if f.segment == "bad_0"]
    assert [f.replaced for f in by_segment] == [False, False, True]


def test_twins_come_unasked_off_the_cpu_only(symbolic):
    npu = byoc.compile(symbolic, [faulty("bad", {1: "throw"}, ops=OPS)])
    assert npu.run(random_inputs(symbolic, 0, {"batch": 2})) and len(npu.faults) >= 1
    cpu = byoc.compile(symbolic, ["dnnl"])
    assert not cpu._program.twins


def test_crashes_out_of_process(symbolic, reference):
    vendor = faulty("bad", {2: "segfault"}, ops=OPS)
    executable = byoc.compile(symbolic, [vendor], heal=True, isolate=Isolation(start=60))
    for batch in (1, 3, 2):
        check(executable, symbolic, reference, {"batch": batch})
    assert "crash" in {f.kind for f in executable.faults}
    executable.close()


def test_a_refusing_vendor_leaves_everything_to_twins(symbolic, reference):
    executable = byoc.compile(symbolic, [faulty("bad", "refuse", ops=OPS)], heal=True)
    check(executable, symbolic, reference, {"batch": 5})
    assert {f.kind for f in executable.faults} == {"build"}
    assert any("left to its host twin" in text for text in executable.report.warnings)


@pytest.mark.parametrize("name", ["branch", "bert_tiny"])
def test_twins_answer_as_engines_do(name, reference, tmp_path):
    """Control flow; symbolic batch and sequence. Also after saving and loading."""
    dims = {"batch": "batch", "sequence": "sequence"} if name == "bert_tiny" else {}
    model = build(name, **dims)
    executable = byoc.compile(model, ["dnnl"], heal=True)
    plain = byoc.compile(model, ["dnnl"])
    executable.save(tmp_path / "m.byoc")
    plain.save(tmp_path / "plain.byoc")
    program = byoc.load(tmp_path / "m.byoc")._program
    late = [artifact.segment for artifact in program.artifacts]
    assert sorted(program.twins) == sorted(late) and late
    twins = Session(program, late=late)
    for seed, sizes in enumerate(((1, 7), (2, 16), (1, 33))):
        at = dict(zip(dims, sizes, strict=False))
        check(executable, model, reference, at, seed)
        check(twins, model, reference, at, seed)
    # the weights of the twins are those of the segments
    sizes = [_weights(tmp_path / f"{file}.byoc") for file in ("m", "plain")]
    assert sizes[0] <= 1.02 * sizes[1], sizes


def _weights(path):
    with zipfile.ZipFile(path) as file:
        return file.getinfo("weights.bin").file_size


def test_the_file_says_so(symbolic, tmp_path):
    byoc.compile(symbolic, ["dnnl"], heal=True).save(tmp_path / "m.byoc")
    byoc.compile(symbolic, ["dnnl"]).save(tmp_path / "plain.byoc")
    formats = []
    for name in ("m", "plain"):
        with zipfile.ZipFile(tmp_path / f"{name}.byoc") as file:
            formats.append(json.loads(file.read("manifest.json"))["format"])
            if name == "m":
                assert json.loads(file.read("twins/dnnl_0.json")) == ["dnnl_0__twin", 1]
    assert formats == [5, 2]
    loaded = byoc.load(tmp_path / "m.byoc", heal=False)
    assert loaded.run(random_inputs(symbolic, 0, {"batch": 3}))


def test_background(symbolic, reference):
    executable = byoc.compile(symbolic, ["dnnl"], background=True)
    check(executable, symbolic, reference, {"batch": 2})
    assert executable.wait(120).complete
    for batch in (1, 7):
        check(executable, symbolic, reference, {"batch": batch})
    assert executable.faults == ()


def test_background_stays_on_twins_when_no_engine_comes(symbolic, reference):
    executable = byoc.compile(symbolic, [faulty("bad", "refuse", ops=OPS)], background=True)
    executable.wait(120)
    assert executable.ready.failed
    for batch in (1, 3):
        check(executable, symbolic, reference, {"batch": batch})


def test_a_twin_that_does_not_fit_is_an_error(symbolic):
    """What a damaged file could say: the named error, not a wrong answer."""
    program = byoc.compile(symbolic, [faulty("bad", "throw", ops=OPS)], heal=True)._program
    name, twin = next(iter(program.twins.items()))
    inputs = random_inputs(symbolic, 0, {"batch": 2})
    other = replace(twin, entry="nothing")
    with pytest.raises(byoc.ByocError, match="has no function 'nothing'"):
        Session(replace(program, twins={**program.twins, name: other})).run(inputs)
    wrong = f"segment '{name}' has 1 outputs, its host twin 2"
    with pytest.raises(byoc.ArtifactError, match=wrong):
        Session(replace(program, twins={**program.twins, name: replace(twin, outputs=2)}))


def test_threads_share_the_twins(symbolic, reference):
    from concurrent.futures import ThreadPoolExecutor

    executable = byoc.compile(symbolic, [faulty("bad", "throw", ops=OPS)], heal=True)
    cases = [random_inputs(symbolic, k, {"batch": 1 + k % 5}) for k in range(16)]
    expected = [reference(symbolic, case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(executable.run, cases), expected, strict=True):
            for name, array in right.items():
                np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


def test_healing_goes_with_plans_for_shapes(symbolic, reference):
    vendor = faulty("bad", {1: "throw", 2: "throw", 4: "throw"}, ops=OPS)
    options = Specialise(at_once=True)
    executable = byoc.compile(symbolic, [vendor], heal=True, specialise=options)
    for batch in (3, 3, 3, 4, 3):
        check(executable, symbolic, reference, {"batch": batch})
    assert executable.specialisations.built == 2 and executable.faults
