"""Profiles: every task with its times, borders, critical path; table, JSON, Chrome trace."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from test_requests import staged

from byoc.errors import ArtifactError, InputError
from byoc.runtime import Profile, Session, TaskTime
from byoc.runtime.trace import _critical

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
    assert [t.deps for t in first] == [(), (0,), (1,)]
    path = profile.critical_path()
    assert path[0].start == min(t.start for t in profile.tasks)
    assert path[-1].stop == max(t.stop for t in profile.tasks)
    for before, after in itertools.pairwise(path):  # each was held up by the one before
        assert before.stop <= after.start
        assert before.processor == after.processor or before.task in after.deps


def test_table_json_chrome(profile, tmp_path):
    table = profile.table()
    assert "4 request(s)" in table and "3 tasks" in table and "bytes at borders" in table
    assert f"critical path: {len(profile.critical_path())} tasks (*)" in table
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


def spans(*rows: tuple[int, int, str, int, int, tuple[int, ...]]) -> list[TaskTime]:
    """request, task, processor, start, stop, deps."""
    return [
        TaskTime(request, task, f"t{task}", "host", "", processor, (), start, stop, 0, 0, 0, False,
                 deps)
        for request, task, processor, start, stop, deps in rows
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tasks", "requests", "path"),
    [
        (  # dependencies: 0 (npu) held 2 up, the shorter 1 did not
            spans(
                (0, 0, "npu", 0, 50, ()), (0, 1, "cpu", 0, 10, ()), (0, 2, "cpu", 50, 60, (0, 1))
            ),
            [(0, 0, 60)],
            {0, 2},
        ),
        (  # the queue: 1 was ready from the start, but 0 ran
            spans((0, 0, "cpu", 0, 50, ()), (0, 1, "cpu", 50, 60, ())),
            [(0, 0, 60)],
            {0, 1},
        ),
        (  # another request on the queue
            spans((0, 0, "cpu", 0, 50, ()), (1, 0, "cpu", 50, 90, ()), (1, 1, "npu", 90, 95, (0,))),
            [(0, 0, 50), (0, 50, 95)],
            {0, 1, 2},
        ),
        (  # the end of a request let the next one begin, on another queue
            spans((0, 0, "cpu", 0, 50, ()), (1, 0, "npu", 52, 90, ())),
            [(0, 0, 50), (51, 52, 90)],
            {0, 1},
        ),
        (  # nested: 1 worked off the queue while 0 waited for another processor
            spans((0, 0, "cpu", 0, 90, ()), (0, 1, "cpu", 20, 30, ())),
            [(0, 0, 90)],
            {0},
        ),
        ([], [(0, 0, 0)], set()),
    ],
    ids=["dependencies", "queue", "requests", "submission", "nested", "none"],
)  # fmt: skip
def test_the_critical_path_goes_through_what_held_up(tasks, requests, path):
    assert _critical(tasks, requests) == path


NUMBER = (int, float)
EVENTS = {  # fields of the Trace Event Format by phase
    "M": {"name": str, "pid": int, "args": dict},
    "X": {"name": str, "cat": str, "pid": int, "tid": int, "ts": NUMBER, "dur": NUMBER},
    "b": {"name": str, "cat": str, "pid": int, "tid": int, "ts": NUMBER, "id": int},
    "s": {"name": str, "cat": str, "pid": int, "tid": int, "ts": NUMBER, "id": int},
}  # fmt: skip
EVENTS |= {"e": EVENTS["b"], "f": EVENTS["s"] | {"bp": str}}


def check_trace(profile: Profile) -> None:
    """The trace satisfies the format, and says what the profile says."""
    document = json.loads(profile.to_chrome())
    events = document["traceEvents"]
    assert document["displayTimeUnit"] in ("ms", "ns")
    for event in events:
        for field, kind in EVENTS[event["ph"]].items():
            assert isinstance(event[field], kind), (field, event)
        assert event.get("ts", 0) >= 0 and event.get("dur", 0) >= 0
    by = {phase: [e for e in events if e["ph"] == phase] for phase in EVENTS}
    assert len(by["X"]) == len(profile.tasks)
    named = {e["tid"] for e in by["M"] if e["name"] == "thread_name"}
    assert {e["tid"] for e in by["X"]} <= named
    for event, task in zip(by["X"], profile.tasks, strict=True):
        assert event["ts"] == task.start / 1e3 and event["dur"] == task.duration / 1e3
        assert event["args"]["waited_us"] == task.waited / 1e3
        assert event["args"]["border_bytes"] == task.border_bytes
    assert [e["id"] for e in by["b"]] == [e["id"] for e in by["e"]]
    assert all(b["ts"] <= e["ts"] for b, e in zip(by["b"], by["e"], strict=True))
    # Every flow begins inside the task that is read and ends inside the one that reads.
    assert len(by["s"]) == len(by["f"]) == sum(len(t.deps) for t in profile.tasks)
    assert len({e["id"] for e in by["s"]}) == len(by["s"])
    flows = iter(zip(by["s"], by["f"], strict=True))
    for task, reader in ((t, e) for t, e in zip(profile.tasks, by["X"], strict=True)):
        for dep in task.deps:
            start, end = next(flows)
            assert start["id"] == end["id"] and end["bp"] == "e" and start["ts"] <= end["ts"]
            (source,) = (
                e for e in by["X"]
                if (e["args"]["request"], e["args"]["task"]) == (task.request, dep)
            )  # fmt: skip
            assert start["tid"] == source["tid"] and end["tid"] == reader["tid"]
            assert source["ts"] <= start["ts"] <= source["ts"] + source["dur"]
            assert reader["ts"] <= end["ts"] <= reader["ts"] + reader["dur"]


def test_the_trace_satisfies_the_format(profile, kernel_program):
    check_trace(profile)
    check_trace(Session(kernel_program).profile(np.ones((64, 16), "float32"), requests=2))
    tasks = tuple(spans((0, 0, "cpu", 0, 0, ()), (0, 1, "npu", 0, 5, (0,))))  # one took no time
    check_trace(Profile("m", ((0, 0, 5),), tasks))


def test_saving_fails_with_a_reason(profile, tmp_path):
    for name in ("p.trace.json", "p.json", "p.txt", "p.html"):
        with pytest.raises(ArtifactError, match=r"cannot write the .* to .*No such file"):
            profile.save(tmp_path / "absent" / name)
    profile.save(tmp_path / "p.html")
    assert "timeline" in (tmp_path / "p.html").read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["p.html"]


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
    assert [(t.name, t.kind, t.vendor, t.deps) for t in profile.tasks] == [
        ("main", "vm", "", ()), ("numpy_0", "segment", "numpy", (0,)), ("main", "vm", "", (1,)),
    ]  # fmt: skip
    before, segment, after = profile.tasks
    assert before.stop == segment.start < segment.stop == after.start <= after.stop
    assert segment.nbytes == 2 * x.nbytes and "numpy_0" in profile.table()
    assert [t.task for t in profile.critical_path()] == [0, 1, 2]
    assert json.loads(profile.to_chrome())["traceEvents"]


def test_wrong_use(make):
    with pytest.raises(InputError, match="requests >= 1"):
        Session(make("x[0]")).profile(X, requests=0)
