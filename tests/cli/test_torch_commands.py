"""A program of PyTorch with an operator that byoc does not import, on the command line."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x):
        return torch.special.i0e(self.linear(x))


@pytest.mark.filterwarnings("default::byoc.errors.FallbackWarning")
def test_an_operator_that_torch_runs_is_named_by_every_command(cli, tmp_path, monkeypatch):
    program, model, x = (tmp_path / name for name in ("net.pt2", "net.byoc", "x.npz"))
    torch.export.save(torch.export.export(Net().eval(), (torch.ones(2, 4),)), program)
    np.savez(x, x=np.ones((2, 4), np.float32))

    inspected = cli("inspect", program).out
    assert "opaque        special_i0e (aten.special_i0e.default)" in inspected
    assert "What is opaque (byoc.torch) runs on a vendor: --vendors torch" in inspected

    compiled = cli("compile", program, "--vendors", "dnnl", "-o", model)
    assert compiled.status == 0
    assert "byoc: warning: model 'Net': torch runs what byoc cannot express" in compiled.err
    assert "FallbackWarning" not in compiled.err
    assert "aten.special_i0e.default runs in torch, 1 time" in cli("inspect", model).out
    assert cli("run", model, "--inputs", x).status == 0

    monkeypatch.setenv("BYOC_BLOCK_VENDORS", "torch")
    refused = cli("compile", program, "--vendors", "dnnl", "-o", model)
    assert refused.status == 1 and "'special_i0e' (aten.special_i0e.default)" in refused.err
