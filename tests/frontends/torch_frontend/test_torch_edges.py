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


class Sums(torch.nn.Module):
    def forward(self, q, k, n):
        scores = torch.einsum("b q h d, b k h d -> b h q k", q, k).softmax(-1)
        return (
            torch.einsum("bhqk,bkhd->bqhd", scores, k),
            torch.einsum("...qhd,...khd->...hqk", q[:, :1], k),
            torch.einsum("bqhd,bqhd", q[:1], k),  # a length of 1 that stands for any
            torch.einsum("bqhd->hb", q),
            torch.einsum("iij->ij", q[0, :4]),
            torch.einsum("bqhd,hd,q->bq", q, q[0, 0], q[0, :, 0, 0]),
            torch.einsum("ij,jk->ik", n, n),  # whole numbers
        )


@pytest.mark.parametrize("vendors", [[], ["dnnl"]], ids=["host", "dnnl"])
@pytest.mark.parametrize("route", ["export", "compile"])
def test_einstein_sums(vendors, route):
    draw = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, 4, 4, 5, generator=draw) for _ in range(2))
    model, args = Sums(), (q, k, torch.arange(9).reshape(3, 3))
    if route == "export":
        exe = byoc.compile(torch.export.export(model, args), vendors=vendors)
        got = [torch.from_numpy(np.asarray(v)) for v in exe(*args)]
    else:
        got = torch.compile(model, backend="byoc", options={"vendors": vendors})(*args)
    for found, expected in zip(got, model(*args), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
