"""``byoc adopt``: exit codes, formats, and that nothing is written that was not tried."""

from __future__ import annotations

import json

import pytest

SOURCE = """import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.layer = nn.Linear(d, d)

    def forward(self, x):
        y = self.layer(x)
        return torch.where(y > 0, y, torch.zeros_like(y))
"""
TRY = ("--build", "Model(4)", "--call", "torch.randn(2, 4)")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(SOURCE)
    return path


def test_check_tells_by_its_exit_status(cli, model):
    found = cli("adopt", "check", model, "--vendors", "dnnl")
    assert found.status == 1
    assert "model.py:12: relu (dnnl) in Model.forward: " in found.out
    model.write_text("x = 1\n")
    clean = cli("adopt", "check", model.parent, "--vendors", "dnnl")
    assert (clean.status, clean.out) == (0, "0 findings\n")


def test_check_as_json_and_sarif(cli, model):
    (finding,) = cli("adopt", "check", f"{model}:Model", "--vendors", "dnnl", "--json").json()
    assert (finding["rule"], finding["line"], finding["fix"]) == ("relu", 12, True)
    sarif = cli("adopt", "check", model, "--vendors", "dnnl", "--sarif").json()
    (result,) = sarif["runs"][0]["results"]
    assert result["ruleId"] == "relu"
    assert result["locations"][0]["physicalLocation"]["region"]["endLine"] == 12


def test_fix_writes_what_holds_once(cli, model):
    shown = cli("adopt", "fix", model, "--vendors", "dnnl", *TRY, "--diff")
    assert shown.status == 0
    assert "+        return nn.functional.relu(y)" in shown.out
    assert model.read_text() == SOURCE
    written = cli("adopt", "fix", model, "--vendors", "dnnl", *TRY, "--write", "--json").json()
    assert written["findings"][0]["checked"]["ok"]
    once = model.read_text()
    assert once == SOURCE.replace(
        "torch.where(y > 0, y, torch.zeros_like(y))", "nn.functional.relu(y)"
    )
    again = cli("adopt", "fix", model, "--vendors", "dnnl", "--unverified", "--write")
    assert again.status == 0
    assert model.read_text() == once


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("fix", "{}", "--vendors", "dnnl", "--write"), 2, "--unverified"),
        (("fix", "{}", "--vendors", "dnnl", "--unverified"), 2, "--diff"),
        (("fix", "{}", "--vendors", "dnnl", "--write", "--build", "Model(4)"), 2, "--call"),
        (("check", "{}:Modle", "--vendors", "dnnl"), 1, "Model"),
        (("check", "{}", "--vendors", "acme"), 1, "acme"),
        (("check", "{}.txt", "--vendors", "dnnl"), 1, "does not exist"),
        (("check", "{}", "--vendors", "dnnl", "--build", "1/0", "--call", "1"), 1, "ZeroDivision"),
    ],
)
def test_wrong_usage_is_said(cli, model, words, status, said):
    outcome = cli("adopt", *(word.format(model) for word in words))
    assert outcome.status == status
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert model.read_text() == SOURCE


def test_findings_have_fields_that_json_can_hold(cli, model):
    assert json.loads(cli("adopt", "check", model, "--vendors", "dnnl", "--json").out)
