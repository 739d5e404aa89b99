"""Vendors out of process: right answers, every way to die, and nothing left behind."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from isolated_vendor import RUNTIME, SHAPE, chain, one

from byoc.errors import ExecutionError, OptionError, VendorError
from byoc.runtime import Healing, Isolation, Session, VendorUse, load_program, save_program
from byoc.runtime.isolation.processes import resolve_isolation
from byoc.vendor import PythonRuntime

X = np.random.default_rng(0).integers(-9, 9, SHAPE).astype("float32")
PATIENCE = 60.0


def gone(pid: int) -> bool:
    """Whether a process has ended; who is no child of ours counts as ended when a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def pid_of(session: Session) -> int:
    ((_, pid),) = session.workers
    return pid


def test_answers_are_those_of_the_vendor():
    """Several dtypes, constants, options, an empty tensor, two inputs, memory that grows."""
    weights = np.arange(5, dtype="float32")
    program = one("x[0] * o['k'] + x[1] + c[0] + c[1]", (3, 5), inputs=2,
                  constants=(weights, np.float32([[1.0]])))  # fmt: skip
    session = Session(program)
    assert pid_of(session) != os.getpid()
    a, b = (np.random.default_rng(s).standard_normal((3, 5)).astype("float32") for s in (1, 2))
    for _ in range(3):
        np.testing.assert_array_equal(session(a, b), a * 2 + b + weights + 1)
    answers = [session.submit(a * i, b) for i in range(20)]
    for i, answer in enumerate(answers):
        np.testing.assert_array_equal(answer.result(PATIENCE), a * i * 2 + b + weights + 1)


def test_dynamic_shapes_and_memory_that_grows(vm_program):
    blob = json.dumps({"expression": "x[0] + 1"}).encode()
    (artifact,) = vm_program.artifacts
    program = dataclasses.replace(
        vm_program,
        artifacts=(dataclasses.replace(artifact, blob=blob),),
        vendors={"numpy": VendorUse("1", {}, RUNTIME)},
        isolation=Isolation(("numpy",)),
    )
    session = Session(program)
    for n in (5, 0, 3000, 1, 70_000):
        x = np.random.default_rng(n).standard_normal((n, 4)).astype("float32")
        z, s = session(x, x, np.True_)
        np.testing.assert_array_equal(s, x + 1)
        np.testing.assert_array_equal(z, x + 1 + x)


def test_every_fault_is_answered_by_the_twin(kernel_library, tmp_path, caplog):
    """The vendor's process dies, hangs, throws …: the answer is right, this process goes on."""
    kinds = ["segfault", "sleep", "throw", "status", "memory", "kill", "nan"]
    faults = {2 * i + 2: kind for i, kind in enumerate(kinds)}
    segment = {"faults": faults, "counter": str(tmp_path / "calls")}
    healing = Healing(failures=len(kinds) + 1, check_nan=True)
    session = Session(
        chain(kernel_library, segment, healing=healing, deadline=8.0, memory=700 << 20)
    )
    end = time.monotonic() + 4 * PATIENCE
    while len(session.faults) < len(kinds):
        np.testing.assert_array_equal(session(X), X + 1)  # also while a process is starting
        time.sleep(0.01)
        assert time.monotonic() < end, session.faults
    np.testing.assert_array_equal(session(X), X + 1)
    expected = [
        ("crash", r"was killed by SIGSEGV \(invalid memory access\) while it ran segment 's0'"),
        ("deadline", r"no answer within 8 s; the worker process \(pid \d+\) of vendor 'numpy'"),
        ("error", r"RuntimeError: the device is on fire"),
        ("error", r"status 7 \(DEVICE_LOST\)"),
        ("error", r"Unable to allocate 16\.0 MiB"),
        ("crash", r"was killed by SIGKILL \(out of memory, perhaps: see the system's log\) while"),
        ("nan", r"NaN in output 0"),
    ]
    assert [f.kind for f in session.faults] == [kind for kind, _ in expected]
    for fault, (_, message) in zip(session.faults, expected, strict=True):
        assert re.search(message, fault.message), fault
    assert [f.number for f in session.faults] == list(range(1, len(kinds) + 1))
    assert "its host twin answered" in caplog.text


def test_after_some_crashes_the_twin_takes_over(kernel_library, tmp_path):
    counter = tmp_path / "calls"
    segment = {"faults": dict.fromkeys(range(1, 9), "abort"), "counter": str(counter)}
    session = Session(chain(kernel_library, segment, healing=Healing(failures=2)))
    end = time.monotonic() + PATIENCE
    while not any(f.replaced for f in session.faults):
        np.testing.assert_array_equal(session(X), X + 1)
        time.sleep(0.01)
        assert time.monotonic() < end
    for _ in range(5):
        np.testing.assert_array_equal(session(X), X + 1)
    assert len(session.faults) == 2 and counter.stat().st_size == 2
    assert session.workers == ()  # nothing is started that nobody calls


def test_without_a_twin_the_error_is_named_and_the_next_call_works(kernel_library, tmp_path):
    faults = {1: "segfault", 2: "exit", 3: "throw"}
    segment = {"faults": faults, "counter": str(tmp_path / "calls")}
    session = Session(chain(kernel_library, segment))
    first = pid_of(session)
    with pytest.raises(
        ExecutionError,
        match=r"segment 's0' \(task 0\) of vendor 'numpy' failed: Crash: the worker process "
        r"\(pid \d+\) of vendor 'numpy' was killed by SIGSEGV.* while it ran segment 's0'; the "
        r"next call starts another one\. Compile with heal=True",
    ):
        session(X)
    assert gone(first)
    with pytest.raises(ExecutionError, match="exited with status 3"):
        session(X)
    with pytest.raises(ExecutionError, match="failed: RuntimeError: the device is on fire"):
        session(X)
    alive = pid_of(session)  # an exception is no reason to end
    np.testing.assert_array_equal(session(X), X + 1)
    assert pid_of(session) == alive != first and session.faults == ()


def test_two_vendors_two_processes_and_a_fault_in_one(kernel_library, tmp_path):
    """Segments of one vendor share a process; what happens to it is nothing to the other's."""
    crash = {"faults": {1: "abort"}, "counter": str(tmp_path / "calls"), "vendor": "bad"}
    good = {"vendor": "good", "processor": "dsp"}
    session = Session(chain(kernel_library, good, crash, good, crash, healing=Healing()))
    before = dict(session.workers)
    assert sorted(before) == ["bad", "good"]
    for answer in session.map([X] * 6):
        np.testing.assert_array_equal(answer, X + 4)
    assert [f.segment for f in session.faults] == ["s1"]
    assert dict(session.workers)["good"] == before["good"]


def test_only_the_vendors_named(kernel_library):
    program = chain(kernel_library, {"vendor": "a"}, {"vendor": "b"}, vendors=("b",))
    session = Session(program)
    assert [vendor for vendor, _ in session.workers] == ["b"]
    np.testing.assert_array_equal(session(X), X + 2)


def test_processes_end_with_their_session_and_when_closed():
    session = Session(one())
    pid = pid_of(session)
    session.close()
    wait_until(lambda: gone(pid))
    assert session.workers == ()
    np.testing.assert_array_equal(session(X), X + 1)  # starts again
    pid = pid_of(session)
    future = session.submit(X)
    del session
    np.testing.assert_array_equal(future.result(PATIENCE), X + 1)
    del future
    gc.collect()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())  # not even a zombie


def test_children_of_a_worker_end_with_it():
    session = Session(one("x[0] * 0 + __import__('subprocess').Popen(['sleep', '300']).pid"))
    child = int(session(X)[0, 0])
    assert not gone(child)
    session.close()
    wait_until(lambda: gone(child))


def test_nothing_is_left_of_closed_sessions():
    """No open file, no thread and no child per session."""

    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), len(children())

    def children() -> list[str]:
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()

    def use() -> None:
        session = Session(one())
        np.testing.assert_array_equal(session(X), X + 1)

    use()  # what is made once per process is there now
    gc.collect()
    wait_until(lambda: not children())
    before = held()
    for _ in range(3):
        use()
    gc.collect()
    wait_until(lambda: not children())
    wait_until(lambda: held() == before)


def test_killed_from_outside_and_while_idle(kernel_library):
    session = Session(chain(kernel_library, {}, healing=Healing()))
    pid = pid_of(session)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gone(pid))
    np.testing.assert_array_equal(session(X), X + 1)
    (fault,) = session.faults
    assert fault.kind == "crash" and "SIGKILL (out of memory, perhaps" in fault.message


def test_after_a_fork():
    """The child starts a process of its own; the parent's goes on."""
    session = Session(one())
    np.testing.assert_array_equal(session(X), X + 1)
    pid = pid_of(session)
    child = os.fork()
    if child == 0:
        ok = False
        try:
            ok = bool((session(X) == X + 1).all()) and pid_of(session) != pid
        finally:
            os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(session(X), X + 1)
    assert pid_of(session) == pid


PARENT = """
import sys, threading, time
sys.path.insert(0, {folder!r})
import numpy as np
from isolated_vendor import SHAPE, one
from byoc.runtime import Session
session = Session(one(faults={{"1": {fault!r}}}))
print(session.workers[0][1], flush=True)
future = session.submit(np.ones(SHAPE, "float32"))
time.sleep({seconds})
"""


@pytest.mark.parametrize("how", ["kill -9", "exit"])
def test_no_orphan_and_no_shared_memory_when_the_parent_goes(how, tmp_path):
    """The vendor hangs in a call, and its parent is killed, or ends."""
    shared = set(Path("/dev/shm").iterdir())
    code = PARENT.format(
        folder=str(Path(__file__).parent), fault="sleep", seconds=120 if how == "kill -9" else 1
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        pid = int(run.stdout.readline())
        assert not gone(pid)
        if how == "kill -9":
            time.sleep(0.3)
            run.kill()
        assert run.wait(PATIENCE) == (-signal.SIGKILL if how == "kill -9" else 0)
    wait_until(lambda: gone(pid))
    assert set(Path("/dev/shm").iterdir()) <= shared


def test_a_vendor_that_does_not_load(kernel_library):
    with pytest.raises(
        VendorError, match="vendor 'numpy', segment 's0' could not be loaded: RuntimeError: .*fire"
    ):
        Session(chain(kernel_library, {"load": "throw"}))
    with pytest.raises(
        VendorError,
        match=r"vendor 'numpy' could not be loaded out of process: the worker process \(pid \d+\) "
        r"of vendor 'numpy' was killed by SIGSEGV.* while it loaded its segments",
    ):
        Session(chain(kernel_library, {"load": "segfault"}))
    program = chain(kernel_library, {"load": "sleep"}, start=1.0)
    with pytest.raises(VendorError, match=r"had not loaded its segments after 1 s and was kil"):
        Session(program)


def test_one_that_does_not_load_is_left_to_its_twin(kernel_library):
    program = chain(kernel_library, {"load": "exit"}, {}, healing=Healing())
    session = Session(program)
    np.testing.assert_array_equal(session(X), X + 2)
    assert [(f.segment, f.kind, f.replaced) for f in session.faults] == [
        ("s0", "load", True),
        ("s1", "load", True),  # of the same process
    ]
    strict = dataclasses.replace(program, healing=Healing(refusals=False))
    with pytest.raises(VendorError, match="exited with status 3"):
        Session(strict)


def test_who_cannot_be_imported_is_refused():
    def local(blob, constants, options):
        return None

    program = one()
    for init, name in ((local, r"<locals>\.local"), (lambda *a: None, "<lambda>")):
        use = VendorUse("1", {}, PythonRuntime(init))
        with pytest.raises(
            VendorError, match=f"cannot run out of process: its init .*{name}.* can"
        ):
            Session(dataclasses.replace(program, vendors={"numpy": use}))
    use = VendorUse("1", {"f": print}, RUNTIME)
    with pytest.raises(VendorError, match="its options cannot be written as JSON"):
        Session(dataclasses.replace(program, vendors={"numpy": use}))


def test_what_users_may_ask_for():
    names = ["dnnl", "npu"]
    assert resolve_isolation(None, names) is None and resolve_isolation(False, names) is None
    assert resolve_isolation(True, names) == Isolation(None)
    assert resolve_isolation(["npu"], names) == Isolation(("npu",))
    limits = Isolation(("npu",), deadline=2.0)
    assert resolve_isolation(limits, names) is limits
    with pytest.raises(OptionError, match="isolate names 'np', which is not among.*mean 'npu'"):
        resolve_isolation(["np"], names)
    with pytest.raises(OptionError, match=r"found the string 'npu'; write isolate=\['npu'\]"):
        resolve_isolation("npu", names)
    for bad, message in (
        ({"deadline": 0.0}, "deadline must be seconds above 0, found 0.0"),
        ({"start": -1.0}, "start must be seconds above 0, found -1.0"),
        ({"memory": 0}, "memory must be bytes above 0, found 0"),
    ):
        with pytest.raises(OptionError, match=message):
            Isolation(**bad)


def test_it_is_kept_in_the_file(tmp_path):
    program = one()
    program = dataclasses.replace(program, isolation=Isolation(("numpy",), 2.5, 1 << 30, 7.0))
    save_program(program, tmp_path / "m.byoc")
    loaded = load_program(tmp_path / "m.byoc", lambda name: RUNTIME)
    assert loaded.isolation == program.isolation
    manifest = _manifest(tmp_path / "m.byoc")
    assert manifest["format"] == 3
    save_program(dataclasses.replace(program, isolation=None), tmp_path / "m.byoc")
    assert _manifest(tmp_path / "m.byoc")["format"] == 2


def _manifest(path: Path) -> dict:
    import zipfile

    with zipfile.ZipFile(path) as file:
        return json.loads(file.read("manifest.json"))


def test_a_deadline_holds_on_the_cpu_too(kernel_library, tmp_path):
    """Where calls in process can have none."""
    segment = {"faults": {1: "sleep"}, "counter": str(tmp_path / "calls"), "processor": "cpu"}
    program = chain(kernel_library, segment, healing=Healing(deadline=0.5))
    session = Session(program)
    np.testing.assert_array_equal(session(X), X + 1)
    assert [f.kind for f in session.faults] == ["deadline"]
    with pytest.raises(OptionError, match="runs on processor 'cpu', where calls can have no dead"):
        Session(dataclasses.replace(program, isolation=None))
