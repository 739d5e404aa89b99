"""The npu beside other processors: mixed plans, and work at the same time."""

import numpy as np
import pytest
from npu_models import residual_net, samples

import byoc
from benchmarks.npu_overlap import measure_overlap, shared_time
from byoc.quantize import quantize_model
from byoc.report.times import RunTimes, TaskTime
from byoc.vendor_templates.npu import VENDOR


@pytest.fixture(scope="module")
def half():
    """A net whose middle stays in float."""
    model = residual_net()
    kept = [n.name for n in model.graph.node if n.op_type == "Conv"][2:4]
    return quantize_model(model, samples(model, 8), exclude=kept).model


def usable(name):
    return next(v.available for v in byoc.vendors() if v.name == name)


@pytest.mark.parametrize("vendors", [[VENDOR, "dnnl"], [VENDOR]])
def test_mixed_plans_run_right(half, reference, vendors):
    if "dnnl" in vendors and not usable("dnnl"):
        pytest.skip("dnnl is not available here")
    executable = byoc.compile(half, vendors=vendors)
    places = {segment.vendor for segment in executable.report.segments}
    assert places == {v if isinstance(v, str) else v.name for v in vendors}
    for seed in range(3):
        x = samples(half, 1, seed)
        expected = next(iter(reference(half, {"x": x}).values()))
        error = np.abs(executable(x) - expected).max()
        assert error <= 0.05 * np.abs(expected).max()


def test_a_paced_npu_and_the_host_work_at_the_same_time():
    found = measure_overlap(size=256, depth=12, repeats=5)
    # One after the other share nothing; two of equal length that share 0.8 are 1.67 times as fast.
    assert found.shared > 0.8, found


def test_shared_time_is_that_of_the_shorter_processor():
    def times(*spans):
        return RunTimes("m", ((0, 0, 100),), tuple(
            TaskTime(0, i, "t", "host", "", processor, (), start, stop, 0, 0, 0, False)
            for i, (processor, start, stop) in enumerate(spans)
        ))  # fmt: skip

    one_by_one = times(("cpu", 0, 40), ("npu", 40, 90))
    assert shared_time(one_by_one) == 0
    assert shared_time(times(("cpu", 0, 40), ("npu", 0, 100))) == 1
    assert shared_time(times(("npu", 0, 50), ("cpu", 10, 30), ("cpu", 40, 80))) == 0.6
