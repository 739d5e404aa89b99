"""Operators at the edges of what they take: nothing to reduce, fractions among whole numbers."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

import byoc  # noqa: E402


class Many(torch.nn.Module):
    def forward(self, x, empty):
        return (
            empty.any(), empty.all(), empty.any(1), empty.all(1), (empty > 0).any(1, keepdim=True),
            x[0] + torch.arange(0.5, 5, 1.5, dtype=torch.int64),
            x[0] + torch.arange(-0.5, 4, 1.5, dtype=torch.int64),
            x[0] + torch.arange(0.1, 0.35, 0.1),
            x[0] + torch.arange(5, -1, -2),
        )  # fmt: skip


def test_edges():
    model, args = Many(), (torch.tensor([1, 2, 3]), torch.ones(2, 0))
    exe = byoc.compile(torch.export.export(model, args), vendors=[])
    for found, expected in zip(exe(*args), model(*args), strict=True):
        assert found.dtype.name == str(expected.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(found, expected.numpy())


class Signs(torch.nn.Module):
    def forward(self, a, x):
        return -a, a.abs(), torch.rsqrt(x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int64])
@pytest.mark.parametrize("vendors", [[], ["dnnl"]], ids=["host", "dnnl"])
def test_signs(dtype, vendors):
    """Unsigned numbers wrap when negated; the root of -inf is no number, that of -0 is -0."""
    x = torch.tensor([4.0, -torch.inf, -0.0, 0.0, torch.nan, -2.0, torch.inf])
    model, args = Signs(), (torch.tensor([0, 1, 100, -1]).to(dtype), x)
    exe = byoc.compile(torch.export.export(model, args), vendors=vendors)
    for found, expected in zip(exe(*args), model(*args), strict=True):
        np.testing.assert_array_equal(found, expected.numpy())
