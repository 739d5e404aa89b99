"""A process that gets no more threads: named errors, and right answers once there are threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

CODE = """
import os, random, sys, threading, time
from pathlib import Path
import numpy as np
from byoc.errors import ExecutionError
from byoc.runtime import Session
from test_requests import staged

flag, chance = Path(os.environ["NO_THREADS_FILE"]), random.Random(int(sys.argv[1]))
X = np.ones((2, 3), "float32")
refused = 0


def chain(processors):
    # Slow enough that a lane which does not wait for its turn runs into freed memory.
    stages = ["(__import__('time').sleep(0.005), x[0] + 1)[1]"] * len(processors)
    return Session(staged(stages, processors))


def attempt(session, submit):
    return session.submit(X).result(30) if submit else session(X)


for model in range(30):
    fresh = [f"p{model}_{i}" for i in range(3)]
    names = ["cpu"] if model == 0 else [chance.choice(fresh) for _ in range(chance.randint(2, 4))]
    session, submit = chain(names), chance.random() < 0.5
    if model and chance.random() < 0.7:  # some of the processors have their threads already
        chain([chance.choice(names)])(X)
    if submit and chance.random() < 0.7:
        session._get_queue()
    flag.touch()
    for _ in range(2):
        try:
            assert (attempt(session, submit) == 1 + len(names)).all()
        except ExecutionError as error:
            assert "cannot start the thread" in str(error) and "pids.max" in str(error), error
            refused += 1
    flag.unlink()
    for again in (submit, not submit):
        assert (attempt(session, again) == 1 + len(names)).all()
    assert session._queue is None or session._queue.in_flight == 0
print("refused", refused)
"""


def test_no_more_threads(tmp_path):
    shim = tmp_path / "no_threads.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", str(HERE / "no_threads.c"), "-o", str(shim), "-ldl"], check=True
    )
    env = {
        **os.environ, "LD_PRELOAD": str(shim), "NO_THREADS_FILE": str(tmp_path / "none"),
        "BYOC_NUM_THREADS": "2", "PYTHONPATH": str(HERE),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", CODE, "7"], env=env, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 10
