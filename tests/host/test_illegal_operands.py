"""No index and no divisor reads or writes elsewhere, or ends the process: a named error instead."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from illegal_operands import KERNELS

_PROGRAM = Path(__file__).with_name("illegal_operands.py")


@pytest.fixture(scope="module")
def lines():
    """What the program printed for each kernel, and how it ended."""
    done = subprocess.run(
        [sys.executable, str(_PROGRAM)], capture_output=True, text=True, timeout=600, check=False
    )
    printed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {name: rest for name, *rest in printed}, done


@pytest.mark.parametrize("name", ["symbolic", *KERNELS])
def test_illegal_operands_are_named_errors_and_legal_ones_right(lines, name):
    found, done = lines
    assert name in found, f"the process ended with {done.returncode}: {done.stderr[-2000:]}"
    legal, illegal, faults = found[name]
    assert not faults
    assert legal > 0
    assert illegal > 0
