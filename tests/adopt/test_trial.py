"""Changes are tried before they are written: what holds is kept, what differs is named."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from corpus import SNIPPETS

from byoc.adopt import analyse
from byoc.adopt.trial import Trial, with_reasons, write_plan
from byoc.errors import InputError, VendorError
from byoc.plugins.discovery import find
from byoc.vendor import Rewrite

WORKER = "byoc.integrations.source_versions"
BY_NAME = {s.name: s for s in SNIPPETS}


def trial(path, build, call):
    return Trial(WORKER, path, build, call, ["dnnl"])


def tried(snippet, path, vendor=None, **more):
    path.write_text(snippet.source, encoding="utf-8")
    with trial(path, snippet.build, snippet.call) as worker:
        return write_plan(path.resolve(), [vendor or find("dnnl")], None, worker, **more)


def check(snippet, path):
    files, done, _ = tried(snippet, path)
    assert [f.rule for f in done] == list(snippet.rules)
    assert all(f.checked["ok"] for f in done), [f.checked for f in done]
    path.write_bytes(files[path.resolve()])
    assert analyse(path, [find("dnnl")]) == []
    return done


@pytest.mark.parametrize("name", ["attention with dropout", "qkv grouped"])
def test_a_change_keeps_outputs_gradients_and_checkpoint(name, tmp_path):
    (finding,) = check(BY_NAME[name], tmp_path / "model.py")
    if name.startswith("attention"):
        assert finding.checked["after"]["kernels"] < finding.checked["before"]["kernels"]


@pytest.mark.slow
@pytest.mark.parametrize("snippet", [s for s in SNIPPETS if s.rules], ids=lambda s: s.name)
def test_every_change_keeps_outputs_gradients_and_checkpoint(snippet, tmp_path):
    (finding,) = check(snippet, tmp_path / "model.py")
    before, after = finding.checked["before"], finding.checked["after"]
    if finding.rule == "fused-qkv":  # three products less, two or three slices more
        assert after["kernels"] <= before["kernels"] + 1
    elif "failed" not in before:
        assert after["kernels"] < before["kernels"]
    assert "failed" not in after


def test_a_checkpoint_is_migrated(tmp_path):
    snippet = BY_NAME["qkv plain"]
    state = tmp_path / "old.pt"
    names = ("q", "k", "v", "out")
    old = {f"{n}.{p}": torch.randn((16, 16) if p == "weight" else (16,)) for n in names
           for p in ("weight", "bias")}  # fmt: skip
    torch.save(old, state)
    tried(snippet, tmp_path / "model.py", checkpoint=str(state), migrated=str(tmp_path / "new.pt"))
    new = torch.load(tmp_path / "new.pt", weights_only=True)
    assert set(new) == {"out.weight", "out.bias", "qkv.weight", "qkv.bias"}
    parts = [old[f"{n}.weight"] for n in "qkv"]
    assert torch.equal(new["qkv.weight"], torch.cat(parts))


def test_a_wrong_rewrite_and_a_line_that_does_not_run_are_not_written(tmp_path):
    wrong = Rewrite("wrong", "it is wrong", "def before(x):\n    return torch.exp(x)",
                    "def after(x):\n    return torch.exp(x) + 1e-6")  # fmt: skip
    sum_of_two = "def before(x):\n    return torch.tanh(x) + torch.tanh(x)"
    twice = Rewrite("right", "it is slow", sum_of_two,
                    "def after(x):\n    return 2 * torch.tanh(x)")  # fmt: skip
    vendor = dataclasses.replace(find("dnnl"), rewrites=lambda: (wrong, twice))
    path = tmp_path / "model.py"
    path.write_text(
        "import torch\n\n\nclass Model(torch.nn.Module):\n    def forward(self, x):\n"
        "        if x.shape[0] > 5:\n            return torch.tanh(x) + torch.tanh(x)\n"
        "        y = torch.exp(x)\n        return torch.tanh(y) + torch.tanh(y)\n"
    )
    with trial(path, "Model()", "torch.randn(2, 3)") as worker:
        files, done, _ = write_plan(path.resolve(), [vendor], None, worker)
    said = {f.line: f.checked for f in done}
    assert "does not reach" in said[7]["why"]
    assert "outputs in eval mode" in said[8]["why"]
    assert said[9]["ok"]
    text = files[path.resolve()].decode()
    assert text.count("2 * torch.tanh(y)") == 1
    assert "y = torch.exp(x)\n" in text


def test_refusals_meet_findings_at_their_lines(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(
        "import torch\n\n\nclass Model(torch.nn.Module):\n    def forward(self, x):\n"
        "        y = torch.where(x > 0, x, torch.zeros_like(x))\n"
        "        return torch.cumsum(y, dim=1)\n"
    )
    with trial(path, "Model()", "torch.randn(4, 8)") as worker:
        found = with_reasons(analyse(path, [find("dnnl")]), worker)
    assert [(f.rule, f.line) for f in found] == [("relu", 6), ("refused", 7)]
    assert "dnnl" in found[1].why


def test_a_model_that_cannot_be_built_is_one_sentence(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("import torch\n\n\ndef f(x):\n    return x\n")
    with pytest.raises(InputError, match=r"model\.py: the model cannot be tried: .*Model"):
        trial(path, "Model()", "torch.randn(2)")
    path.write_text("import os\n\nos._exit(3)\n")
    with pytest.raises(InputError, match="its process ended with status 3"):
        trial(path, "Model()", "torch.randn(2)")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("def before(:", "def after(x):\n    return x", "no Python"),
        ("x = 1", "def after(x):\n    return x", "a function that returns"),
        (
            "def before(x):\n    return x",
            "def after(x):\n    y = x\n    return y",
            "one expression",
        ),
    ],
)
def test_a_bad_rewrite_is_said_to_its_author(before, after, said, tmp_path):
    vendor = dataclasses.replace(
        find("dnnl"), rewrites=lambda: (Rewrite("bad", "…", before, after),)
    )
    path = tmp_path / "model.py"
    path.write_text("x = 1\n")
    with pytest.raises(VendorError, match=f"vendor author: rewrite 'bad': .*{said}"):
        analyse(path, [vendor])
