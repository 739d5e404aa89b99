"""Profiles: every task with its times, borders, critical path; table, JSON, Chrome trace."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from test_requests import staged

from byoc.errors import InputError
from byoc.runtime import Session

X = np.ones((2, 3), "float32")


def _slow(x):
    import time

    time.sleep(0.01)
    return x + 1


@pytest.fixture
def profile():
    program = staged(
        ["o['slow'](x[0])", "x[0] * 2", "o['slow'](x[0])"], ["cpu", "npu", "cpu"], slow=_slow
    )
    return Session(program, max_in_flight=3).profile(X, requests=4, warmup=1)


def test_every_task_of_every_request(profile):
    assert len(profile.requests) == 4 and len(profile.tasks) == 12
    for task in profile.tasks:
        submitted, begin, end = profile.requests[task.request]
        assert 0 <= submitted <= begin <= task.start <= task.stop <= end
        assert task.duration >= 9e6 or task.task == 1
        assert task.waited >= 0 and task.vendor == "numpy"
        assert task.processor == ("npu" if task.task == 1 else "cpu")
    for number in range(4):  # in the order of their dependencies
        mine = [t for t in profile.tasks if t.request == number]
        assert mine[0].stop <= mine[1].start and mine[1].stop <= mine[2].start
    on_cpu = sorted((t.start, t.stop) for t in profile.tasks if t.processor == "cpu")
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(on_cpu))  # one at a time
    assert profile.seconds >= 0.079
    assert profile.busy()["cpu"] > profile.busy()["npu"]


def test_borders_and_critical_path(profile):
    first = [t for t in profile.tasks if t.request == 0]
    assert [t.border_bytes for t in first] == [0, 24, 24]  # 2 x 3 floats, each from another queue
    assert all(t.nbytes == 48 for t in first)
    assert [t.critical for t in first] == [True, True, True]
    assert not any(t.critical for t in profile.tasks if t.request > 0)


def test_table_json_chrome(profile, tmp_path):
    table = profile.table()
    assert "4 request(s)" in table and "3 tasks" in table and "bytes at borders" in table
    lines = table.splitlines()
    assert sum("numpy_" in line for line in lines) == 3
    assert "numpy_1" not in profile.table(limit=2)
    document = json.loads(profile.to_json())
    assert len(document["tasks"]) == 12 and document["tasks"][1]["processor"] == "npu"
    profile.save(tmp_path / "p.trace.json")
    events = json.loads((tmp_path / "p.trace.json").read_text())["traceEvents"]
    tracks = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    complete = [e for e in events if e["ph"] == "X"]
    assert set(tracks.values()) == {"cpu", "npu"} and len(complete) == 12
    assert all(tracks[e["tid"]] == ("npu" if e["args"]["task"] == 1 else "cpu") for e in complete)
    profile.save(tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text()) == document
    profile.save(tmp_path / "p.txt")
    assert (tmp_path / "p.txt").read_text() == table + "\n"


def test_a_plan_on_one_processor(kernel_program):
    profile = Session(kernel_program).profile(np.ones((64, 16), "float32"))
    assert [(t.name, t.kind, t.vendor) for t in profile.tasks] == [
        ("add_one", "host", ""), ("add_one", "host", ""), ("numpy_0", "segment", "numpy"),
    ]  # fmt: skip
    assert [t.border_bytes for t in profile.tasks] == [0, 0, 4096]
    assert all(t.stop >= t.start > 0 for t in profile.tasks)


def test_the_vm(vm_program):
    x = np.ones((5, 4), "float32")
    profile = Session(vm_program).profile(x, x, np.True_)
    (task,) = profile.tasks
    assert task.kind == "vm" and task.duration > 0 and "main" in profile.table()


def test_wrong_use(make):
    with pytest.raises(InputError, match="requests >= 1"):
        Session(make("x[0]")).profile(X, requests=0)
