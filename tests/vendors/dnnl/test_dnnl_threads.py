"""oneDNN computes on byoc's threads, and libgomp, which it is linked with, starts none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import byoc

PROGRAM = """
import json, sys
from collections import Counter
from pathlib import Path
import numpy as np
import byoc
model = byoc.load(sys.argv[1])
x = np.ones((1, 3, 224, 224), np.float32)
for _ in range(3):
    y = model(x)
names = Counter((task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir())
print(json.dumps([names, float(np.asarray(y).sum())]))
"""


def _threads(path, count):
    """Names of the threads of a process that has run the model, and a sum of its results."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": str(count)},
    )
    return json.loads(done.stdout)


def test_onednn_computes_on_byocs_threads(zoo, tmp_path):
    path = tmp_path / "m.byoc"
    byoc.compile(zoo("squeezenet"), vendors=["dnnl"]).save(path)
    alone, expected = _threads(path, 1)
    assert "byoc:worker" not in alone
    several, found = _threads(path, 3)
    # A thread that libgomp starts has the name of the one that started it.
    assert several["byoc:worker"] == 2
    assert several["byoc:cpu"] == 1
    assert abs(found - expected) < 1e-3 * abs(expected)
