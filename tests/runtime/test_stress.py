"""Many threads and many sessions at once; `benchmarks.stress` does the same for minutes.

Times are not looked at here (see `benchmarks.runtime_acceptance`), only answers, memory, turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from runtime_programs import elementwise
from test_requests import Gate, staged

import byoc
from benchmarks.stress import rising, stress_shared
from byoc.runtime import Session

X = np.ones((2, 3), "float32")
MB = 1_000_000
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def executables(zoo):
    return [
        byoc.compile(zoo("mlp", batch=1, hidden=32, features=8)),
        byoc.compile(zoo("mlp", seed=1, batch=4, hidden=64, features=16)),
        byoc.compile(zoo("branch")),
    ]


def test_growth_is_seen():
    """What the claims about memory rest on."""
    steady = [100 + k % 3 for k in range(40)]
    assert abs(rising(steady)) <= 2
    assert rising([1000 - 50 * min(k, 5) + 10 * k for k in range(40)]) > 100
    assert rising([0, 0, *[500] * 38]) == 0  # warming up is no growth


def test_eight_threads_share_three_sessions(executables, request):
    seconds = 60 if request.config.getoption("--slow") else 4
    found = stress_shared(executables, seconds, threads=8)
    assert found.wrong == 0 and found.runs > 40
    assert found.growth < 8 * MB


def test_a_wrong_answer_is_seen():
    """Two requests that share a buffer would look like this."""
    flips = iter(range(10**9))
    program = elementwise("x[0] * (1 + (next(o['flips']) % 50 == 49))", flips=flips)

    class Loose:
        inputs = program.inputs

        def __init__(self) -> None:
            self.run = Session(program)

        def __call__(self, x):
            return self.run(x)

    assert stress_shared([Loose()], 0.6, threads=2).wrong > 0


def test_sessions_come_and_go(executables, tmp_path, request):
    at_once, rounds = (64, 200) if request.config.getoption("--slow") else (16, 10)
    executables[0].save(tmp_path / "m.byoc")
    # A process of its own with one heap: glibc gives threads heaps of their own, which fill up one
    # after the other, and that would look like growth.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.stress", "sessions", "--file", tmp_path / "m.byoc",
         "--sessions", str(at_once), "--rounds", str(rounds)],
        cwd=ROOT, env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["sessions"]
    assert found["opened"] == at_once * rounds and found["wrong"] == 0
    assert found["growth"] < 4 * MB


@pytest.mark.parametrize("processors", [["cpu", "cpu"], ["cpu", "npu"]], ids="+".join)
def test_a_heavy_session_does_not_starve_a_light_one(processors):
    """Between asking and running, the light one sees no more of the heavy than what had begun.

    Turns are counted, not seconds: a request of a plan on one processor is one turn, so at most the
    one that runs and the one whose turn came first are before.
    """
    heavy_runs = 0

    def work(x):
        nonlocal heavy_runs
        heavy_runs += 1
        time.sleep(0.0005)
        return x

    seen: list[int] = []
    heavy = Session(staged(["o['f'](x[0])", "x[0] + 1"], processors, f=work), max_in_flight=16)
    light = Session(elementwise("o['f'](x[0])", f=lambda x: seen.append(heavy_runs) or x))
    stop = threading.Event()

    def flood() -> None:
        for answer in heavy.map(X for _ in iter(stop.is_set, True)):
            assert (answer == 2).all()

    threads = [threading.Thread(target=flood) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        while heavy_runs < 20:
            time.sleep(0.001)
        passed = []
        for _ in range(40):
            before = heavy_runs
            light(X)
            passed.append(seen[-1] - before)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert heavy_runs > 60  # the heavy one went on as well
    assert sorted(passed)[len(passed) // 2] <= 2, passed
    assert max(passed) <= 8, passed  # this thread may be off its core between asking and noting


def test_back_pressure_holds_for_many_submitters():
    gate = Gate()
    session = Session(elementwise("o['gate'](x[0])", gate=gate), max_in_flight=3)
    most = 0
    done: list[bool] = []

    def submit() -> None:
        nonlocal most
        for _ in range(20):
            future = session.submit(X)
            most = max(most, session._queue.in_flight)
            done.append(bool((future.result(60) == 2).all()))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.wait_until_entered()
    time.sleep(0.02)
    assert session._queue.in_flight <= 3
    gate.open.set()
    for thread in threads:
        thread.join(60)
    assert most <= 3 and len(done) == 160 and all(done)
