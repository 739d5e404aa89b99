"""`placement="measured"` on small models with real vendors: right, complete, resumable, told."""

import itertools
from dataclasses import replace

import numpy as np
import onnx
import pytest

import byoc
from byoc.testing.zoo import build, random_inputs
from byoc.timing.store import Store

VENDORS = ["dnnl", "onnxruntime"]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("BYOC_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def small():
    return build("mlp", batch=4, hidden=64)


def check_right(executable, model, reference, dims=None):
    for seed in range(3):
        inputs = random_inputs(model, seed, dims)
        expected = reference(model, inputs)
        for name, found in executable.run(inputs).items():
            np.testing.assert_allclose(found, expected[name], rtol=2e-4, atol=2e-4)


def test_the_shipped_plan_is_right_and_was_raced_against_every_single_place(small, reference):
    executable = byoc.compile(small, VENDORS, placement="measured", budget=60)
    check_right(executable, small, reference)
    report = executable.report
    assert report.placement == "measured"
    names = {plan.name for plan in report.plans}
    timed = {plan.name: plan for plan in report.plans if plan.measured is not None}
    assert "host" in timed
    assert "dnnl only" in names
    shipped = [plan for plan in report.plans if plan.shipped]
    assert len(shipped) == 1
    assert shipped[0].measured is not None
    assert shipped[0].segments == len(report.segments)
    assert all(plan.predicted and plan.predicted > 0 for plan in report.plans)
    assert all(segment.measured and segment.measured > 0 for segment in report.segments)


def test_a_second_run_measures_nothing_again(small, monkeypatch):
    from byoc.measure.segment_timing import SegmentTimer

    measured: list[str] = []
    record = SegmentTimer._record

    def noted(self, segment, timed, kind):
        measured.append(self.key(segment))
        record(self, segment, timed, kind)

    monkeypatch.setattr(SegmentTimer, "_record", noted)
    byoc.compile(small, ["dnnl"], placement="measured", budget=8)
    first = set(measured)
    assert len(first) == len(measured) > 3
    measured.clear()
    byoc.compile(small, ["dnnl"], placement="measured", budget=8)
    # A busy machine leaves work for the second run, and figures suggest new plans.
    assert first.isdisjoint(measured)


def test_measurements_outlive_a_run_that_is_stopped(small, monkeypatch):
    """The store has each figure at once: what was measured before a crash is not measured again."""
    from byoc.measure import segment_timing

    real = segment_timing.time_probes
    calls = itertools.count()

    def dies(probes, **options):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return real(probes, **options)

    monkeypatch.setattr(segment_timing, "time_probes", dies)
    with pytest.raises(KeyboardInterrupt):
        byoc.compile(small, VENDORS, placement="measured")
    with Store() as store:
        kept = [entry.kind for entry in store.entries()]
    assert kept.count("segment") >= 2


def test_no_budget_still_times_every_single_place_and_says_what_is_not_known(reference, capsys):
    model = build("bert_tiny")
    executable = byoc.compile(model, VENDORS, placement="measured", budget=0)
    check_right(executable, model, reference)
    plans = {plan.name: plan for plan in executable.report.plans}
    assert all(plans[name].measured for name in ("host", "dnnl only", "onnxruntime only"))
    (untimed, *_) = [plan.name for plan in plans.values() if plan.measured is None]
    assert not plans[untimed].shipped
    said = capsys.readouterr().err
    assert "the budget of 0 s was spent before" in said
    assert repr(untimed) in said
    assert any("the budget of 0 s" in line for line in executable.report.warnings)


@pytest.mark.parametrize("budget", ["soon", "-1", -1, "60 parsecs", True])
def test_a_budget_that_is_no_time_is_refused(small, budget):
    with pytest.raises(byoc.OptionError, match="is no time; write seconds"):
        byoc.compile(small, ["dnnl"], placement="measured", budget=budget)


def test_a_budget_without_measuring_is_refused(small):
    with pytest.raises(byoc.OptionError, match="budget belongs to placement='measured'"):
        byoc.compile(small, ["dnnl"], budget=5)
    with pytest.raises(byoc.OptionError, match="a dry run does neither"):
        byoc.partition_model(small, ["dnnl"], placement="measured")


def broken(*, at_run_time=False):
    """dnnl that cannot compile, or whose segments fail when they are loaded."""
    from byoc.vendor_templates.dnnl import VENDOR

    def refuse(segment, options):
        raise byoc.CompileError(f"acme: no licence for {len(segment.nodes)} ops")

    return replace(VENDOR, compile=refuse)


def test_a_vendor_that_cannot_build_is_an_infinite_cost_with_its_message(small, reference, capsys):
    executable = byoc.compile(small, [broken(), "onnxruntime"], placement="measured")
    check_right(executable, small, reference)
    report = executable.report
    assert {op.place for op in report.ops} <= {"host", "onnxruntime"}
    assert not any(plan.measured for plan in report.plans if plan.name.startswith("dnnl"))
    assert "cannot be built: acme: no licence for" in capsys.readouterr().err
    with Store() as store:
        failed = [e.timed for e in store.entries() if e.timed.error]
    assert failed
    assert all(t.seconds == float("inf") and "no licence" in t.error for t in failed)


def test_no_place_at_all_is_an_error_that_names_the_reason(small, monkeypatch):
    from byoc import host

    def fails(*arguments, **options):
        raise byoc.CompileError("LLVM is not at home")

    monkeypatch.setattr(host, "build", fails)
    with pytest.raises(byoc.CompileError, match="no placement could be built.*not at home"):
        byoc.compile(small, [broken()], placement="measured")


def test_no_vendor_is_the_host(small, reference):
    executable = byoc.compile(small, [], placement="measured")
    check_right(executable, small, reference)
    assert [plan.name for plan in executable.report.plans] == ["host"]


def test_symbolic_dimensions_need_sizes(reference, capsys):
    model = build("mlp", batch="n", hidden=64)
    executable = byoc.compile(model, ["dnnl"], placement="measured")
    said = capsys.readouterr().err
    assert "symbolic dimension 'n'" in said
    assert "placed by predicted time instead" in said
    check_right(executable, model, reference, {"n": 3})
    with pytest.raises(byoc.OptionError, match="no symbolic dimension 'm'.*legal: n"):
        byoc.compile(model, ["dnnl"], placement="measured", dims={"n": 2, "m": 3})
    measured = byoc.compile(model, ["dnnl"], placement="measured", dims={"n": 4})
    assert any(plan.measured for plan in measured.report.plans)
    check_right(measured, model, reference, {"n": 5})


def test_the_report_is_in_the_saved_model(small, tmp_path):
    executable = byoc.compile(small, ["dnnl"], placement="measured", budget=8)
    executable.save(tmp_path / "m.byoc")
    loaded = byoc.load(tmp_path / "m.byoc")
    assert loaded.report.plans == executable.report.plans
    assert loaded.report.segments == executable.report.segments


def test_token_ids_stay_in_range(reference, tmp_path):
    """Inputs of a path are drawn as the file's tables allow."""
    model = build("gpt2_tiny", layers=1)
    onnx.save(model, tmp_path / "gpt2.onnx")
    executable = byoc.compile(tmp_path / "gpt2.onnx", ["dnnl"], placement="measured", budget=4)
    check_right(executable, model, reference)
