"""A graph is cut at operators that byoc cannot express: torch runs them, the rest is compiled.

Networks are drawn from a grammar of convolutions and unknown operators (custom ones of every kind,
ATen operators without a converter, results that no Relax value can be) and go both ways into byoc.
"""

from __future__ import annotations

import random
import subprocess
import sys
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

import byoc  # noqa: E402
from byoc.errors import ExecutionError, FallbackWarning, ModelError, VendorError  # noqa: E402
from byoc.integrations.torch_compile import executables  # noqa: E402

SMALL = {"min_segment_ops": 1, "min_segment_flops": 0}


@torch.library.custom_op("cut_test::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@twice.register_fake
def _(x):
    return torch.empty_like(x)


@torch.library.custom_op("cut_test::halves", mutates_args=())
def halves(x: torch.Tensor, at: int, scale: float) -> list[torch.Tensor]:
    return [x[..., :at] * scale, x[..., at:] + scale]


@halves.register_fake
def _(x, at, scale):
    return [torch.empty_like(x[..., :at]), torch.empty_like(x[..., at:])]


@torch.library.custom_op("cut_test::counted", mutates_args=())
def counted(x: torch.Tensor) -> tuple[torch.Tensor, int]:
    return x + 1, int((x > 0).sum())


@counted.register_fake
def _(x):
    return torch.empty_like(x), torch.library.get_ctx().new_dynamic_size()


@torch.library.custom_op("cut_test::add_one_", mutates_args={"x"})
def add_one_(x: torch.Tensor) -> None:
    x.add_(1)


@torch.library.custom_op("cut_test::strides", mutates_args=())
def strides(x: torch.Tensor) -> torch.Tensor:
    """What it answers depends on how its argument lies in memory."""
    return x + float(x.stride(1))


@strides.register_fake
def _(x):
    return torch.empty_like(x)


@torch.library.custom_op("cut_test::raises", mutates_args=())
def raises(x: torch.Tensor) -> torch.Tensor:
    if x.max() > 100:
        raise RuntimeError("too large")
    return x.clone()


@raises.register_fake
def _(x):
    return torch.empty_like(x)


@torch.library.custom_op("cut_test::configured", mutates_args=())
def configured(
    x: torch.Tensor,
    mode: str,
    axes: list[int],
    other: torch.Tensor | None = None,
    scale: float = 2.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    y = x * scale if mode == "scale" else x
    return y if other is None else y + other, x.sum(axes)


@configured.register_fake
def _(x, mode, axes, other=None, scale=2.0):
    return torch.empty_like(x), x.sum(axes)


_library = torch.library.Library("cut_test_views", "DEF")
_library.define("flat(Tensor(a) x) -> Tensor(a)")
_library.impl("flat", lambda x: x.view(-1), "CPU")
torch.library.register_fake("cut_test_views::flat")(lambda x: x.new_empty((x.numel(),)))


@torch.library.custom_op("cut_test::liar", mutates_args=())
def liar(x: torch.Tensor) -> torch.Tensor:
    return x[:1].clone()


@liar.register_fake
def _(x):
    return torch.empty_like(x)


def in_place(x):
    y = x * 1.5
    add_one_(y)
    return y


def numbered(x):
    y, n = counted(x)
    return y + n * 0.25


def with_arguments(x):
    y, total = configured(x, "scale", [2, 3], scale=0.5, other=x)
    return y + total[..., None, None]


def step(total, x):
    return total + x, total * 0.1


def pooled_where(x):
    return torch.nn.functional.adaptive_max_pool2d(x, 1, return_indices=True)[1] * 0.1


UNKNOWN = {
    "custom": twice,
    "several results": lambda x: torch.cat(halves(x, 2, 0.5)[::-1], -1),
    "a number": numbered,
    "in place": in_place,
    "of several arguments": with_arguments,
    "of computed sizes": lambda x: twice(torch.cat([x, x]))[: x.shape[0]],
    "of sizes alone": lambda x: x + 0 * torch.rand(x.shape[0], 1, 1, 1),
    "without a converter": torch.special.i0e,
    "complex": lambda x: torch.fft.rfft(x).abs().mean() + x,
    "chosen by a mask": lambda x: x + x[x > 0].sum(),
    "counted": lambda x: x + torch.nonzero(x > 0.5).shape[0] * 0.125,
    "a result that no converter computes": lambda x: x + pooled_where(x),
    "item": lambda x: x * x.max().item() * 0.1,
    "cond": lambda x: torch.cond(x.sum() > 0, lambda a: a + 1, lambda a: a.sin(), (x,)),
    "map": lambda x: torch._higher_order_ops.map(lambda a: a.cos(), x),
    "scan": lambda x: torch._higher_order_ops.scan(step, torch.zeros(3, *x.shape[2:]), x)[1],
    "of strides": lambda x: strides(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) * 0.1,
    "infinite argument": lambda x: torch.special.i0e(torch.nan_to_num(x, posinf=float("inf"))),
}


class Net(torch.nn.Module):
    """Convolutions and what stands between them."""

    def __init__(self, parts):
        super().__init__()
        layers = [
            torch.nn.Conv2d(3, 3, 3, padding=1) if part == "conv" else Call(UNKNOWN[part])
            for part in parts
        ]
        self.parts = torch.nn.ModuleList(layers)

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x, x.mean((2, 3))


class Call(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def close(found, expected):
    for a, b in zip(found, expected, strict=True):
        a = a.numpy() if isinstance(a, torch.Tensor) else a
        assert a.dtype == b.numpy().dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b.numpy(), rtol=2e-4, atol=2e-4)


def exported(model, *args, **options):
    return torch.export.export(model, args, **options)


@pytest.mark.parametrize("kind", UNKNOWN)
def test_every_kind_between_convolutions(kind, tmp_path):
    torch.manual_seed(0)
    model, x = Net(["conv", kind, "conv"]).eval(), torch.randn(2, 3, 5, 6)
    with torch.no_grad(), pytest.warns(FallbackWarning, match="torch runs"):
        exe = byoc.compile(exported(model, x), ["dnnl"], **SMALL)
        close(exe(x), model(x))
    ops = {op.name: op.place for op in exe.report.ops}
    assert ops["parts.0.conv2d"] == ops["parts.2.conv2d"] == "dnnl"
    kept = [op.name for op in exe.report.ops if op.op == "byoc.torch"]
    assert kept and all(name.startswith("parts.1.") or "." not in name for name in kept)
    assert any(" in torch, " in warning for warning in exe.report.warnings)
    exe.save(tmp_path / "cut.byoc")
    with torch.no_grad():
        close(byoc.load(tmp_path / "cut.byoc")(x), model(x))


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_both_ways(seed):
    """Anywhere, several at once, at the start and at the end, with a size that changes."""
    draw = random.Random(seed)
    parts = [draw.choice(["conv", *UNKNOWN]) for _ in range(6)]
    torch.manual_seed(seed)
    model, x, more = Net(parts).eval(), torch.randn(2, 3, 4, 5), torch.randn(3, 3, 4, 5)
    dynamic = {"x": {0: torch.export.Dim("n", min=2, max=9)}}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exe = byoc.compile(exported(model, x, dynamic_shapes=dynamic), ["dnnl"], **SMALL)
        torch._dynamo.reset()
        fast = torch.compile(model, backend="byoc", options=dict(SMALL), dynamic=True)
        for given in (x, more):
            expected = model(given)
            close(exe(given), expected)
            close(fast(given), expected)


class Twenty(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = torch.nn.ModuleList(torch.nn.Conv2d(4, 4, 3, padding=1) for _ in range(20))

    def forward(self, x):
        for i, conv in enumerate(self.convs):
            x = conv(x).relu()
            if i == 9:
                x = twice(x)
        return x


def test_of_twenty_convolutions_only_the_unknown_operator_is_left_out():
    torch.manual_seed(0)
    model, x = Twenty().eval(), torch.randn(1, 4, 8, 8)
    torch._dynamo.reset()
    with torch.no_grad(), pytest.warns(FallbackWarning, match=r"cut_test\.twice\.default, 1 time"):
        fast = torch.compile(model, backend="byoc")
        close([fast(x)], [model(x)])
        exe = byoc.compile(exported(model, x), ["dnnl"])
        close([exe(x)], [model(x)])
    (compiled,) = [e for e in executables() if len(e.report.ops) == len(exe.report.ops)]
    for report in (exe.report, compiled.report):
        assert [op.op for op in report.ops if op.place != "dnnl"] == ["byoc.torch"]
        assert [s.vendor for s in report.segments] == ["dnnl", "torch", "dnnl"]
        assert report.warnings[0] == "cut_test.twice.default runs in torch, 1 time: twice"
        assert "byoc has no converter for cut_test.twice.default" in report.why("twice")
        assert not report.advice


def test_asked_for_by_name_it_warns_of_nothing():
    model, x = Net(["custom"]).eval(), torch.randn(1, 3, 4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        exe = byoc.compile(exported(model, x), ["dnnl", "torch"])
    close(exe(x), model(x))


def test_where_torch_may_not_run_it_is_refused_by_name(monkeypatch):
    program = exported(Net(["conv", "custom"]).eval(), torch.randn(1, 3, 4, 4))
    monkeypatch.setenv("BYOC_BLOCK_VENDORS", "torch")
    with pytest.raises(ModelError, match=r"'parts\.1\.twice'|'twice'") as refused:
        byoc.compile(program, ["dnnl"])
    assert "cut_test.twice.default" in str(refused.value)


def test_a_file_names_the_operator_that_a_process_lacks(tmp_path):
    path = tmp_path / "cut.byoc"
    x = torch.randn(1, 3, 4, 4)
    byoc.compile(exported(Net(["conv", "custom"]).eval(), x), ["dnnl", "torch"]).save(path)
    code = f"import byoc; byoc.load({str(path)!r})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    assert "'cut_test::twice.default'" in said and "not registered in this process" in said
    code = f"import sys; sys.modules['torch'] = None; {code}"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    assert "(cut_test.twice.default) runs in PyTorch, which cannot be" in said, said


def test_a_fake_kernel_that_lies_is_a_named_error():
    class Lies(torch.nn.Module):
        def forward(self, x):
            return liar(x) + 1

    x = torch.randn(2, 3)
    exe = byoc.compile(exported(Lies(), x), ["torch"])
    with pytest.raises(ExecutionError, match=r"liar.*returned float32\[1, 3\].*float32\[2, 3\]"):
        exe(x)


def test_an_operator_that_raises_is_a_named_error_of_the_call():
    x = torch.randn(1, 3, 4, 4)
    exe = byoc.compile(exported(Call(raises), x), ["torch"])
    exe(x)
    with pytest.raises(ExecutionError, match=r"cut_test\.raises.*RuntimeError: too large"):
        exe(x + 200)
    close([exe(x)], [x])


SOLVERS = {
    "inv": torch.linalg.inv,
    "cholesky": torch.linalg.cholesky,
    "solve": lambda x: torch.linalg.solve(x, x + 1),
    "lu_factor": lambda x: torch.linalg.lu_factor(x)[0],
    "ldl_factor": lambda x: torch.linalg.ldl_factor(x)[0],
    "tensorsolve": lambda x: torch.linalg.tensorsolve(x, x[0]),
    "tensorinv": lambda x: torch.linalg.tensorinv(x, 1),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_matrices_without_a_solution_raise_as_in_eager(name):
    x = torch.tensor([[2.0, 1, 0], [1, 3, 1], [0, 1, 4]])
    model = Call(lambda x: SOLVERS[name](x * 2) + 1)
    exe = byoc.compile(exported(model, x), ["torch"])
    close([exe(x)], [model(x)])
    with pytest.raises(RuntimeError):
        model(x * 0)
    with pytest.raises(ExecutionError, match=f"aten.linalg_{name}"):
        exe(x * 0)


def test_torch_compile_leaves_graphs_to_torch_that_have_no_pure_form():
    def view(x):
        return torch.ops.cut_test_views.flat(x * 2)

    x = torch.randn(2, 3)
    torch._dynamo.reset()
    with torch.no_grad(), pytest.warns(FallbackWarning, match="cut_test_views::flat"):
        close([torch.compile(view, backend="byoc")(x)], [view(x)])
    torch._dynamo.reset()
    with torch.no_grad(), pytest.raises(Exception, match="cut_test_views::flat"):
        torch.compile(view, backend="byoc", options={"strict": True})(x)


def test_results_that_are_no_tensors_of_known_shape_are_refused():
    class Found(torch.nn.Module):
        def forward(self, x):
            return torch.nonzero(x > 0)

    with pytest.raises(ModelError, match=r"it returns .*nonzero.*end the model before it"):
        byoc.compile(exported(Found(), torch.randn(3)))


def test_a_number_that_depends_on_data_is_a_result():
    class Largest(torch.nn.Module):
        def forward(self, x):
            return x * 2, x.max().item(), 3

    x = torch.randn(4)
    exe = byoc.compile(exported(Largest(), x), ["torch"])
    doubled, largest = exe(x)
    assert largest == x.max().item() and largest.shape == ()
    close([doubled], [x * 2])


def test_random_numbers_are_drawn_in_torchs_order():
    class Draws(torch.nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x), x * torch.rand(3), torch.randn(3) - x

    model, x = Draws(), torch.randn(3)
    exe = byoc.compile(exported(model, x), ["torch"])
    torch.manual_seed(7)
    expected = model(x)
    torch.manual_seed(7)
    close(exe(x), expected)
    assert not np.array_equal(exe(x)[0], expected[0].numpy())


def test_weights_of_unknown_operators_are_stored_with_the_model(tmp_path):
    class Weighted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(4, 4))

        def forward(self, x):
            return x @ torch.linalg.matrix_exp(self.weight) + twice(self.weight)

    model, x = Weighted(), torch.randn(4, 4)
    exe = byoc.compile(exported(model, x), ["torch"])
    exe.save(tmp_path / "weighted.byoc")
    with torch.no_grad():
        close([exe(x), byoc.load(tmp_path / "weighted.byoc")(x)], [model(x)] * 2)


def test_a_damaged_name_in_a_file_is_refused():
    from byoc.vendor_templates.torch.runtime import init

    def blob(op):
        steps = f'{{"inputs":[],"steps":[{{"op":"{op}","args":[],"kwargs":{{}}}}],"results":[]}}'
        ops = f'[{{"title":"t","inputs":[],"outputs":[],"steps":{steps}}}]'
        return f'{{"inputs":[],"constants":[],"outputs":[],"ops":{ops}}}'.encode()

    for op in (
        "python::exec",
        "higher_order::hints",
        "nowhere::to.be",
        "aten::add.none",
        "aten::add",
        "load_library::__call__",
        "aten::__init__.__globals__",
    ):
        with pytest.raises((ValueError, VendorError)):
            init(blob(op), [], {})
