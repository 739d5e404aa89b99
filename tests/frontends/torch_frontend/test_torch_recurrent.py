"""LSTM, GRU and RNN of torch: a layer is one op, of any length, with eager's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

import byoc  # noqa: E402
from byoc.frontends import import_model  # noqa: E402
from byoc.integrations.torch_export import export  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Net(torch.nn.Module):
    """A recurrent network; what it calls outputs and states is flattened."""

    def __init__(self, kind, **options):
        super().__init__()
        torch.manual_seed(0)
        self.layers = getattr(torch.nn, kind)(5, 6, **options)
        self.eval()

    def forward(self, x, h=None, c=None):
        states = h if h is None or c is None else (h, c)
        y, last = self.layers(x, states)
        return (y, *last) if isinstance(last, tuple) else (y, last)


def close(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(a, b.detach().numpy(), atol=2e-5, rtol=0)


@st.composite
def nets(draw):
    """(kind, options, whether states are given, shape of the input)"""
    kind = draw(st.sampled_from(["LSTM", "GRU", "RNN"]))
    options = {
        "num_layers": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
    }
    if kind == "LSTM" and draw(st.booleans()):
        options["proj_size"] = draw(st.integers(1, 5))
    if kind == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=2))
    return kind, options, draw(st.booleans()), (*sizes, 5)


@settings(
    max_examples=8, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(made=nets())
def test_random_networks_give_the_numbers_of_eager(made):
    kind, options, states, shape = made
    net = Net(kind, **options)
    torch.manual_seed(1)
    args = [torch.randn(shape)]
    if states:
        rows = options["num_layers"] * (1 + options["bidirectional"])
        batch = () if len(shape) == 2 else (shape[0 if options["batch_first"] else 1],)
        args.append(torch.randn(rows, *batch, options.get("proj_size", 6)))
        if kind == "LSTM":
            args.append(torch.randn(rows, *batch, 6))
    close(byoc.compile(torch.export.export(net, tuple(args)))(*args), net(*args))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_lengths_and_batches_are_dynamic(kind, strict):
    net = Net(kind, num_layers=2, bidirectional=True, batch_first=True)
    sizes = {0: torch.export.Dim("rows", min=0), 1: torch.export.Dim("steps", min=1)}
    program = export(
        net, (torch.randn(2, 4, 5),), dynamic_shapes={"x": sizes},
        strict=strict,
    )  # fmt: skip
    exe = byoc.compile(program)
    assert [p.type.shape for p in exe.inputs] == [("rows", "steps", 5)]
    for shape in ((2, 4, 5), (1, 1, 5), (3, 70, 5), (0, 2, 5)):
        x = torch.randn(shape)
        close(exe(x), net(x))


def test_a_file_keeps_its_dynamic_length(tmp_path):
    net = Net("GRU")
    program = export(net, (torch.randn(4, 2, 5),), dynamic_shapes={"x": {0: torch.export.Dim("t")}})
    torch.export.save(program, tmp_path / "net.pt2")
    exe = byoc.compile(tmp_path / "net.pt2")
    for steps in (2, 9):
        x = torch.randn(steps, 2, 5)
        close(exe(x), net(x))


def test_exporting_leaves_the_rules_of_torch_alone():
    op = torch.ops.aten.lstm.input
    before = dict(op.py_kernels)
    with pytest.raises(RuntimeError, match=r"input.size\(-1\) must be equal to input_size"):
        export(Net("LSTM"), (torch.randn(3, 2, 4),))
    assert dict(op.py_kernels) == before


def test_a_layer_is_one_op(tools):
    net = Net("GRU", num_layers=2)
    mod = import_model(torch.export.export(net, (torch.randn(100, 1, 5),))).mod
    assert tools.ops(mod)["byoc.recurrent"] == 2


def test_weights_as_inputs():
    """Weights that the graph computes, here of a parametrised layer, are packed in every call."""
    net = Net("LSTM", bidirectional=True)
    torch.nn.utils.parametrizations.weight_norm(net.layers, "weight_hh_l0")
    x = torch.randn(3, 2, 5)
    close(byoc.compile(torch.export.export(net, (x,)))(x), net(x))


def test_dropout_between_layers_is_refused():
    net = Net("LSTM", num_layers=2, dropout=0.5).train()
    with pytest.raises(byoc.ModelError, match="dropout between its layers is random"):
        byoc.compile(torch.export.export(net, (torch.randn(3, 2, 5),)))
