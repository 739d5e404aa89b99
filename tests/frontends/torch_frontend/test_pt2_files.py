"""Files of `torch.export.save` as models: by path, by the command line, without torch."""

from __future__ import annotations

import sys
import zipfile

import numpy as np
import pytest
from typer.testing import CliRunner

import byoc
from byoc.errors import ModelError
from byoc.frontends.torch.file import is_pt2


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(path of a program, an input, what the model makes of it)."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(8, 4)

        def forward(self, features):
            return {"logits": self.linear(features).relu()}

    torch.manual_seed(0)
    model, x = Head().eval(), torch.randn(2, 8)
    path = tmp_path_factory.mktemp("pt2") / "head.pt2"
    torch.export.save(torch.export.export(model, (x,)), path)
    return path, x.numpy(), model(x)["logits"].detach().numpy()


def test_a_saved_program_is_a_model(saved):
    path, x, expected = saved
    exe = byoc.compile(path)
    assert [p.name for p in exe.inputs] == ["features"]
    np.testing.assert_allclose(exe.run({"features": x})["logits"], expected, atol=1e-6)


def test_a_saved_program_is_known_by_its_content(saved, tmp_path):
    other = tmp_path / "head.model"
    other.write_bytes(saved[0].read_bytes())
    assert is_pt2(other)
    assert byoc.partition_model(other).report.ops


def test_the_command_line_reads_saved_programs(saved):
    from byoc.cli import app

    found = CliRunner().invoke(app, ["inspect", str(saved[0])])
    assert found.exit_code == 0, found.output
    assert "features: float32[2, 8]" in found.output and "torch" in found.output


def test_files_that_are_no_program_are_named(tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")
    path = tmp_path / "broken.pt2"
    path.write_bytes(b"no zip file")
    with pytest.raises(ModelError, match=r"broken\.pt2: torch .* cannot read it"):
        byoc.compile(path)
    with pytest.raises(ModelError, match="there is no such file"):
        byoc.compile(tmp_path / "missing.pt2")


def test_without_torch_the_error_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/archive_format", "pt2")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelError, match=r"torch cannot be imported .*tvm-byoc\[torch\]"):
        byoc.compile(path)
