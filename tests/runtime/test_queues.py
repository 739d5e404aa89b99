"""Vendors with a queue: several calls in flight, each ended later, from any thread, once."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repeated_timing import least
from runtime_programs import elementwise
from test_healing import Vendor, X
from test_healing import program as healed_program
from test_requests import staged

from byoc.contract_checks import check_vendor
from byoc.errors import ExecutionError, VendorError
from byoc.runtime import DeadlineError, Healing, Session, VendorUse
from byoc.testing.simulated_device import SimulatedDevice
from byoc.vendor import PythonRuntime

SMALL = np.ones((2, 3), "float32")
STAGE = 0.02


def queued(submit, program=None, *, depth=4, processor="dev"):
    """A program whose segments are begun by ``submit(x, y, done)``."""
    program = elementwise("x[0]") if program is None else program
    runtime = PythonRuntime(lambda blob, constants, options: submit, depth)
    tasks = tuple(dataclasses.replace(t, processor=processor) for t in program.body.tasks)
    return dataclasses.replace(
        program,
        body=dataclasses.replace(program.body, tasks=tasks),
        vendors={"numpy": VendorUse("1", {}, runtime, processor)},
    )


def on_device(device: SimulatedDevice, **options):
    """y = x + 1 on the device."""

    def submit(inputs, outputs, done):
        device.submit(inputs, outputs, lambda x: [x[0] + 1], done)

    return queued(submit, **options)


def later(inputs, outputs, done, seconds=0.0):
    """x + 1, written and told by a thread of its own."""

    def run():
        time.sleep(seconds)
        outputs[0][...] = inputs[0] + 1
        done()

    threading.Thread(target=run, daemon=True).start()


def test_stages_of_different_requests_overlap():
    device = SimulatedDevice(STAGE / 2, STAGE, STAGE / 2)
    session = Session(on_device(device, processor="overlap"))
    session(SMALL)  # the first call is watched
    count = 24

    def stages_each() -> float:
        begin = time.perf_counter()
        answers = list(session.map([SMALL * i for i in range(count)]))
        taken = time.perf_counter() - begin
        assert all((answer == i + 1).all() for i, answer in enumerate(answers))
        return taken / count / STAGE

    # One after the other it would be 2 stages each; filling the pipe costs another one in all.
    assert least(stages_each, 1.15) < 1.15
    assert session.max_in_flight == 5


def test_callers_in_threads_overlap_too():
    session = Session(on_device(SimulatedDevice(0, STAGE / 8, STAGE), processor="callers"))
    session(SMALL)

    def stages() -> float:
        threads = [threading.Thread(target=session, args=(SMALL,)) for _ in range(4)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (time.perf_counter() - begin) / STAGE

    assert least(stages, 5.5) < 5.5  # downloads are one after the other


def test_no_more_calls_than_the_queue_takes():
    lock, most, now = threading.Lock(), 0, 0

    def submit(inputs, outputs, done):
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)

        def run():
            nonlocal now
            time.sleep(0.002)
            outputs[0][...] = inputs[0] + 1
            with lock:
                now -= 1
            done()

        threading.Thread(target=run, daemon=True).start()

    session = Session(queued(submit, depth=3, processor="three"), max_in_flight=12)
    answers = list(session.map([SMALL * i for i in range(40)]))
    assert all((answer == i + 1).all() for i, answer in enumerate(answers))
    assert most == 3


def test_one_request_goes_through_its_segments_in_order():
    session = Session(queued(later, staged(["", "", ""], ["dev"] * 3), processor="order"))
    assert (session(SMALL) == 4).all()
    answers = list(session.map([SMALL * i for i in range(20)]))
    assert all((answer == i + 3).all() for i, answer in enumerate(answers))


def test_done_may_be_called_before_submit_returns():
    def submit(inputs, outputs, done):
        outputs[0][...] = inputs[0] + 1
        done()

    assert (Session(queued(submit, processor="early"))(SMALL) == 2).all()


@pytest.mark.parametrize("error", ["too hot", ValueError("too hot")])
def test_done_with_an_error(error):
    session = Session(queued(lambda x, y, done: done(error), processor="hot"))
    with pytest.raises(ExecutionError, match=r"segment 'numpy_0'.*vendor 'numpy'.*too hot"):
        session(SMALL)


def test_submit_raises():
    def submit(inputs, outputs, done):
        raise ValueError("no such kernel")

    with pytest.raises(ExecutionError, match="no such kernel"):
        Session(queued(submit, processor="raises"))(SMALL)


def test_submit_that_raises_after_it_has_begun_is_waited_for():
    ended = threading.Event()

    def submit(inputs, outputs, done):
        def run():
            time.sleep(0.05)
            outputs[0][...] = 0
            ended.set()
            done()

        threading.Thread(target=run, daemon=True).start()
        raise ValueError("half begun")

    with pytest.raises(ExecutionError, match="half begun"):
        Session(queued(submit, processor="half"))(SMALL)
    assert ended.is_set()


def test_letting_go_of_done_is_an_error_not_a_hang():
    session = Session(queued(lambda x, y, done: None, processor="lost"))
    with pytest.raises(ExecutionError, match="let go of done without calling it"):
        session(SMALL)


def test_done_called_twice_is_told_and_ends_trust():
    told = []

    def submit(inputs, outputs, done):
        outputs[0][...] = inputs[0] + 1
        done()
        try:
            done()
        except VendorError as error:
            told.append(str(error))

    session = Session(queued(submit, processor="twice"))
    with pytest.raises(ExecutionError, match="called done twice"):
        session(SMALL)
    with pytest.raises(ExecutionError, match="called done twice"):
        session(SMALL)
    assert "done was called twice for one call of 'numpy', segment 'numpy_0'" in told[0]


def test_half_written_outputs_are_found():
    def submit(inputs, outputs, done):
        outputs[0][0] = inputs[0][0]
        done()

    with pytest.raises(ExecutionError, match=r"left 3 of the 6 elements of outputs\[0\]"):
        Session(queued(submit, processor="written"))(SMALL)


def test_checked_calls(monkeypatch):
    monkeypatch.setenv("BYOC_CHECK", "1")
    session = Session(queued(later, processor="checked"))
    answers = list(session.map([SMALL * i for i in range(6)]))
    assert all((answer == i + 1).all() for i, answer in enumerate(answers))

    def writes_inputs(inputs, outputs, done):
        outputs[0][...] = inputs[0]
        outputs[0].ctypes.data  # noqa: B018
        done()

    assert (Session(queued(writes_inputs, processor="checked"))(SMALL) == 1).all()


# -- cancellation and deadlines -------------------------------------------------------------------


def test_a_deadline_is_answered_and_told():
    device = SimulatedDevice(0.004, 0.5, 0.004)
    session = Session(on_device(device, processor="due"))
    session.submit(SMALL).result(30)
    heard = []

    def watch(inputs, outputs, done):
        heard.append(done.seconds_left)
        device.submit(inputs, outputs, lambda x: [x[0] + 1], done)

    session = Session(queued(watch, processor="due"))
    future = session.submit(SMALL, deadline=0.03)
    with pytest.raises(DeadlineError, match="within 0.03 s"):
        future.result(30)
    wait_for(lambda: device.counts["cancelled"] == 1)
    assert 0 < heard[0] <= 0.03
    wait_for(lambda: session._queue.in_flight == 0)
    assert (session(SMALL) == 2).all()  # a call without a deadline
    assert heard[-1] is None


def test_cancelling_a_future_is_told():
    device = SimulatedDevice(0, 5, 0)
    session = Session(on_device(device, processor="cancel"))
    future = session.submit(SMALL)
    wait_for(lambda: device.counts["uploads"] == 1)
    assert future.cancel()
    wait_for(lambda: device.counts["cancelled"] == 1)
    wait_for(lambda: session._queue.in_flight == 0)


def test_cancelled_and_on_cancel_after_the_fact():
    heard = threading.Event()

    def submit(inputs, outputs, done):
        def run():
            wait_for(lambda: done.cancelled)
            done.on_cancel(heard.set)  # at once
            done("given up")

        threading.Thread(target=run, daemon=True).start()

    session = Session(queued(submit, processor="after"))
    future = session.submit(SMALL)
    time.sleep(0.01)
    future.cancel()
    assert heard.wait(30)


def test_a_vendor_that_never_calls_done(caplog):
    calls = []
    session = Session(
        queued(lambda x, y, done: calls.append((x, y, done)), processor="never"), max_in_flight=2
    )
    for _ in range(3):  # a permit comes back, though the vendor keeps the memory
        with pytest.raises(DeadlineError):
            session.submit(SMALL, deadline=0.02).result(30)
    wait_for(lambda: session._queue.in_flight == 0)
    assert "did not call done within 1000 ms of being told" in caplog.text
    for inputs, outputs, done in calls:  # late: nobody is harmed
        assert (inputs[0] == 1).all()
        outputs[0][...] = 7
        done()
        with pytest.raises(VendorError, match="twice"):
            done()


def test_done_after_the_session_is_gone():
    calls = []

    def use() -> None:
        session = Session(queued(lambda x, y, done: calls.append((y, done)), processor="gone"))
        with pytest.raises(DeadlineError):
            session.submit(SMALL, deadline=0.01).result(30)
        wait_for(lambda: session._queue.in_flight == 0)
        session.close()

    use()
    (outputs, done) = calls.pop()
    outputs[0][...] = 1
    done()


def test_close_while_in_flight():
    session = Session(queued(lambda x, y, d: later(x, y, d, 0.05), processor="close"))
    futures = [session.submit(SMALL * i) for i in range(4)]
    session.close()
    del session
    assert all((f.result(30) == i + 1).all() for i, f in enumerate(futures))


# -- with what else there is ----------------------------------------------------------------------


def with_twin(kernel_library, submit, healing, processor):
    base = healed_program(kernel_library, Vendor(), healing=healing)
    return queued(submit, base, processor=processor)


def test_a_failed_call_is_healed(kernel_library):
    number = iter(range(100))

    def submit(inputs, outputs, done):
        if next(number) % 3 == 1:
            done("flaky")
        else:
            later(inputs, outputs, done)

    session = Session(with_twin(kernel_library, submit, Healing(failures=99), "healed"))
    answers = list(session.map([X * i for i in range(20)]))
    assert all(np.array_equal(answer, X * i + 1) for i, answer in enumerate(answers))
    assert {fault.kind for fault in session.faults} == {"error"}


def test_healing_with_a_deadline_tells_the_vendor(kernel_library):
    device = SimulatedDevice(0, 20, 0)

    def submit(inputs, outputs, done):
        device.submit(inputs, outputs, lambda x: [x[0] + 1], done)

    healing = Healing(failures=9, deadline=0.03)
    session = Session(with_twin(kernel_library, submit, healing, "healed due"))
    begin = time.perf_counter()
    answers = list(session.map([X * i for i in range(4)]))
    assert time.perf_counter() - begin < 20  # none of them waited for the device
    assert all(np.array_equal(answer, X * i + 1) for i, answer in enumerate(answers))
    assert [fault.kind for fault in session.faults] == ["deadline"] * 4
    wait_for(lambda: device.counts["cancelled"] == 4)


def test_a_cancelled_call_is_no_fault(kernel_library):
    device = SimulatedDevice(0, 5, 0)

    def submit(inputs, outputs, done):
        device.submit(inputs, outputs, lambda x: [x[0] + 1], done)

    session = Session(with_twin(kernel_library, submit, Healing(), "no fault"))
    with pytest.raises(DeadlineError):
        session.submit(X, deadline=0.02).result(30)
    wait_for(lambda: session._queue.in_flight == 0)
    assert device.counts["cancelled"] == 1
    assert session.faults == ()


def test_a_profile_shows_calls_in_flight():
    session = Session(on_device(SimulatedDevice(STAGE / 2, STAGE, STAGE / 2), processor="shown"))
    profile = session.profile(SMALL, requests=6)
    times = sorted((t.start, t.stop) for t in profile.tasks)
    assert any(later[0] < earlier[1] for earlier, later in itertools.pairwise(times))
    assert all(stop - start >= 1.9e9 * STAGE for start, stop in times)
    assert all(0 < share <= 1 for share in profile.busy().values())


def test_a_forked_child_is_told():
    session = Session(queued(later, processor="forked"))
    assert (session(SMALL) == 2).all()
    child = os.fork()
    if child == 0:
        try:
            session(SMALL)
        except ExecutionError as error:
            os._exit(0 if "load the model in the child" in str(error) else 2)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert (session(SMALL) == 2).all()


# -- several devices ------------------------------------------------------------------------------


def on_devices(count: int, processor: str, stage: float = 0.0, kept=None):
    """y = x + 1 on `count` devices, each made by its own call of init."""
    devices = [] if kept is None else kept

    def init(blob, constants, options):
        device = SimulatedDevice(0, stage, 0)
        devices.append(device)

        def submit(inputs, outputs, done):
            device.submit(inputs, outputs, lambda x: [x[0] + 1], done)

        return submit

    base = queued(None, processor=processor)
    runtime = PythonRuntime(init, 4, lambda: count)
    return dataclasses.replace(base, vendors={"numpy": VendorUse("1", {}, runtime, processor)})


def test_two_devices_are_twice_as_fast():
    devices = []
    session = Session(on_devices(2, "pair", STAGE, devices))
    warm = [session.submit(SMALL) for _ in range(2)]  # one each: the first calls are watched
    assert all((future.result(30) == 2).all() for future in warm)
    assert [device.counts["kernels"] for device in devices] == [1, 1]
    assert session.max_in_flight == 10
    count = 24
    runs = 0

    def share_of_one_device() -> float:
        nonlocal runs
        runs += 1
        begin = time.perf_counter()
        answers = list(session.map([SMALL * i for i in range(count)]))
        taken = time.perf_counter() - begin
        assert all((answer == i + 1).all() for i, answer in enumerate(answers))
        return taken / count / STAGE

    assert least(share_of_one_device, 1 / 1.7) < 1 / 1.7
    # In turn, but where one device ends a call while the next is on its way.
    shares = [device.counts["kernels"] for device in devices]
    assert sum(shares) == runs * count + 2 and min(shares) >= runs * (count / 2 - 2)
    profile = session.profile(SMALL, requests=4)
    assert set(profile.busy()) == {"pair:0", "pair:1"}


def test_one_of_several_devices():
    devices = []
    program = on_devices(3, "trio:2", kept=devices)
    session = Session(program)
    assert (session(SMALL) == 2).all()
    assert len(devices) == 1
    assert set(session.profile(SMALL).busy()) == {"trio:2"}


@pytest.mark.parametrize(
    ("count", "processor", "message"),
    [
        (0, "none", "there is no device"),
        (2, "two:2", "there is no device 'two:2'; there are 2: 'two:0' to ':1'"),
        ("2", "text", "devices.. of 'numpy' must return a whole number, found '2'"),
        (2, "cpu", "name a processor of its own"),
    ],
)
def test_devices_that_are_not_there(count, processor, message):
    with pytest.raises(VendorError, match=message):
        Session(on_devices(count, processor))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "cancel", "fail"])), max_size=12))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_any_mix_ends(calls):
    plan = iter([*calls])
    lock = threading.Lock()

    def submit(inputs, outputs, done):
        with lock:
            delay, what = next(plan, (0, ""))

        def run():
            time.sleep(delay / 1000)
            outputs[0][...] = inputs[0] + 1
            done("as told" if what == "fail" else None)

        threading.Thread(target=run, daemon=True).start()

    session = Session(queued(submit, processor="mix"), max_in_flight=6)
    futures = []
    for i, (_, what) in enumerate(calls):
        futures.append(session.submit(SMALL * i))
        if what == "cancel":
            futures[-1].cancel()
    for i, future in enumerate(futures):
        if future.cancelled():
            continue
        try:
            assert (future.result(30) == i + 1).all()
        except ExecutionError as error:
            assert "as told" in str(error)
    wait_for(lambda: session._queue is None or session._queue.in_flight == 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"processor": "cpu"}, "name a processor of its own"),
        ({"depth": -1}, "whole number, 0 to 64, found -1"),
        ({"depth": True}, "whole number, 0 to 64, found True"),
        ({"depth": 65}, "found 65"),
    ],
)
def test_what_a_queue_cannot_be(changes, message):
    from byoc.vendor import Vendor as VendorValue

    wanted = {"depth": 4, "processor": "dev", **changes}
    runtime = PythonRuntime(lambda blob, constants, options: later, wanted["depth"])
    vendor = VendorValue("acme", "1", list, lambda s, o: None, runtime,
                         processor=wanted["processor"])  # fmt: skip
    with pytest.raises(VendorError, match=message):
        check_vendor(vendor)


def test_the_python_shown_runs():
    doc = Path(__file__).parents[2] / "docs" / "devices.md"
    (block,) = re.findall(r"^```python\n(.*?)^```", doc.read_text(encoding="utf-8"), re.M | re.S)
    names = {}
    exec(compile(block, str(doc), "exec"), names)
    program = queued(None, elementwise("", (3, 3), constants=(np.eye(3, dtype="float32") * 2,)))
    use = VendorUse("1", {}, names["RUNTIME"], "dev")
    session = Session(dataclasses.replace(program, vendors={"numpy": use}))
    assert (session(np.ones((3, 3), "float32")) == 2).all()


def wait_for(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)
