"""`torch.export` programs: numbers, names, sizes, weights, refusals."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

import byoc  # noqa: E402
from byoc.errors import ModelError  # noqa: E402
from byoc.frontends import import_model  # noqa: E402

nn, F = torch.nn, torch.nn.functional
Dim, export = torch.export.Dim, torch.export.export

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    torch.set_num_threads(1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.ModuleDict({"query": nn.Linear(8, 4), "norm": nn.LayerNorm(4)})
        self.register_buffer("shift", torch.randn(4))

    def forward(self, image, *, scale=1.0):
        x = self.stem(image).mean((2, 3))
        x = self.head["norm"](self.head["query"](x)) + self.shift
        return {"logits": x * scale, "nothing": None, "all": (x.sigmoid(), x.reshape(-1))}


def close(found, expected, tolerance=1e-5):
    expected = expected.detach().numpy()
    assert found.shape == expected.shape and found.dtype == expected.dtype
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found, expected, atol=tolerance * scale, rtol=0)


def names_of(mod):
    return [b.var.name for block in mod["main"].body.blocks for b in block.bindings]


@pytest.mark.parametrize("vendors", [[], ["dnnl"]])
def test_numbers_ports_and_names(vendors):
    model = Block().eval()
    exe = byoc.compile(export(model, (torch.randn(2, 3, 8, 8),)), vendors=vendors)
    assert [p.name for p in exe.inputs] == ["image"]
    assert [p.name for p in exe.outputs] == ["logits", "all.0", "all.1"], "None is left out"
    for seed in range(2):
        image = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        found, expected = exe.run({"image": image.numpy()}), model(image)
        close(found["logits"], expected["logits"])
        close(found["all.0"], expected["all"][0])
        close(found["all.1"], expected["all"][1])
    assert isinstance(exe(image)[0], np.ndarray), "a tensor in, arrays out"
    assert exe.name == "Block"
    names = {op.name for op in exe.report.ops}
    assert "stem.0.conv2d" in names and "head.query.linear" in names
    if vendors:
        assert exe.report.coverage.flops > 0.99


def test_dimensions_keep_the_names_of_their_authors():
    class Two(nn.Module):
        def forward(self, x, y):
            return (x[:, 1:] + y[:, :-1]).flatten()

    rows, columns = Dim("rows"), Dim("columns", min=3)
    args = (torch.randn(3, 5), torch.randn(3, 5))
    program = export(Two(), args, dynamic_shapes={"x": {0: rows, 1: columns},
                                                  "y": {0: rows, 1: columns}})  # fmt: skip
    exe = byoc.compile(program)
    assert [p.type.shape for p in exe.inputs] == [("rows", "columns")] * 2
    for shape in ((3, 5), (2, 9), (7, 3)):
        x, y = torch.randn(shape), torch.randn(shape)
        close(exe(x, y), Two()(x, y))
    with pytest.raises(byoc.InputError, match="rows = 3"):
        exe(torch.randn(3, 5), torch.randn(4, 5))


def test_outputs_are_named_by_structure():
    Pair = namedtuple("Pair", "first second")

    class Named(nn.Module):
        def forward(self, x):
            return Pair(x + 1, [x * 2, x * 3])

    class Plain(nn.Module):
        def forward(self, x):
            return x + 1, x

    torch.utils._pytree._register_namedtuple(Pair, serialized_type_name="tests.Pair")
    x = torch.randn(2)
    assert import_model(export(Named(), (x,))).outputs == ("first", "second.0", "second.1")
    exe = byoc.compile(export(Plain(), (x,)))
    assert [p.name for p in exe.outputs] == ["output_0", "output_1"]
    close(exe(x)[1], x)  # an input that is returned
    assert import_model(export(nn.ReLU(), (x,))).outputs == ("output",)


def test_weights_are_torch_memory_and_never_written():
    model = nn.Sequential(nn.Embedding(64, 32), nn.ReLU()).eval()
    program = export(model, (torch.zeros(4, dtype=torch.int64),))
    before = model[0].weight.detach().clone()
    main = import_model(program).mod["main"]
    constants = []

    def visit(expr):
        if type(expr).__name__ == "GenericConst" or hasattr(expr, "value"):
            constants.append(expr)

    import tvm

    tvm.relax.analysis.post_order_visit(main.body, visit)
    addresses = {
        np.from_dlpack(c.value).ctypes.data
        for c in constants
        if isinstance(getattr(c, "value", None), tvm.runtime.Tensor)
    }
    assert model[0].weight.data_ptr() in addresses, "no copy"
    byoc.compile(program)
    assert torch.equal(model[0].weight, before)


put = torch.ops.aten.index_put

OPERATORS = {
    "activations": lambda x: sum(
        f(x) for f in (F.gelu, F.silu, F.mish, F.softplus, F.hardswish, F.hardsigmoid, F.elu,
                       F.celu, F.selu, F.logsigmoid, F.leaky_relu, F.tanhshrink, torch.expm1)
        ) + torch.log1p(x.abs()) + F.gelu(x, approximate="tanh"),
    "arithmetic": lambda x: (torch.remainder(x, 0.7), torch.fmod(x, 0.7), x // 0.3,
                             torch.div(x, 0.3, rounding_mode="trunc"), torch.round(x * 3),
                             torch.round(x, decimals=2), torch.copysign(x, x.flip(0)),
                             x.clamp(-0.5), x.clamp(max=0.5), torch.where(x > 0, x, -1.0),
                             x.masked_fill(x < 0, -7.0), x ** 3, torch.sign(x)),
    "whole numbers": lambda x: (lambda i: (i // 3, i % 3, torch.div(i, -3, rounding_mode="trunc"),
                                           i.float() / 2, i > 2, ~i, i & 6, i.bool() | (i > 4),
                                           i.cumsum(0), i.sum(), i + 0.5))((x * 10).long()),
    "shapes": lambda x: (x.roll(2, 1), x.flip(0), x.unfold(1, 3, 2), x[:, None].expand(4, 3, 8),
                         x.repeat(2, 1), x.t(), torch.cat([x, x], 1).chunk(3, 1)[1],
                         torch.stack([x, x], 1), x.unbind(0)[1], x.diagonal(1), x[1:-1, ::2],
                         x[-1], F.pad(x, (1, -2, 0, 3), value=2.0), x.tril(1)),
    "reductions": lambda x: (x.var(1), x.std(), x.amax((0, 1)), x.max(1), x.argmin(1), x.prod(0),
                             x.mean(), torch.var_mean(x, 0), (x > 0).any(1), (x > -9).all(),
                             x.logsumexp(1), x.norm(dim=1), x.topk(3, 1), x.sort(1)),
    "indices": lambda x: (x[[0, 2]], x[torch.tensor([0, 2]), torch.tensor([1, -1])],
                          x[:, torch.tensor([[0, 1], [3, -2]])],
                          x.gather(1, x.argsort(1)), x.index_select(1, torch.tensor([4, 1])),
                          torch.zeros(4, 8).scatter(1, x.argsort(1), x),
                          x.scatter_add(1, x.argsort(1) // 2, x),
                          x.clone().index_put((torch.tensor([0, 2]),), torch.ones(8)),
                          x.slice_scatter(torch.ones(4, 2), 1, 2, 4), x.select_scatter(x[0], 0, 1),
                          put(x, [None, torch.tensor([1, -2])], torch.ones(4, 2)),
                          put(x.reshape(2, 2, 8), [None, torch.tensor([1]),
                                                   torch.tensor([5, 0])], torch.ones(2)),
                          put(x.reshape(2, 2, 8), [torch.tensor([1, 0]), None,
                                                   torch.tensor([5, 0])], x[:2, :2], True),
                          x.scatter_reduce(1, x.argsort(1) // 2, x, "amax")),
    "norms": lambda x: (F.layer_norm(x, (8,)), F.group_norm(x, 2), F.normalize(x, dim=1),
                        F.softmax(x, 0), F.log_softmax(x, 1), F.rms_norm(x, (8,)),
                        F.cosine_similarity(x, x.flip(0))),
    "images": lambda x: (lambda i: (
        F.max_pool2d(i, 2, 1, 1), F.avg_pool2d(i, 3, 2, 1), F.adaptive_avg_pool2d(i, (1, 2)),
        F.adaptive_avg_pool2d(i, 1), F.interpolate(i, scale_factor=2, mode="nearest"),
        F.interpolate(i, (5, 7), mode="bilinear"),
        F.interpolate(i, (5, 7), mode="bilinear", align_corners=True),
        F.interpolate(i, (6, 6), mode="bicubic"), F.pixel_shuffle(i[:, :4], 2),
        F.pad(i, (1, 1, 2, 0), mode="reflect"), F.max_pool2d(i, 3, 2, ceil_mode=True)))(
            x.reshape(1, 8, 2, 2).repeat(1, 1, 2, 2)),
    "einsum": lambda x: (torch.einsum("ij,kj->ik", x, x), torch.einsum("ij,ij->i", x, x),
                         torch.baddbmm(x[None], x[None, :, :4], x[None], beta=0.5, alpha=2.0),
                         torch.addmm(x, x[:, :4], x), torch.outer(x[0], x[1])),
}  # fmt: skip


@pytest.mark.parametrize("kind", OPERATORS)
def test_operators(kind):
    class Model(nn.Module):
        def forward(self, x):
            return OPERATORS[kind](x)

    x = torch.randn(4, 8)
    exe = byoc.compile(export(Model(), (x,)))
    for seed in range(2):
        x = torch.randn(4, 8, generator=torch.Generator().manual_seed(seed))
        found = exe(x)
        expected = torch.utils._pytree.tree_leaves(Model()(x))
        found = found if isinstance(found, tuple) else (found,)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            close(a, b, 2e-5)


NAN = float("nan")
SPECIAL = {
    "x != x": (lambda x: torch.where(x != x, 0.0, x).sum(), [NAN, 2.0]),
    "nanmean": (lambda x: torch.nanmean(x, 0, keepdim=True), [NAN, 2.0, 3.0]),
    "fmax": (lambda x: torch.fmax(x, x.flip(0)), [NAN, 2.0, NAN]),
    "zero times": (lambda x: x * 0 + 1, [NAN, float("inf"), 2.0]),
    "addr": (lambda x: torch.addr(x, x, x, beta=0, alpha=0), [NAN]),
    "addr of a NaN": (lambda x: torch.addr(x[:1], x[1:], x[1:], beta=0), [NAN, 2.0]),
    "bools": (lambda x: torch.add(x > 1, x > 0, alpha=False), [1.0, 2.0]),
    "near-equal groups": (lambda x: F.group_norm(x.reshape(1, 4, 2), 2),
                          [50.0, 50.01, 50.02, 50.03, 50.01, 50.0, 50.02, 49.99]),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL)
def test_values_that_are_no_ordinary_numbers(name):
    function, values = SPECIAL[name]

    class Model(nn.Module):
        def forward(self, x):
            return function(x)

    x = torch.tensor(values)
    found, expected = byoc.compile(export(Model(), (x,)))(x), Model()(x).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"groups": 2, "bias": False}, {"stride": 2, "dilation": 2, "padding": (2, 1)},
     {"padding": "same"}],
)  # fmt: skip
def test_convolutions(options):
    x = torch.randn(1, 4, 9, 8)
    strided = {k: v for k, v in options.items() if k != "padding"} | {
        "padding": int(bool(options.get("padding"))),
        "output_padding": options.get("stride", 1) - 1,
    }  # fmt: skip
    model = nn.ModuleList([nn.Conv2d(4, 6, 3, **options), nn.ConvTranspose2d(4, 6, 3, **strided)])

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.both = model

        def forward(self, x):
            return self.both[0](x), self.both[1](x), F.conv1d(x[0], torch.ones(2, 9, 3))

    exe = byoc.compile(export(Both().eval(), (x,)), vendors=["dnnl"])
    for a, b in zip(exe(x), Both()(x), strict=True):
        close(a, b)


MASKS = {
    "none": dict,
    "causal": lambda: {"is_causal": True},
    "scale": lambda: {"scale": 0.3},
    "constant": lambda: {"attn_mask": torch.ones(6, 6).tril().bool()},
}


@pytest.mark.parametrize("mask", MASKS)
def test_attention(mask):
    class Attention(nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v, **MASKS[mask]())

    args = tuple(torch.randn(2, 3, 6, 8) for _ in range(3))
    close(byoc.compile(export(Attention(), args), vendors=["dnnl"])(*args), Attention()(*args))


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(torch.bool, (2, 1, 1, 6)), (torch.float32, (2, 3, 6, 6)), (torch.bool, (6, 6))],
)
def test_a_row_that_sees_nothing_is_zero(dtype, shape):
    class Attention(nn.Module):
        def forward(self, q, k, v, mask):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    q, k, v = (torch.randn(2, 6, 3, 8).transpose(1, 2) for _ in range(3))
    shown = torch.rand(shape) > 0.4
    shown[0] = False
    mask = shown if dtype is torch.bool else torch.where(shown, 0.3, float("-inf"))
    exe = byoc.compile(export(Attention(), (q, k, v, mask)), vendors=["dnnl"])
    found = exe(q, k, v, mask)
    assert not np.isnan(found).any()
    close(found, Attention()(q, k, v, mask))


def test_attention_of_grouped_heads():
    class Attention(nn.Module):
        def forward(self, q, k):
            return F.scaled_dot_product_attention(q, k, k, enable_gqa=True)

    args = (torch.randn(1, 4, 5, 8), torch.randn(1, 2, 5, 8))
    close(byoc.compile(export(Attention(), args))(*args), Attention()(*args))


def test_regions_without_gradients_and_half_precision():
    class Region(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            with torch.no_grad():
                y = self.linear(x)
            return y + x, x.to(torch.bfloat16) + 1

    model, x = Region().eval(), torch.randn(2, 4)
    found = byoc.compile(export(model, (x,)))(x)
    close(found[0], model(x)[0])
    assert found[1].dtype.name == "bfloat16"
    np.testing.assert_allclose(found[1].astype("f4"), model(x)[1].float().numpy(), rtol=2**-7,
                               atol=2**-7)  # fmt: skip


# -- refusals


def refusal(model, *args, **options):
    with pytest.raises(ModelError) as caught:
        byoc.compile(export(model, args, **options))
    return str(caught.value)


@pytest.fixture
def no_torch(monkeypatch):
    """What runs operators of torch cannot be used."""
    monkeypatch.setenv("BYOC_BLOCK_VENDORS", "torch")


def test_operators_without_converter_are_named_with_their_line(no_torch):
    class Odd(nn.Module):
        def forward(self, x):
            return torch.special.i0(x) + torch.linalg.svdvals(x).sum()

    text = refusal(Odd(), torch.randn(3, 3))
    assert "aten.i0.default" in text and "1 more such node" in text
    assert "torch_frontend/test_torch_export.py:" in text


def test_what_depends_on_data_is_refused(no_torch):
    class Chosen(nn.Module):
        def forward(self, x):
            return x[x > 0] + 1

    text = refusal(Chosen(), torch.randn(4))
    assert "the size u0 depends on values" in text and "depends on its values" in text


def test_written_buffers_and_inputs_are_named():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x):
            self.calls += 1
            return x + self.calls

    class Writes(nn.Module):
        def forward(self, x):
            return x.add_(1) * 2

    assert "writes to its buffer 'calls'" in refusal(Counter(), torch.randn(2))
    assert "writes to its input 'x'" in refusal(Writes(), torch.randn(2))
    assert "eval mode" in refusal(nn.BatchNorm1d(4), torch.randn(3, 4))


def test_dropout_in_training_mode_and_complex_numbers_are_refused(no_torch):
    assert "call .eval()" in refusal(nn.Dropout(0.5), torch.randn(3, 4))

    class Complex(nn.Module):
        def forward(self, x):
            return torch.view_as_real(torch.fft.fft(x))

    text = refusal(Complex(), torch.randn(8))
    assert "aten._fft_r2c" in text or "complex" in text


def test_sizes_among_the_results_are_refused():
    class Size(nn.Module):
        def forward(self, x):
            return x + 1, x.shape[0]

    text = refusal(Size(), torch.randn(3, 2), dynamic_shapes={"x": {0: Dim("n")}})
    assert "output 'output_1' is a size" in text


def test_weights_elsewhere_than_on_the_cpu_are_refused():
    text = refusal(nn.Linear(2, 2, device="meta"), torch.randn(1, 2, device="meta"))
    assert "'weight' is on 'meta'" in text and "CPU" in text
