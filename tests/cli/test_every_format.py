"""Every command that takes a model takes every format: the table of both."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from byoc.testing.zoo import build

RELAY = """#[version = "0.0.5"]
def @main(%x: Tensor[(2, 8), float32], %w: Tensor[(4, 8), float32]) -> Tensor[(2, 4), float32] {
  %0 = nn.dense(%x, %w, units=None);
  nn.relu(%0)
}
"""

COMMANDS = {
    "inspect": (),
    "partition": ("--vendors", "dnnl"),
    "compile": ("--vendors", "dnnl", "-o", "OUT"),
    "bench": ("--vendors", "dnnl", "--runs", 1, "--threads", 1),
    "profile": ("--vendors", "dnnl", "--requests", 1, "--warmup", 0),
    "compare": ("--vendors", "dnnl", "--seeds", 2),
    "segment": ("--vendor", "dnnl"),
}
COMPILED = {"inspect": (), "bench": ("--runs", 1), "profile": ("--requests", 1), "run": (),
            "check": (), "compare": ("--model", "MODEL", "--seeds", 1)}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats")
    onnx.save(build("mlp", batch=2, hidden=16, features=8), folder / "m.onnx")
    (folder / "m.relay").write_text(RELAY)
    return folder


def model_of(models: Path, kind: str) -> Path:
    if kind == "tflite":
        pytest.importorskip("tflite")
        return Path(__file__).parents[1] / "frontends" / "tflite" / "models" / "ds_cnn_int8.tflite"
    if kind == "relay":
        pytest.importorskip("lark")
    if kind == "pt2" and not (models / "m.pt2").exists():
        torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")
        net = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU()).eval()
        torch.export.save(torch.export.export(net, (torch.ones(2, 8),)), models / "m.pt2")
    return models / f"m.{kind}"


@pytest.mark.parametrize("kind", ["onnx", "tflite", "relay", "pt2"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_every_format(cli, models, tmp_path, command, kind):
    words = [tmp_path / "m.byoc" if word == "OUT" else word for word in COMMANDS[command]]
    result = cli(command, model_of(models, kind), *words)
    assert result.status == 0, result.err


@pytest.mark.parametrize("command", COMPILED)
def test_compiled_models(cli, models, tmp_path, command):
    source, out = models / "m.onnx", tmp_path / "m.byoc"
    assert cli("compile", source, "-o", out).status == 0
    words = [source if word == "MODEL" else word for word in COMPILED[command]]
    result = cli(command, out, *words)
    assert result.status == 0, result.err


def test_compare_with_another_plan_and_another_engine(cli, models, tmp_path):
    source = models / "m.onnx"
    for name, vendors in (("host", ()), ("dnnl", ("--vendors", "dnnl"))):
        done = cli("compile", source, "-o", tmp_path / f"{name}.byoc", *vendors)
        assert done.status == 0, done.err
    plans = cli("compare", tmp_path / "dnnl.byoc", "--against", tmp_path / "host.byoc", "--json")
    assert plans.status == 0 and plans.json()["reference"].endswith("host.byoc")
    host = cli("compare", source, "--vendors", "dnnl", "--against", "host", "--json")
    assert host.json()["reference"] == "host" and host.json()["worst_relative"] <= 1e-5
    alone = cli("compare", tmp_path / "dnnl.byoc")
    assert alone.status == 2 and "--against OTHER.byoc" in alone.err
    changed = cli("compare", tmp_path / "dnnl.byoc", "--model", source, "--vendors", "dnnl")
    assert changed.status == 2 and "--vendors cannot change it" in changed.err


def test_a_symbolic_model_is_compiled_for_one_size(cli, tmp_path):
    onnx.save(build("bert_tiny", batch="b", sequence="s"), tmp_path / "bert.onnx")
    model, out = tmp_path / "bert.onnx", tmp_path / "bert.byoc"
    fixed = cli("compile", model, "--vendors", "dnnl", "--dim", "b=2", "--dim", "s=8", "-o", out)
    assert fixed.status == 0, fixed.err
    shown = cli("inspect", out).out
    assert "plan (static shapes)" in shown and "[2, 8" in shown
    same = cli("compare", out, "--model", model, "--seeds", 1, "--json")
    assert same.status == 0, same.err
    unknown = cli("partition", model, "--dim", "batch=2")
    assert unknown.status == 1 and "no symbolic dimension 'batch'" in unknown.err
