"""``torch.compile(…, backend="byoc")``: numbers, changing weights, sizes, gradients, fallbacks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

from torch._dynamo.utils import counters  # noqa: E402

import byoc  # noqa: E402
from byoc.errors import ModelError, OptionError  # noqa: E402
from byoc.integrations import torch_compile as torch_backend  # noqa: E402
from byoc.integrations.torch_compile import FallbackWarning  # noqa: E402

nn, F = torch.nn, torch.nn.functional

# torch's own, of every release another one; byoc's must be seen.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*torch.*:UserWarning:torch"
)


@pytest.fixture(autouse=True)
def _clean():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def network():
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 4)).eval()


def compiled(model, **options):
    return torch.compile(model, backend=torch_backend.byoc, options={"strict": True} | options)


def close(found, expected):
    assert type(found) is torch.Tensor
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_torch_finds_the_backend_by_its_name():
    assert "byoc" in torch._dynamo.list_backends()
    model, x = network(), torch.randn(2, 8)
    with torch.no_grad():
        close(torch.compile(model, backend="byoc")(x), model(x))


def test_structures_and_constants_pass_through():
    class Many(nn.Module):
        def forward(self, x, flag):
            return {"y": x * 2 if flag else x, "x": x, "n": None, "k": (3, x.shape[0], x.t())}

    f, x = compiled(Many()), torch.randn(3, 2)
    found = f(x, True)
    close(found["y"], x * 2)
    assert found["x"] is x and found["n"] is None and found["k"][:2] == (3, 3)
    close(found["k"][2], x.t())
    close(f(x, False)["k"][2], x.t())


def test_reports_say_where_each_module_went():
    f = compiled(network(), vendors=["dnnl"])
    with torch.no_grad():
        f(torch.randn(2, 8))
    (report,) = [e.report for e in torch_backend.executables() if len(e.report.ops) > 3]
    assert report.coverage.flops == 1
    assert {"0.addmm", "1.gelu", "2.layer_norm"} <= {op.name for op in report.ops}


def test_weights_written_to_are_seen():
    """Version counters tell; after a few changes weights are inputs, and nothing is compiled."""
    model, x = network(), torch.randn(2, 8)
    f = compiled(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    compiled_graphs = []
    for _ in range(6):
        with torch.no_grad():
            close(f(x), model(x))
        compiled_graphs.append(len(torch_backend.executables()))
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
    with torch.no_grad():
        close(f(x), model(x))
        model[0].weight.data = torch.randn(16, 8)
        close(f(x), model(x))
        model.load_state_dict(network().state_dict())
        close(f(x), model(x))
    assert counters["stats"]["unique_graphs"] == 1, "Dynamo captured once"


def test_layers_that_share_code_keep_their_own_weights():
    layers = [nn.Linear(8, 8).eval() for _ in range(3)]
    x = torch.randn(2, 8)
    shared = torch.compile(lambda layer, x: layer(x) * 2, backend=torch_backend.byoc)
    with torch.no_grad():
        for _ in range(2):
            for layer in layers:
                close(shared(layer, x), layer(x) * 2)


def test_buffers_that_forward_writes_are_written_back():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("total", torch.zeros(4))

        def forward(self, x):
            self.total += x.sum(0)
            return x * self.total

    one, two = Counter(), Counter()
    f = compiled(one)
    for seed in range(4):
        x = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))
        close(f(x), two(x))
        close(one.total, two.total)


def test_inputs_written_in_place_and_views_of_them():
    def step(x):
        y = x.add_(1)
        return y.view(-1), x[0]

    x = torch.randn(2, 3)
    twin = x.clone()
    f = torch.compile(step, backend=torch_backend.byoc, options={"strict": True})
    flat, row = f(x)
    expected = step(twin)
    close(flat, expected[0]), close(row, expected[1]), close(x, twin)
    x.zero_()
    assert not flat.any() and not row.any(), "they are views of x"


def test_sizes_that_torch_marks_dynamic():
    model = network()
    f = compiled(model)
    with torch.no_grad():
        for rows in (2, 5, 9, 3):
            x = torch.randn(rows, 8)
            close(f(x), model(x))
    assert counters["stats"]["unique_graphs"] == 2, "static, then any size"
    torch._dynamo.reset()
    x = torch.randn(4, 8)
    torch._dynamo.mark_dynamic(x, 0)
    with torch.no_grad():
        f(x)
    shapes = [p.type.shape for e in torch_backend.executables() for p in e.inputs]
    assert any(isinstance(s[0], str) for s in shapes if s)


def test_results_share_memory_with_what_byoc_computed(monkeypatch):
    """No copy on the way out: torch holds the array that the executable returned."""
    seen = []
    original = byoc.Executable.__call__

    def spy(self, *inputs):
        result = original(self, *inputs)
        seen.append(result)
        return result

    monkeypatch.setattr(byoc.Executable, "__call__", spy)
    f = compiled(network())
    with torch.no_grad():
        out = f(torch.randn(2, 8))
    assert out.data_ptr() == seen[-1].ctypes.data
    assert np.shares_memory(out.numpy(), seen[-1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_dtypes(dtype):
    def same(x):
        return x.clone().reshape(2, 6)[:, 1:], x.to(torch.float32) + 1

    x = (torch.randn(3, 4) * 3).to(dtype)
    found = torch.compile(same, backend=torch_backend.byoc, options={"strict": True})(x)
    for a, b in zip(found, same(x), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


def test_gradients_are_torchs_and_named():
    model, x = network(), torch.randn(2, 8)
    twin = network()
    twin.load_state_dict(model.state_dict())
    f = torch.compile(model, backend=torch_backend.byoc)
    with pytest.warns(FallbackWarning, match=r"gradients are wanted.*torch\.no_grad"):
        loss = f(x).square().sum()
    loss.backward()
    twin(x).square().sum().backward()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        close(a.grad, b.grad)
    with torch.no_grad():
        close(f(x), model(x))


def test_what_cannot_be_compiled_is_run_by_torch_and_said():
    def odd(x):
        return torch.special.i0(x) + 1

    x = torch.randn(3)
    f = torch.compile(odd, backend=torch_backend.byoc)
    with pytest.warns(FallbackWarning, match=r"aten\.i0\.default .*test_torch_compile\.py"):
        close(f(x), odd(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        close(f(x), odd(x))  # said once
    strict = torch.compile(odd, backend=torch_backend.byoc, options={"strict": True})
    torch._dynamo.reset()
    with pytest.raises(ModelError, match=r"aten\.i0\.default"):
        strict(x)


def test_graph_breaks_are_those_of_dynamo():
    def broken(x):
        y = x * 2
        torch._dynamo.graph_break()
        return y + 1

    x = torch.randn(3)
    counts = []
    for backend in ("eager", torch_backend.byoc):
        torch._dynamo.reset()
        counters.clear()
        close(torch.compile(broken, backend=backend)(x), x * 2 + 1)
        counts.append((counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())))
    assert counts[0] == counts[1] == (2, counts[0][1])


def test_wrong_options_and_devices_are_refused():
    x = torch.randn(2, 8)

    def cause(f, *args):
        with torch.no_grad(), pytest.raises(Exception) as caught:
            f(*args)
        error = caught.value
        while error is not None and not isinstance(error, byoc.errors.ByocError):
            error = error.__cause__ or getattr(error, "inner_exception", None)
        return error

    error = cause(compiled(network(), vendor=["dnnl"]), x)
    assert isinstance(error, OptionError) and "did you mean 'vendors'" in str(error)
    f = torch.compile(network(), backend=torch_backend.byoc, mode="max-autotune")
    assert "no mode 'max-autotune'" in str(cause(f, x))
    error = cause(compiled(nn.Linear(8, 2, device="meta")), torch.randn(2, 8, device="meta"))
    assert isinstance(error, ModelError) and "on 'meta'" in str(error)
