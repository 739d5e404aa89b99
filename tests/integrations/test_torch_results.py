"""Results of `torch.compile(…, backend="byoc")`: eager's strides, eager's sharing of memory."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

import byoc  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*torch.*:UserWarning:torch"
)


def compiled(function, **settings):
    torch._dynamo.reset()
    return torch.compile(function, backend="byoc", options={"strict": True}, **settings)


def same(found, expected):
    assert len(found) == len(expected)
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e)
        assert steps(f) == steps(e)


def steps(tensor):
    """Strides, but of axes of size 1, where fake tensors and eager do not agree."""
    return [s for n, s in zip(tensor.shape, tensor.stride(), strict=True) if n != 1]


def shares(results):
    """Which pairs of results are changed by writing to the first."""
    pairs = []
    for i, j in itertools.permutations(range(len(results)), 2):
        before = results[j].clone()
        results[i].add_(1)
        pairs.append(not torch.equal(before, results[j]))
    return pairs


VIEWS = {
    "itself": lambda y: y,
    "transposed": lambda y: y.transpose(0, 2),
    "permuted": lambda y: y.permute(1, 2, 0),
    "a part": lambda y: y[:, 1:],
    "another part": lambda y: y[:, :2],
    "a row": lambda y: y.select(1, 0),
    "steps": lambda y: y[..., ::2],
    "flat axis": lambda y: y.unsqueeze(0),
    "a copy": lambda y: y + 0,
}

INPUTS = {
    "rows": lambda: torch.randn(3, 4, 5),
    "permuted": lambda: torch.randn(5, 3, 4).permute(1, 2, 0),
    "size 1": lambda: torch.randn(3, 1, 5).transpose(0, 1).expand(1, 3, 5),
    "gaps": lambda: torch.randn(3, 4, 10)[..., ::2],
    "one for all": lambda: torch.randn(3, 1, 5).expand(3, 4, 5),
}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("source", INPUTS)
def test_views_of_one_value(source, dynamic):
    """Random sets of views of a value that takes the layout of the input."""
    torch.manual_seed(0)
    picked = random.Random(source).sample(sorted(VIEWS), 4)
    x = INPUTS[source]()

    def function(x):
        y = x * 2
        return [VIEWS[name](y) for name in picked]

    found, expected = compiled(function, dynamic=dynamic)(x), function(x)
    same(found, expected)
    assert shares(found) == shares(expected)
    same(found, expected)


@pytest.mark.parametrize("dynamic", [False, True])
def test_parts_whose_whole_is_no_result(dynamic):
    def function(x):
        first, second = (x + 1).chunk(2, 1)
        return first, second.t(), first[:1]

    f = compiled(function, dynamic=dynamic)
    for size in (4, 6):
        x = torch.randn(3, size)
        found, expected = f(x), function(x)
        assert shares(found) == shares(expected)
        same(found, expected)


def test_view_after_a_graph_break():
    net = torch.nn.Conv2d(3, 8, 3, padding=1).to(memory_format=torch.channels_last).eval()

    def function(x):
        y = net(x).relu()
        torch._dynamo.graph_break()
        return [y.permute(0, 2, 3, 1).view(-1, 8) + 1]

    x = torch.randn(2, 3, 5, 6).to(memory_format=torch.channels_last)
    with torch.no_grad():
        same(compiled(function)(x), function(x))


def test_a_lazy_minus_sign_is_carried_out():
    class Doubled(torch.nn.Module):
        def forward(self, x):
            return x * 2

    x = torch.view_as_complex(torch.randn(3, 2)).conj().imag
    assert x.is_neg()
    model = Doubled()
    exe = byoc.compile(torch.export.export(model, (torch.ones(3),)), vendors=[])
    np.testing.assert_array_equal(exe(x), model(x).numpy())
