"""Requests of several sessions in any order, on compiled models: no queue ever stalls.

A state machine opens and closes sessions of one model on three processors, submits, cancels, lets
deadlines pass, holds a processor up and lets it go. In the end every future is done, every answer
right, every slot free and every input let go of.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import gc
import threading
import time
import weakref
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tvm import relax

import byoc
from byoc.runtime import DeadlineError, Program, QueueFullError, Session
from byoc.testing.fake_vendors import init_reference, synthetic
from byoc.vendor import PythonRuntime

pytestmark = pytest.mark.filterwarnings("ignore")

SHAPE = (3, 5)
PATIENCE = 60.0
GATES = {"npu": threading.Event(), "dsp": threading.Event()}


@cache
def program() -> Program:
    """tanh(relu(x) - tanh(x)) + x: two vendors, both of which wait at their gates, and the host."""
    x = relax.Var("x", relax.TensorType(SHAPE, "float32"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            difference = relax.op.subtract(bb.emit(relax.op.nn.relu(x)), bb.emit(relax.op.tanh(x)))
            result = relax.op.add(bb.emit(relax.op.tanh(bb.emit(difference))), x)
            result = bb.emit_output(result)
        bb.emit_func_output(result)
    vendors = [gated("npu", "nn.relu"), gated("dsp", "tanh")]
    exe = byoc.compile(bb.get(), vendors, min_segment_ops=1)
    assert {s.vendor for s in exe.report.segments} == {"npu", "dsp"}
    return exe._program


def gated(name: str, op: str) -> byoc.Vendor:
    """A vendor of one op on a processor of its own; it computes when its gate is open."""

    def init(blob, constants, options):
        compute = init_reference(blob, constants, options)

        def execute(inputs, outputs):
            assert GATES[name].wait(PATIENCE)
            compute(inputs, outputs)

        return execute

    vendor = synthetic(name, {op: 1e-6}, processor=name)
    return dataclasses.replace(vendor, runtime=PythonRuntime(init))


def expected(x):
    return np.tanh(np.maximum(x, 0) - np.tanh(x)) + x


PLACES = st.integers(0, 99)
"""Which of some sessions or requests. How many there are depends on time, too (a queue is full or
not), and what hypothesis draws may not."""


def chosen(items: list, which: int):
    return items[which % len(items)]


class Sessions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.sessions: list[Session] = []
        self.futures: list[tuple[int, concurrent.futures.Future]] = []
        self.inputs: list[weakref.ref] = []
        self.queues: list = []
        for gate in GATES.values():
            gate.set()

    def _input(self, seed: int):
        return np.random.default_rng(seed).standard_normal(SHAPE).astype("float32")

    @rule(limit=st.integers(1, 4))
    def open_session(self, limit):
        """While no processor is held up: a segment's init runs there, after what it works on."""
        if len(self.sessions) < 4 and all(gate.is_set() for gate in GATES.values()):
            self.sessions.append(Session(program(), max_in_flight=limit))

    @rule(
        seed=st.integers(0, 99), deadline=st.sampled_from([None, None, 0.001, 60.0]), which=PLACES
    )
    def submit(self, seed, deadline, which):
        if not self.sessions:
            return
        session = chosen(self.sessions, which)
        x = self._input(seed)
        try:
            future = session.submit(x, deadline=deadline, timeout=0)
        except QueueFullError:
            # A slot counts until its future is told.
            assert session._queue._taken == session.max_in_flight
            return
        self.futures.append((seed, future))
        self.inputs.append(weakref.ref(x))
        if session._queue not in self.queues:
            self.queues.append(session._queue)

    @rule(which=PLACES)
    def cancel(self, which):
        if self.futures:
            chosen(self.futures, which)[1].cancel()

    @rule(name=st.sampled_from(sorted(GATES)), hold=st.booleans())
    def gate(self, name, hold):
        (GATES[name].clear if hold else GATES[name].set)()

    @rule(which=PLACES)
    def close(self, which):
        """Its requests go on, or not, but they end."""
        if self.sessions:
            self.sessions.remove(chosen(self.sessions, which))

    @rule(which=PLACES)
    def wait_for_one(self, which):
        if self.futures and all(gate.is_set() for gate in GATES.values()):
            self._check(*chosen(self.futures, which))

    @rule(seed=st.integers(0, 99), which=PLACES)
    def call(self, seed, which):
        """A plain call, in between those on their way."""
        if self.sessions and all(gate.is_set() for gate in GATES.values()):
            x = self._input(seed)
            answer = chosen(self.sessions, which)(x)
            np.testing.assert_allclose(answer, expected(x), rtol=2e-5, atol=2e-6)

    @invariant()
    def never_more_than_allowed(self):
        for session in self.sessions:
            queue = session._queue
            assert queue is None or queue.in_flight <= session.max_in_flight

    def _check(self, seed, future):
        try:
            answer = future.result(PATIENCE)
        except (concurrent.futures.CancelledError, DeadlineError):
            return
        np.testing.assert_allclose(answer, expected(self._input(seed)), rtol=2e-5, atol=2e-6)

    def teardown(self):
        for gate in GATES.values():
            gate.set()
        done = concurrent.futures.wait([future for _, future in self.futures], PATIENCE)
        assert not done.not_done, "a request was lost"
        for seed, future in self.futures:
            self._check(seed, future)
        end = time.monotonic() + PATIENCE
        while any(queue._pending or queue._taken for queue in self.queues):
            assert time.monotonic() < end, "a queue stalls, or a slot is lost"
            time.sleep(0.001)
        self.futures.clear()
        while True:  # the thread that told the last future may still hold on to its request
            gc.collect()
            if all(reference() is None for reference in self.inputs):
                break
            assert time.monotonic() < end, "the input of a request is not let go of"
            time.sleep(0.001)
        for session in self.sessions:
            x = self._input(7)
            np.testing.assert_allclose(session(x), expected(x), rtol=2e-5, atol=2e-6)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(
    max_examples=12,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.slow
class TestSessionsLong(Sessions.TestCase):
    settings = settings(TestSessions.settings, max_examples=500, stateful_step_count=40)
