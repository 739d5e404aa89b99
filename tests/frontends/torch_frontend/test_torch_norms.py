"""Norms by the statistics of the input itself."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

import byoc  # noqa: E402

nn = torch.nn
NORMS = {
    "instance": (nn.InstanceNorm2d(6), (2, 6, 4, 5)),
    "instance, affine": (nn.InstanceNorm2d(6, affine=True), (3, 6, 4, 5)),
    "instance, 1d": (nn.InstanceNorm1d(6, affine=True, eps=0.1), (2, 6, 7)),
    "instance, 3d": (nn.InstanceNorm3d(2), (2, 2, 3, 2, 4)),
    "instance, one item": (nn.InstanceNorm2d(6), (6, 4, 5)),
    "batch": (nn.BatchNorm2d(6, track_running_stats=False), (2, 6, 4, 5)),
}


@pytest.mark.parametrize("vendors", [[], ["dnnl"]], ids=["host", "dnnl"])
@pytest.mark.parametrize("name", NORMS)
@pytest.mark.filterwarnings("ignore::byoc.errors.FallbackWarning")
def test_norms_without_running_statistics(name, vendors):
    torch.manual_seed(0)
    model, shape = NORMS[name]
    model = model.eval()
    for parameter in model.parameters():
        parameter.data.normal_()
    program = torch.export.export(model, (torch.randn(shape),))
    exe = byoc.compile(program, vendors=vendors, min_segment_ops=1, min_segment_flops=0)
    # of equal numbers torch itself keeps what rounding leaves, times 1 / sqrt(eps)
    for scale, tolerance in ((1.0, 2e-5), (100.0, 2e-5), (0.0, 2e-4)):
        x = scale * torch.randn(shape) + 2
        np.testing.assert_allclose(exe(x), model(x).detach().numpy(), atol=tolerance, rtol=1e-5)
    kept = [op for op in exe.report.ops if op.op == "byoc.torch"]
    assert bool(kept) == (name == "batch"), "statistics of several items are left to torch"
