"""The npu beside other processors: mixed plans, and work at the same time."""

import numpy as np
import pytest
from npu_models import residual_net, samples

import byoc
from benchmarks.npu_overlap import measure_overlap
from byoc.quantize import quantize_model
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
    best = max(measure_overlap(size=256, depth=12, repeats=5).speedup for _ in range(3))
    assert best > 1.4, best  # 1.8 and more on a quiet machine
