"""How long OpenMP threads spin: what libgomp has taken, in processes that set nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from byoc.support.openmp import SPINS, spin_briefly

LOAD = "import byoc\nbyoc.runtime.num_threads()"
TORCH = "import byoc, torch\nbyoc.runtime.num_threads()"
CHILD = (
    "import byoc, subprocess, sys\n"
    "subprocess.run([sys.executable, '-c', 'import ctypes; ctypes.CDLL(\"libgomp.so.1\")'])"
)


def spins(code: str, **env: str) -> str:
    """What libgomp says of itself whenever it is loaded."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    code = code.replace("import byoc", "import byoc, byoc.runtime", 1)
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | {"OMP_DISPLAY_ENV": "verbose"} | env,
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    (count,) = set(re.findall(r"GOMP_SPINCOUNT = '(.*)'", done.stderr))  # of each process the same
    return str(count)


@pytest.mark.parametrize("code", [LOAD, TORCH, CHILD], ids=["runtime", "torch", "child"])
def test_threads_spin_briefly_where_nothing_is_set(code):
    if code is TORCH:
        pytest.importorskip("torch")
    assert spins(code) == SPINS


def test_what_the_user_sets_counts():
    assert spins(LOAD, GOMP_SPINCOUNT="77") == "77"
    assert spins(LOAD, OMP_WAIT_POLICY="passive") == "0"
    assert int(spins(LOAD, OMP_WAIT_POLICY="active")) > 10**9


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_nothing_is_added_to_a_choice(name):
    environment = {name: "active"}
    spin_briefly(environment)
    assert environment == {name: "active"}
