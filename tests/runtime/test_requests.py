"""Requests in flight: futures, order, back-pressure, deadlines, cancellation, fairness."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import itertools
import logging
import os
import random
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from runtime_programs import elementwise

from byoc.errors import ExecutionError, InputError
from byoc.runtime import DeadlineError, Future, Program, QueueFullError, Session
from byoc.runtime.plan import Plan, PlanTensor, Port, Task

X = np.ones((2, 3), "float32")


class Gate:
    """A segment that waits until it is opened: ``o['gate'](x[0])``."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        self.entered.release()
        assert self.open.wait(30)
        return x + 1

    def wait_until_entered(self) -> None:
        assert self.entered.acquire(timeout=30)


def staged(expressions: list[str], processors: list[str], shape=(2, 3), **options) -> Program:
    """A chain of segments, each on its own processor."""
    base = elementwise("x[0]", shape, **options)
    count = len(expressions)
    tensors = [PlanTensor(shape, "float32", "input"), PlanTensor(shape, "float32", "output")]
    tensors += [PlanTensor(shape, "float32", "arena", 0, 64 * i) for i in range(count - 1)]
    chain = [0, *range(2, count + 1), 1]
    tasks = tuple(
        Task("segment", f"numpy_{i}", (a, b), 1, (i - 1,) if i else (), processors[i])
        for i, (a, b) in enumerate(itertools.pairwise(chain))
    )
    plan = Plan((Port("x0", 0),), (Port("y", 1),), tuple(tensors), tasks, 64 * count)
    (artifact,) = base.artifacts
    artifacts = tuple(
        dataclasses.replace(artifact, segment=f"numpy_{i}", blob=e.encode())
        for i, e in enumerate(expressions)
    )
    return dataclasses.replace(base, body=plan, artifacts=artifacts)


def test_answers_and_names(make):
    session = Session(make("x[0] - x[1]", inputs=2))
    future = session.submit(X * 5, X * 3)
    assert isinstance(future, concurrent.futures.Future)
    assert (future.result(30) == 2).all()
    assert (session.submit({"x1": X, "x0": X * 3}).result(30)["y"] == 2).all()


def test_a_vm_program_too(vm_program):
    session = Session(vm_program)
    x = np.ones((5, 4), "float32")
    z, s = session.submit(x, x, np.True_).result(60)
    assert (z == 3).all() and (s == 2).all()
    answers = list(session.map((np.full((n, 4), n, "float32"),) * 2 + (np.False_,)
                               for n in range(1, 9)))  # fmt: skip
    assert [a[0].shape[0] for a in answers] == list(range(1, 9))
    assert all((z == n * (n + 1)).all() for n, (z, _) in enumerate(answers, 1))


def test_map_keeps_order_and_is_lazy(make):
    session = Session(make("x[0] * 2"), max_in_flight=3)
    drawn = []

    def inputs():
        for i in range(20):
            drawn.append(i)
            yield X * i

    answers = session.map(inputs())
    assert (next(answers) == 0).all() and len(drawn) <= 5
    assert [int(a[0, 0]) for a in answers] == [2 * i for i in range(1, 20)]


def test_many_requests_over_processors():
    """Every request has buffers of its own: thousands overlap on two lanes, every answer right."""
    names = ["cpu", "npu"] * 3
    session = Session(staged(["x[0] + 1", "x[0] * 2"] * 3, names), max_in_flight=6)
    values = [np.full((2, 3), i, "float32") for i in range(300)]
    for value, answer in zip(values, session.map(values), strict=True):
        assert (answer == ((value + 1) * 2 + 1) * 4 + 2).all()
    assert session._queue.in_flight == 0


def test_errors_arrive_and_the_session_goes_on(make):
    session = Session(make("1 / 0 if x[0].max() > 5 else x[0]"))
    bad, good = session.submit(X * 9), session.submit(X)
    with pytest.raises(ExecutionError, match="vendor 'numpy' failed: .*division by zero"):
        bad.result(30)
    assert (good.result(30) == 1).all()
    with pytest.raises(InputError, match="dtype float64, expected float32"):
        session.submit(X.astype("float64"))
    with pytest.raises(InputError, match="deadline must be seconds above 0, found -1"):
        session.submit(X, deadline=-1)
    with pytest.raises(InputError, match="max_in_flight must be 1 or more, found 0"):
        Session(make("x[0]"), max_in_flight=0)
    assert session._queue.in_flight == 0


def test_back_pressure():
    gate = Gate()
    session = Session(elementwise("o['gate'](x[0])", gate=gate), max_in_flight=2)
    first = [session.submit(X), session.submit(X)]
    with pytest.raises(
        QueueFullError, match=r"2 requests are in flight and none ended within 0\.05 s"
    ):
        session.submit(X, timeout=0.05)
    third: list[concurrent.futures.Future] = []
    thread = threading.Thread(target=lambda: third.append(session.submit(X)))
    thread.start()
    time.sleep(0.05)
    assert not third
    gate.open.set()
    thread.join(30)
    assert all((f.result(30) == 2).all() for f in (*first, *third))
    assert gate.calls == 3


def test_a_callback_may_submit(make):
    """On the thread that tells of answers, with every slot taken."""
    session = Session(make("x[0] + 1"), max_in_flight=1)
    second = concurrent.futures.Future()
    session.submit(X).add_done_callback(lambda f: second.set_result(session.submit(f.result())))
    assert (second.result(30).result(30) == 3).all()


class Unlucky(logging.Handler):
    """A log whose handler ends threads, too."""

    def emit(self, record):
        raise SystemExit(4)


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()],
    ids=repr,
)
def test_nothing_a_callback_raises_ends_the_thread(error, caplog):
    gate, ran = Gate(), []
    session = Session(elementwise("o['gate'](x[0])", gate=gate))

    def fail(future):
        ran.append(future)
        raise error

    future = session.submit(X)
    for callback in (fail, ran.append, fail):
        future.add_done_callback(callback)
    gate.open.set()
    assert (future.result(30) == 2).all()
    assert (session.submit(X).result(30) == 2).all()
    assert session._queue._thread.is_alive() and ran == [future] * 3
    with pytest.raises(type(error)):
        future.add_done_callback(fail)  # on our own thread it is ours to meet
    assert type(error).__name__ in caplog.text


def test_nor_does_a_log_that_fails():
    handler, log = Unlucky(), logging.getLogger("byoc.runtime")
    log.addHandler(handler)
    try:
        gate = Gate()
        session = Session(elementwise("o['gate'](x[0])", gate=gate))
        future = session.submit(X)
        future.add_done_callback(lambda f: sys.exit())
        gate.open.set()
        future.result(30)
        assert (session.submit(X).result(30) == 2).all()
    finally:
        log.removeHandler(handler)


@pytest.mark.parametrize("seed", range(4))
def test_cancel_at_every_moment(make, monkeypatch, seed):
    """Cancelled right before it is completed or expires, where another thread may come between."""
    chance, claim = random.Random(seed), Future.set_running_or_notify_cancel

    def unlucky(future):
        if chance.random() < 0.5:
            future.cancel()
        return claim(future)

    def leave(future):
        if chance.random() < 0.3:
            raise chance.choice([SystemExit, KeyboardInterrupt, ValueError])

    monkeypatch.setattr(Future, "set_running_or_notify_cancel", unlucky)
    session = Session(make("(__import__('time').sleep(0.002), x[0] + 1)[1]"), max_in_flight=16)
    futures = []
    for _ in range(60):
        future = session.submit(X, deadline=chance.choice([None, 1e-4, 2e-3, 5e-3, 30]), timeout=30)
        with contextlib.suppress(SystemExit, KeyboardInterrupt):  # it may be done by now
            future.add_done_callback(leave)
        futures.append(future)
    assert not concurrent.futures.wait(futures, 30).not_done
    for future in futures:
        error = None if future.cancelled() else future.exception()
        assert error is None or isinstance(error, DeadlineError)
    monkeypatch.undo()
    assert (session.submit(X).result(30) == 2).all()
    assert session._queue.in_flight == 0 and session._queue._taken == 0


def test_cancelled_before_it_begins():
    gate = Gate()
    session = Session(elementwise("o['gate'](x[0])", gate=gate), max_in_flight=4)
    running = session.submit(X)
    gate.wait_until_entered()
    waiting = session.submit(X)
    assert waiting.cancel() and waiting.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        waiting.result(30)
    gate.open.set()
    assert (running.result(30) == 2).all() and not running.cancel()
    concurrent.futures.wait([waiting], 30)
    assert gate.calls == 1  # the other one never began
    assert (session.submit(X).result(30) == 2).all()


@pytest.mark.parametrize("processors", [["cpu", "cpu"], ["cpu", "npu"]], ids="+".join)
def test_cancelled_on_its_way_leaves_the_rest_out(processors):
    gate, after = Gate(), Gate()
    after.open.set()
    program = staged(["o['gate'](x[0])", "o['after'](x[0])"], processors, gate=gate, after=after)
    session = Session(program, max_in_flight=1)
    future = session.submit(X)
    gate.wait_until_entered()
    assert future.cancel()
    gate.open.set()
    assert concurrent.futures.wait([future], 30).done == {future}
    assert after.calls == 0 and session._queue.in_flight == 0
    assert (session.submit(X).result(30) == 3).all()  # its slot and buffers are free again


def test_deadlines():
    gate = Gate()
    session = Session(elementwise("o['gate'](x[0])", gate=gate), max_in_flight=4)
    late, patient = session.submit(X, deadline=0.05), session.submit(X, deadline=60)
    with pytest.raises(DeadlineError, match=r"not done within 0\.05 s"):
        late.result(30)
    assert session._queue.in_flight == 2  # the task that runs is not torn down
    gate.open.set()
    assert (patient.result(30) == 2).all()
    assert issubclass(DeadlineError, ExecutionError)


def test_asyncio():
    gate = Gate()
    session = Session(elementwise("o['gate'](x[0])", gate=gate), max_in_flight=2)

    async def many():
        tasks = [asyncio.create_task(session.acall(X * i)) for i in range(6)]
        dropped = asyncio.create_task(session.acall(X))
        await asyncio.sleep(0.05)  # the loop is not blocked while slots are taken
        assert session._queue.in_flight == 2
        dropped.cancel()
        gate.open.set()
        answers = await asyncio.gather(*tasks)
        with pytest.raises(asyncio.CancelledError):
            await dropped
        assert (await session.submit(X * 9) == 10).all()
        with pytest.raises(InputError):
            await session.acall(1)
        return [int(a[0, 0]) for a in answers]

    assert asyncio.run(many()) == [1, 2, 3, 4, 5, 6]
    assert session._queue._taken == 0


def test_sessions_take_turns():
    """A session with one request is not behind all thirty of another."""
    gate, order = Gate(), []
    note = lambda name: lambda x: order.append(name) or x  # noqa: E731
    hog = Session(elementwise("o['f'](x[0])", f=note("hog")), max_in_flight=30)
    meek = Session(elementwise("o['f'](x[0])", f=note("meek")))
    blocker = Session(elementwise("o['gate'](x[0])", gate=gate))
    blocked = blocker.submit(X)
    gate.wait_until_entered()
    futures = [hog.submit(X) for _ in range(30)] + [meek.submit(X)]
    gate.open.set()
    concurrent.futures.wait([blocked, *futures], 60)
    assert order.index("meek") <= 1 and len(order) == 31


def test_the_thread_goes_with_its_session(make):
    session = Session(make("x[0]"))
    future = session.submit(X)
    thread = session._queue._thread
    del session
    assert (future.result(30) == 1).all()
    thread.join(30)
    assert not thread.is_alive()


def test_after_a_fork(make):
    session = Session(make("x[0] + 1"))
    assert (session.submit(X).result(30) == 2).all()
    child = os.fork()
    if child == 0:
        try:
            ok = (session.submit(X).result(20) == 2).all() and (session(X) == 2).all()
        finally:
            os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0


class InFlight(RuleBasedStateMachine):
    """Submit, cancel, let go, expire, in any order: no queue stalls, no slot is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()
        program = staged(["o['gate'](x[0])", "x[0] * 2"], ["cpu", "npu"], gate=self.gate)
        self.session = Session(program, max_in_flight=3)
        self.futures: list[tuple[float, concurrent.futures.Future]] = []

    @rule(value=st.integers(0, 9), deadline=st.sampled_from([None, 0.001, 60.0]))
    def submit(self, value, deadline):
        x = np.full((2, 3), value, "float32")
        try:
            self.futures.append((value, self.session.submit(x, deadline=deadline, timeout=0)))
        except QueueFullError:
            assert self.session._queue.in_flight == 3
            refused = concurrent.futures.Future()  # what is drawn later depends on no timing
            refused.cancel()
            refused.set_running_or_notify_cancel()
            self.futures.append((value, refused))

    @rule(data=st.data())
    def cancel(self, data):
        if self.futures:
            data.draw(st.sampled_from(self.futures))[1].cancel()

    @rule()
    def let_go(self):
        self.gate.open.set()

    @rule()
    def hold(self):
        self.gate.open.clear()

    @invariant()
    def never_more_than_allowed(self):
        assert self.session._queue is None or self.session._queue.in_flight <= 3

    def teardown(self):
        self.gate.open.set()
        concurrent.futures.wait([f for _, f in self.futures], 60)
        for value, future in self.futures:
            assert future.done()
            if future.cancelled():
                continue
            error = future.exception(0)
            assert error is None or isinstance(error, DeadlineError)
            if error is None:
                assert (future.result() == (value + 1) * 2).all()
        end = time.monotonic() + 30
        while self.session._queue is not None and self.session._queue.in_flight:
            assert time.monotonic() < end, "a queue stalls"
            time.sleep(0.001)
        assert (self.session(X) == 4).all()


InFlight.TestCase.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
TestInFlight = InFlight.TestCase
