"""Negative indices and those out of range: by every operator, on the host and dnnl, as eager."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

import byoc  # noqa: E402
from byoc.errors import ByocError  # noqa: E402

F = torch.nn.functional

SIZE = 5
TABLE = torch.arange(SIZE * 3.0).reshape(SIZE, 3)


def written(x, i):
    x[:, i] = 1.5
    return x


OPERATORS = {
    "embedding": lambda x, i: F.embedding(i, x),
    "x[i]": lambda x, i: x[i],
    "x[:, i]": lambda x, i: x.t()[:, i],
    "x[i, j]": lambda x, i: x[i, i * 0 + 1],
    "x[j, i]": lambda x, i: x.t()[i * 0 + 1, i],
    "x[i, :, j]": lambda x, i: x.reshape(SIZE, 1, 3)[i, :, i * 0],
    "index_select": lambda x, i: x.index_select(0, i),
    "gather": lambda x, i: x.gather(0, i[:, None]),
    "gather of a scalar": lambda x, i: x[1, 1].gather(0, i),
    "take_along_dim": lambda x, i: torch.take_along_dim(x, i[:, None], 0),
    "one_hot": lambda x, i: F.one_hot(i, SIZE),
    "scatter": lambda x, i: x.scatter(0, i[:, None], 9.0),
    "scatter_add": lambda x, i: x.scatter_add(0, i[:, None].expand(3, 3), x[:3]),
    "index_put": lambda x, i: torch.index_put(x, (i,), torch.ones(3)),
    "x[:, i] = v": lambda x, i: written(x.t().clone(), i),
    "index_add": lambda x, i: x.index_add(0, i, x[:3]),
    "index_copy": lambda x, i: x.index_copy(0, i, x[:3] + 1),
}

BAD = [SIZE, 10**6, 2**31 + 1, 2**40, -1, -SIZE, -SIZE - 1, -(10**6), -(2**33)]


class Operator(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, i):
        return self.function(x, i)


def attempt(function, *args):
    try:
        return np.asarray(function(*args))
    except (IndexError, RuntimeError, ByocError) as error:
        return error


@pytest.mark.parametrize(("name", "vendors"), list(itertools.product(OPERATORS, ([], ["dnnl"]))))
def test_bad_indices_are_refused_as_eager_does(name, vendors):
    model = Operator(OPERATORS[name])
    good = torch.tensor([0, 0, 0] if name == "gather of a scalar" else [0, 4, 2])
    program = torch.export.export(model, (TABLE, good))
    exe = byoc.compile(program, vendors=vendors, min_segment_ops=1, min_segment_flops=0)
    with torch.no_grad():
        for bad in [None, *BAD]:
            indices = good.clone()
            if bad is not None:
                indices[1] = bad
            expected, found = attempt(model, TABLE, indices), attempt(exe, TABLE, indices)
            if isinstance(expected, Exception):
                assert isinstance(found, ByocError), (bad, found)
            else:
                np.testing.assert_array_equal(found, expected, err_msg=str(bad))


def test_compiled_one_hot_refuses_what_is_no_class():
    compiled = torch.compile(lambda i: F.one_hot(i, 4), backend="byoc", options={"strict": True})
    assert torch.equal(compiled(torch.tensor([[1, 3]])), F.one_hot(torch.tensor([[1, 3]]), 4))
    for bad in (4, -1):
        with pytest.raises(ByocError, match="index"):
            compiled(torch.tensor([[1, bad]]))
