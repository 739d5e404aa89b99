"""A fixed slice of torch's operators and samples; `benchmarks/torch_op_db.py` runs them all.

One of every operator and dtype runs with --slow; every night some have all of theirs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

from byoc.testing.torch_operators import evaluate, operators, samples  # noqa: E402

SWEEP = Path(__file__).parents[2] / "benchmarks" / "torch_op_db.py"
PARTS = 4

NAMES = {
    "amax", "any", "clamp", "cumsum", "gather", "index_select", "matmul", "remainder", "where",
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_samples_are_right_or_refused_by_name(dtype):
    outcomes = {
        sample.name: evaluate(sample, [])
        for op in operators()
        if op.name in NAMES and not op.variant_test_name
        for sample in samples(op, getattr(torch, dtype), 1)
    }
    assert len(outcomes) >= 8
    kinds = {outcome.kind for outcome in outcomes.values()}
    assert kinds <= {"right", "refused", "skipped"}, outcomes
    right = sum(outcome.kind == "right" for outcome in outcomes.values())
    assert right > len(outcomes) / 2, outcomes


def test_what_torch_runs_is_told_apart_from_what_byoc_compiles():
    (op,) = (op for op in operators() if op.name == "special.i0e")
    (sample,) = samples(op, torch.float32, 1)
    outcome = evaluate(sample, [])
    assert outcome.kind == "kept" and "special_i0e" in outcome.detail


def test_a_wrong_answer_is_told():
    class Doubled:
        name, variant_test_name = "doubled", ""
        calls = 0

        def supported_dtypes(self, device):
            return {torch.float32}

        def sample_inputs(self, device, dtype, requires_grad):
            return [SimpleNamespace(input=torch.ones(3), args=(), kwargs={})]

        def op(self, x):
            return x * (2 if torch.compiler.is_exporting() else 3)

    (sample,) = samples(Doubled(), torch.float32)
    outcome = evaluate(sample, [])
    assert outcome.kind == "wrong" and "expected 3" in outcome.detail


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_a_sample_of_every_operator_and_dtype_is_right_or_refused_by_name(part, tmp_path):
    command = [sys.executable, str(SWEEP), "--part", f"{part}/{PARTS}", "--limit", "1"]
    command += ["--json", str(tmp_path / "result.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    total = json.loads((tmp_path / "result.json").read_text())["total"]
    assert total["right"] > total.get("refused", 0)
