"""A child forked while other threads run and build segments runs them, too."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
from native_programs import Writer, load, run

FORKS = int(os.environ.get("BYOC_FORKS", "60"))
"""The nightly sets more."""

_PATIENCE = 60  # seconds that a child may take before it counts as hung


def _artifact(rows):
    w = Writer(0)
    y = w.eltwise(w.conv(w.input(rows, 3, 6, 6), 8), "relu")
    return w.finish(w.conv(y, 4))


def test_children_of_busy_threads_do_not_hang():
    static, dynamic = _artifact(1), _artifact("n")
    executes = [load(static), load(dynamic)]
    data = np.random.default_rng(0).standard_normal((1, 3, 6, 6)).astype("float32")
    want = run(executes[0], static, [data])[0]
    stop = threading.Event()

    def busy(seed):
        rng = np.random.default_rng(seed)
        while not stop.is_set():
            run(executes[0], static, [data])
            rows = int(rng.integers(1, 40))  # more than are kept: building goes on all the time
            run(executes[1], dynamic, [np.ones((rows, 3, 6, 6), "float32")])

    threads = [threading.Thread(target=busy, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(FORKS):
            child = os.fork()
            if child == 0:
                signal.alarm(_PATIENCE)
                right = all(
                    np.array_equal(run(execute, artifact, [data])[0], want)
                    for execute, artifact in zip(executes, (static, dynamic), strict=True)
                )
                os._exit(0 if right else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
