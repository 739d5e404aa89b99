"""`Session`: a program ready to run.

In: a `Program`. Out: answers to calls, one after the other (`run`) or several in flight (`submit`,
`map`). It puts the parts of this folder together::

    ports (check) ──▶ executors ──▶ segments (binding) and host kernels (host_library)
    request_queue: permits and futures of what is in flight
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

from byoc.errors import InputError
from byoc.report.profile import Profile
from byoc.runtime.binding import Binder
from byoc.runtime.executors import make_executor
from byoc.runtime.fallback import Fault, FaultLog
from byoc.runtime.host_library import share_host
from byoc.runtime.io.weights import blob_arrays
from byoc.runtime.memory import Memory, account
from byoc.runtime.native import (
    device_count,
    from_tensor,
    num_threads,
    queue_depth,
    watch_files,
)
from byoc.runtime.plan import Plan
from byoc.runtime.ports import Inputs
from byoc.runtime.program import Program
from byoc.runtime.request_queue import Finished, Future, RequestQueue, check_seconds
from byoc.runtime.trace import make_profile
from byoc.segment import Array, Artifact
from byoc.support.arguments import check_kind
from byoc.support.dtypes import numpy_dtype
from byoc.support.fork_lock import ForkLock
from byoc.support.internal_errors import expect_no_foreign

__all__ = ["Session"]

Then = Callable[[list[Array]], list[Array]]


class Session:
    """A model in memory, ready to run: the vendors' segments and the host library.

    Inputs are numpy arrays or anything on the CPU that speaks DLPack. They are used in place
    when dense (and 64-byte aligned, where a host kernel reads them), else copied; results are
    fresh numpy arrays. Calls from several threads are safe; work on one processor is done one
    call after the other, sessions taking turns.

    `submit` and `map` keep several requests in flight, each with buffers of its own, so that the
    stages of a plan on several processors overlap.

    Args:
        program: The compiled model.
        max_in_flight: How many requests may be in flight; `submit` waits when there are as many.
            Default: two for each processor, at least 2; for a device with a queue one more than it
                takes.
        late: Segments whose engines are still to come; their fallbacks answer until `install`.
        log: Where faults go (several sessions of one model share one).

    Raises:
        VendorError: A vendor's runtime is missing or refuses a segment.
        ArtifactError: The program does not hold together.
        InputError: `max_in_flight` is below 1.
    """

    def __init__(
        self,
        program: Program,
        *,
        max_in_flight: int | None = None,
        late: Collection[str] = (),
        log: FaultLog | None = None,
    ) -> None:
        self.program = program
        self._program_lock = ForkLock()
        self._queue: RequestQueue | None = None
        self._queue_lock = ForkLock()
        self._max_in_flight: int | None = None
        if max_in_flight is not None:
            self.max_in_flight = max_in_flight
        self._ports = Inputs(program.inputs, program.outputs)
        num_threads()  # a bad environment variable is reported here
        self._host = share_host(program.host, vm=not program.is_static)
        host = self._host.module
        self._faults = FaultLog() if log is None else log
        self._binder = Binder(program, host, self._faults, late)
        segments = self._binder.all()
        anywhere = program.is_static and self._binder.all_native
        self._executor = make_executor(program, host, segments, anywhere=anywhere)
        check = watch_files((*program.arrays(), *blob_arrays(program.artifacts)))
        if check is not None:  # what has just been packed is what was verified
            check()

    @property
    def log(self) -> FaultLog:
        """Where this session's faults go."""
        return self._faults

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Calls of segments that failed and were answered by their fallbacks, in order."""
        return self._faults.all()

    @property
    def memory(self) -> Memory:
        """Memory of the session in bytes, by kind; known before the first run."""
        return account(self.program, self._binder.bounds)

    @property
    def workers(self) -> tuple[tuple[str, int], ...]:
        """Vendor and process id of every worker process that runs (`Program.isolation`)."""
        return self._binder.workers.pids

    def close(self) -> None:
        """End the worker processes of isolated vendors; the next call starts them again.

        Waits for nothing: a process ends after the call that runs in it.
        """
        self._binder.workers.stop()

    def install(self, artifact: Artifact, *, heal: bool = True) -> None:
        """Let the engine of a late segment take over from its fallback.

        Calls in flight end on the fallback, those after this returns run on the engine.

        Args:
            artifact: The segment as its vendor compiled it.
            heal: The fallback stays behind the engine, for calls that fail.

        Raises:
            VendorError: The vendor cannot load it.
        """
        self._binder.late_functions[artifact.segment].set(self._binder.bind(artifact, heal=heal))
        if self._queue is not None:
            self._queue.limit = self.max_in_flight  # an engine may have a queue
        with self._program_lock:
            old = self.program
            twins = dict(old.twins)
            if not heal:
                del twins[artifact.segment]
            artifacts = tuple(
                artifact if a.segment == artifact.segment else a for a in old.artifacts
            )
            self.program = replace(old, artifacts=artifacts, twins=twins)

    def give_up(self, segment: str, vendor: str, message: str) -> None:
        """Leave a late segment to its fallback for good; `faults` tells of it.

        Args:
            segment: Name of the segment.
            vendor: Name of its vendor.
            message: Why its engine will not come.
        """
        self._faults.add(Fault(segment, vendor, "build", message, 1, True))

    @property
    def max_in_flight(self) -> int:
        """Largest number of requests in flight at once; `submit` waits beyond."""
        if self._max_in_flight is None:
            return _default_in_flight(self.program)
        return self._max_in_flight

    @max_in_flight.setter
    def max_in_flight(self, limit: int) -> None:
        check_kind("max_in_flight", limit, Integral, "a whole number", InputError)
        if limit < 1:
            raise InputError(f"max_in_flight must be 1 or more, found {limit}")
        self._max_in_flight = limit
        if self._queue is not None:
            self._queue.limit = limit

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return self._ports.input_names

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return self._ports.output_names

    def run(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """Run the model on inputs by name.

        Args:
            inputs: An array for every input.
            outputs: C-contiguous arrays that results are written to, for some or all outputs.

        Returns:
            All outputs by name: the arrays given, fresh ones else.

        Raises:
            InputError: An input does not fit; the message says what was expected and found.
            ExecutionError: A task failed.
        """
        results = self._run(self._ports.ordered(inputs), outputs)
        return dict(zip(self._ports.output_names, results, strict=True))

    def run_positional(self, inputs: Sequence[Any]) -> list[Array]:
        """Run the model on inputs in order and return the outputs in order; raises as `run`."""
        return self._run(inputs, None)

    def __call__(self, *inputs: Any) -> Array | tuple[Array, ...]:
        """Run the model on inputs in order; raises as `run`.

        Returns:
            One array when the model has one output, else a tuple of them.
        """
        results = self._run(inputs, None)
        return results[0] if len(results) == 1 else tuple(results)

    # -- several at once ------------------------------------------------------------------------

    def submit(
        self, *inputs: Any, deadline: float | None = None, timeout: float | None = None
    ) -> Future:
        """Begin a request and return its future.

        Inputs are read until the future is done: do not write to them meanwhile.

        Args:
            *inputs: Arrays in order, or one mapping by name.
            deadline: Seconds from now until the future raises DeadlineError; None: never.
            timeout: Seconds to wait while `max_in_flight` requests are in flight; None: no limit.

        Returns:
            A future of what `__call__` returns, or of what `run` returns for one mapping.

        Raises:
            InputError: An input does not fit.
            QueueFullError: No request ended within `timeout`.
        """
        arrays, named = self.check(inputs)
        return self.submit_checked(arrays, named, deadline=deadline, timeout=timeout)

    async def acall(self, *inputs: Any, deadline: float | None = None) -> Any:
        """Begin a request and await its result, without blocking the event loop.

        Args:
            *inputs: Arrays in order, or one mapping by name.
            deadline: Seconds from now until DeadlineError; None: never.

        Returns:
            What `__call__` returns, or what `run` returns for one mapping.

        Raises:
            InputError: An input does not fit.
            DeadlineError: It was not done in time.
            ExecutionError: A task failed.
        """
        arrays, named = self.check(inputs)
        return await self.acall_checked(arrays, named, deadline=deadline)

    def check(self, inputs: Sequence[Any]) -> tuple[list[Array], bool]:
        """Check inputs, given in order or as one mapping by name.

        Returns:
            Arrays that fit, in order, and whether they were given by name.

        Raises:
            InputError: An input does not fit.
        """
        named = len(inputs) == 1 and isinstance(inputs[0], Mapping)
        values = self._ports.ordered(inputs[0]) if named else inputs
        return self._ports.check(values), named

    def check_positional(self, values: Sequence[Any]) -> list[Array]:
        """Check inputs given in order and return arrays that fit; raises InputError."""
        return self._ports.check(values)

    def submit_checked(
        self,
        arrays: list[Array],
        named: bool,
        *,
        deadline: float | None = None,
        timeout: float | None = None,
        then: Then | None = None,
    ) -> Future:
        """Begin a request on what `check` returned, as `submit` does.

        Args:
            arrays: Inputs in order.
            named: Let the future give outputs by name.
            deadline: Seconds from now until the future raises DeadlineError; None: never.
            timeout: Seconds to wait for a permit; None: no limit.
            then: What to make of the outputs, in order, before the future gives them.

        Raises:
            InputError: `deadline` or `timeout` is no time.
            QueueFullError: No request ended within `timeout`.
        """
        check_seconds(deadline, timeout)
        queue = self._get_queue()
        queue.wait_for_permit(timeout)
        return self._start(queue, arrays, named, deadline, then=then)

    async def acall_checked(
        self,
        arrays: list[Array],
        named: bool,
        *,
        deadline: float | None = None,
        then: Then | None = None,
    ) -> Any:
        """Await a request on what `check` returned; arguments as `submit_checked` takes them."""
        import asyncio

        check_seconds(deadline)
        queue = self._get_queue()
        permit = queue.permit()
        try:
            await asyncio.wrap_future(permit)
        except BaseException:
            if not permit.cancelled() and not permit.cancel():
                queue.release()
            raise
        return await self._start(queue, arrays, named, deadline, then=then)

    def map(
        self,
        inputs: Iterable[Any],
        *,
        deadline: float | None = None,
        submit: Callable[..., Future] | None = None,
    ) -> Generator[Any, None, None]:
        """Yield the answers to many inputs, in order, with `max_in_flight` of them in flight.

        Args:
            inputs: An array each (models with one input), a tuple of arrays, or a mapping by name;
                taken from the iterable as permits become free.
            deadline: Seconds that each request may take; None: no limit.
            submit: What begins a request, by default this session's `submit`.
        """
        check_kind("inputs", inputs, Iterable, "an iterable of inputs", InputError)
        submit = submit or self.submit
        waiting: deque[Future] = deque()
        try:
            for item in inputs:
                if len(waiting) >= self.max_in_flight:
                    yield waiting.popleft().result()
                values = item if isinstance(item, (tuple, list)) else (item,)
                waiting.append(submit(*values, deadline=deadline))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def profile(self, *inputs: Any, requests: int = 1, warmup: int = 1) -> Profile:
        """Run the model and keep the times of every task.

        Args:
            *inputs: Arrays in order, or one mapping by name.
            requests: How many to begin one after the other, `max_in_flight` at a time; more than
                one shows how they overlap.
            warmup: Requests before, not counted.

        Raises:
            InputError: An input or a number does not fit.
        """
        for name, number in (("requests", requests), ("warmup", warmup)):
            check_kind(name, number, Integral, "a whole number", InputError)
        if requests < 1 or warmup < 0:
            raise InputError(f"profile takes requests >= 1, warmup >= 0: {requests}, {warmup}")
        arrays, named = self.check(inputs)
        queue = self._get_queue()
        traces: list[Any] = []
        waiting: deque[Future] = deque()
        for number in range(warmup + requests):
            if number == warmup:
                while waiting:
                    waiting.popleft().result()
            queue.wait_for_permit(None)
            keep = traces.append if number >= warmup else None
            waiting.append(self._start(queue, arrays, named, None, keep))
        while waiting:
            waiting.popleft().result()
        return make_profile(self.program, traces)

    def _get_queue(self) -> RequestQueue:
        queue = self._queue
        if queue is not None and queue.pid == os.getpid():
            return queue
        with self._queue_lock:
            queue = self._queue
            if queue is None or queue.pid != os.getpid():
                queue = self._queue = RequestQueue(self._executor.open, self.max_in_flight)
                weakref.finalize(self, queue.close).atexit = False
            return queue

    def _start(
        self,
        queue: RequestQueue,
        arrays: list[Array],
        named: bool,
        deadline: float | None,
        keep: Callable[[Any], None] | None = None,
        then: Then | None = None,
    ) -> Future:
        try:
            prepared = self._executor.prepare(arrays)
        except BaseException:
            queue.release()
            raise

        def finish(done: Finished) -> Any:
            if keep is not None:
                keep(from_tensor(done.trace, numpy_dtype("int64")))
            with expect_no_foreign(self.program.name, "running"):
                results = self._ports.results(prepared.results(done))
                if then is not None:
                    results = then(results)
            if named:
                return dict(zip(self._ports.output_names, results, strict=True))
            return results[0] if len(results) == 1 else tuple(results)

        return queue.start(prepared.args, prepared.kept, finish, deadline, traced=keep is not None)

    def _run(self, values: Sequence[Any], outputs: Mapping[str, Array] | None) -> list[Array]:
        arrays = self._ports.check(values)
        given = self._ports.check_outputs(outputs) if outputs else None
        return self.run_checked(arrays, given)

    def run_checked(
        self, arrays: list[Array], given: list[Array | None] | None = None
    ) -> list[Array]:
        """Run the model on what `check` returned.

        Args:
            arrays: Inputs in order.
            given: Arrays to write outputs to, None for fresh ones.

        Returns:
            The outputs in order.
        """
        return self._ports.results(self._executor.run(arrays, given))

    def __repr__(self) -> str:
        return f"<byoc.runtime.Session of {self.program.name!r}>"


def _default_in_flight(program: Program) -> int:
    body = program.body
    processors = {t.processor for t in body.tasks} if isinstance(body, Plan) else {"cpu"}
    return max(2, sum(device_count(p) * max(2, queue_depth(p) + 1) for p in processors))
