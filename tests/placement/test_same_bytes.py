"""Equal input, equal plan, equal bytes: in every process, whatever its hash seed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from quantised_models import save_quantised

SCRIPT = """
import hashlib, sys
import byoc
from byoc.frontends import import_model
from byoc.placement.lock import make_lock
from byoc.placement.lock_text import render_lock
from byoc.plugins.discovery import find

vendors = [find("npu"), find("dnnl")]
for _ in range(10):
    mod = import_model(sys.argv[1]).mod
    lock = make_lock(mod, byoc.partition_model(mod, vendors).report, vendors)
    print("lock", hashlib.sha256(render_lock(lock).encode()).hexdigest())
byoc.compile(sys.argv[1], vendors=vendors).save(sys.argv[2])
with open(sys.argv[2], "rb") as file:
    print("byoc", hashlib.sha256(file.read()).hexdigest())
"""


@pytest.mark.parametrize("processes", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_quantised_model_has_one_lock_and_one_file(processes, tmp_path):
    save_quantised(tmp_path)
    found = set()
    for seed in range(processes):
        done = subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                "-c",
                SCRIPT,
                tmp_path / "q.onnx",
                tmp_path / "m.byoc",
            ],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.split("\n")[:-1]
        assert len(lines) == 11
        found.update(lines)
    assert len(found) == 2, found
