"""Random graphs of a hundred operators (`benchmarks/onnx_grammar.py`): as ONNX Runtime, or refused.

2,000 of them for each set of vendors run with --slow.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.onnx_grammar import make_case
from benchmarks.random_onnx import difference, reference, try_case

SETS = [(), ("dnnl",), ("dnnl", "onnxruntime")]
TABLE = Path(__file__).parents[2] / "benchmarks" / "random_onnx.py"


@pytest.mark.parametrize("vendors", SETS, ids=["host", "dnnl", "dnnl+onnxruntime"])
def test_a_sample_is_equal_or_refused(vendors):
    ends = []
    for seed in range(5):
        outcome, why = try_case(make_case(seed), vendors)
        assert outcome in ("equal", "refused", "skip"), f"graph {seed}: {outcome}: {why}"
        ends.append(outcome)
    assert "equal" in ends


@pytest.mark.parametrize("seed", [106, 126])  # crashed: branches in a planned memory
def test_what_once_went_wrong_is_equal(seed):
    outcome, why = try_case(make_case(seed), ())
    assert outcome == "equal", why


def test_a_seed_names_a_graph():
    first, again, other = make_case(7), make_case(7), make_case(8)
    assert first.model == again.model
    assert first.model != other.model
    assert all(np.array_equal(first.inputs[n], again.inputs[n]) for n in first.inputs)


def test_graphs_are_legal_and_cover_sixty_operators():
    operators, ran = set(), 0
    for seed in range(120):
        case = make_case(seed)
        operators.update(node.op_type for node in case.model.graph.node)
        if seed < 20:
            onnx.checker.check_model(case.model, full_check=True)
            ran += reference(case) is not None
    assert len(operators) >= 60
    assert ran >= 16  # ONNX Runtime lacks a few kernels of float16 and float64


def test_differences_are_found():
    a = np.array([1.0, np.nan, np.inf], np.float32)
    assert difference(a, a.copy()) is None
    assert "elements differ" in difference(a, np.array([1.1, np.nan, np.inf], np.float32))
    assert "elements differ" in difference(a, np.array([1.0, 0, np.inf], np.float32))
    assert "expected" in difference(a, a.astype(np.float64))
    assert "first at" in difference(np.array([1, 2]), np.array([1, 3]))


@pytest.mark.slow
@pytest.mark.parametrize("vendors", SETS, ids=["host", "dnnl", "dnnl+onnxruntime"])
def test_two_thousand_are_equal_or_refused(vendors, tmp_path):
    command = [sys.executable, str(TABLE), "--graphs", "2000", "--vendors", ",".join(vendors)]
    command += ["--json", str(tmp_path / "result.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["operators"]) >= 60
    assert result["counts"]["equal"] >= 1500
