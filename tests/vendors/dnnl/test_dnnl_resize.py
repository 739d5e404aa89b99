"""Resizing on dnnl from and to every small size, in every layout that comes before it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

import byoc  # noqa: E402

F = torch.nn.functional
SIZES = [(1, 1), (3, 2)]


class Resized(torch.nn.Module):
    """To every size of SIZES, of the input itself, a ReLU of it, a convolution, a transpose."""

    def __init__(self, channels, mode):
        super().__init__()
        self.mode = mode
        self.conv = torch.nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        last = torch.relu(x.permute(0, 2, 3, 1) + 0.25).permute(0, 3, 1, 2)
        sources = (x, torch.relu(x), self.conv(x), last)
        return tuple(F.interpolate(s, size=n, mode=self.mode) for s in sources for n in SIZES)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2)], ids=str)
def test_every_size_and_layout(size, mode):
    torch.manual_seed(0)
    model, x = Resized(32, mode).eval(), torch.randn(2, 32, *size)
    program = torch.export.export(model, (x,))
    exe = byoc.compile(program, vendors=["dnnl"], min_segment_ops=1, min_segment_flops=0)
    with torch.no_grad():
        expected = model(x)
    for found, want in zip(exe(x), expected, strict=True):
        np.testing.assert_allclose(found, want.numpy(), atol=1e-5)
