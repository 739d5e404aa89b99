"""`Session`: a program ready to run."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from byoc.errors import ArtifactError, InputError
from byoc.report.profile import Profile
from byoc.runtime.binding import Binder
from byoc.runtime.fallback import Fault, FaultLog
from byoc.runtime.host_library import share_host
from byoc.runtime.memory import Memory, account
from byoc.runtime.native import (
    as_tensor,
    from_tensor,
    function,
    num_threads,
    with_address,
)
from byoc.runtime.plan import Plan, encode_plan
from byoc.runtime.ports import Inputs
from byoc.runtime.program import Program
from byoc.runtime.request_queue import Desk, Done, Future
from byoc.runtime.trace import make_profile
from byoc.segment import Array, Artifact
from byoc.support.dtypes import numpy_dtype
from byoc.support.memory import is_aligned

__all__ = ["Session"]

Then = Callable[[list[Array]], list[Array]]


class Session:
    """Holds the vendors' segments and the host library in memory, and runs the model.

    Inputs are numpy arrays or anything on the CPU that speaks DLPack. They are used in place
    when dense (and 64-byte aligned, where a host kernel reads them), else copied; results are
    fresh numpy arrays. Calls from several threads are safe; work on one processor is done one
    call after the other, sessions taking turns.

    `submit` and `map` keep several requests in flight, each with buffers of its own, so that the
    stages of a plan on several processors overlap. max_in_flight: how many at most; `submit` waits
    when there are as many. Default: twice the number of processors, at least 2.

    late: segments whose engines are still to come; their host twins answer until `install`.
    log: where faults go (several sessions of one model share one).

    Raises VendorError when a vendor's runtime is missing or refuses a segment, ArtifactError
    when the program does not hold together.
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
        self._program_lock = threading.Lock()
        self._desk: Desk | None = None
        self._desk_lock = threading.Lock()
        self.max_in_flight = _default_in_flight(program) if max_in_flight is None else max_in_flight
        self._ports = Inputs(program.inputs, program.outputs)
        self._nothing_given: list[Array | None] = [None] * len(program.outputs)
        num_threads()  # a bad environment variable is reported here
        body = program.body
        self._host = share_host(program.host, vm=not isinstance(body, Plan))
        host = self._host.module
        self._faults = FaultLog() if log is None else log
        self._binder = Binder(program, host, self._faults, late)
        segments = self._binder.all()
        constants = [as_tensor(array) for array in program.constants]
        owners = {a.segment: a.vendor for a in program.artifacts}
        if isinstance(body, Plan):
            _check_ports(program, body)
            self._allocators = [
                function("Allocator")(port.type.shape, port.type.dtype) for port in program.outputs
            ]
            executor = function("Executor")(encode_plan(body), host, segments, owners, constants)
        else:
            if host is None:
                raise ArtifactError(
                    f"model {program.name!r} runs on the VM but has no host library"
                )
            self._constants = constants
            names = [name for name in owners if name in segments]
            executor = function("VmExecutor")(host, segments, names, owners, body.entry)
        here = isinstance(body, Plan) and self._binder.all_native
        self._execute = executor["run_anywhere" if here else "run"]
        self._open = executor["open"]

    @property
    def log(self) -> FaultLog:
        """Where this session's faults go."""
        return self._faults

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Calls of segments that failed and were made good by their host twins."""
        return self._faults.all()

    @property
    def memory(self) -> Memory:
        """What the session's memory consists of; known before the first run."""
        return account(self.program, self._binder.bounds)

    @property
    def workers(self) -> tuple[tuple[str, int], ...]:
        """Vendor and process id of every worker process that runs (`Program.isolation`)."""
        return self._binder.workers.pids

    def close(self) -> None:
        """End the worker processes of vendors out of process; the next call starts them again.

        Waits for nothing: a process ends after the call that runs in it.
        """
        self._binder.workers.stop()

    def install(self, artifact: Artifact, *, heal: bool = True) -> None:
        """The engine of a late segment takes over from its host twin.

        Calls that run end on the twin, those after this returns run on the engine. heal: the twin
        stays behind it, for calls that fail. Raises VendorError when the vendor cannot load it.
        """
        self._binder.slots[artifact.segment].set(self._binder.bind(artifact, heal=heal))
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
        """The engine of a late segment will not come: its host twin stays, and `faults` tells."""
        self._faults.add(Fault(segment, vendor, "build", message, 1, True))

    @property
    def max_in_flight(self) -> int:
        """Requests on their way at once; `submit` waits beyond."""
        return self._max_in_flight

    @max_in_flight.setter
    def max_in_flight(self, limit: int) -> None:
        if limit < 1:
            raise InputError(f"max_in_flight must be 1 or more, found {limit}")
        self._max_in_flight = limit
        if self._desk is not None:
            self._desk.limit = limit

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
        """Run on inputs by name; returns all outputs by name.

        outputs: (optional) C-contiguous arrays that results are written to, by name.
        Raises InputError, which says what was expected and found; ExecutionError when a task fails.
        """
        results = self._run(self._ports.ordered(inputs), outputs)
        return dict(zip(self._ports.output_names, results, strict=True))

    def run_positional(self, inputs: Sequence[Any]) -> list[Array]:
        """Run on inputs in order; returns the outputs in order. Raises as `run`."""
        return self._run(inputs, None)

    def __call__(self, *inputs: Any) -> Array | tuple[Array, ...]:
        """`run_positional`; one array when the model has one output, else a tuple."""
        results = self._run(inputs, None)
        return results[0] if len(results) == 1 else tuple(results)

    # -- several at once ------------------------------------------------------------------------

    def submit(
        self, *inputs: Any, deadline: float | None = None, timeout: float | None = None
    ) -> Future:
        """Begin a request; its future gives what `__call__` returns (`run` for one mapping).

        Inputs are read until the future is done: do not write to them meanwhile. Waits while
        `max_in_flight` requests are on their way, `timeout` seconds at most (QueueFullError).
        deadline: seconds from now; then the future raises DeadlineError. Raises InputError.
        """
        arrays, named = self.check(inputs)
        return self.submit_checked(arrays, named, deadline=deadline, timeout=timeout)

    async def acall(self, *inputs: Any, deadline: float | None = None) -> Any:
        """`submit` and await; waits for its slot without blocking the event loop."""
        arrays, named = self.check(inputs)
        return await self.acall_checked(arrays, named, deadline=deadline)

    def check(self, inputs: Sequence[Any]) -> tuple[list[Array], bool]:
        """Inputs in order, or one mapping by name, as arrays that fit; and whether by name.

        Raises InputError.
        """
        named = len(inputs) == 1 and isinstance(inputs[0], Mapping)
        values = self._ports.ordered(inputs[0]) if named else inputs
        return self._ports.check(values), named

    def check_positional(self, values: Sequence[Any]) -> list[Array]:
        """Inputs in order as arrays that fit. Raises InputError."""
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
        """`submit` of what `check` gave. then: what to make of the outputs, in order."""
        desk = self._get_desk()
        desk.wait_for_slot(timeout)
        return self._start(desk, arrays, named, deadline, then=then)

    async def acall_checked(
        self,
        arrays: list[Array],
        named: bool,
        *,
        deadline: float | None = None,
        then: Then | None = None,
    ) -> Any:
        """`acall` of what `check` gave."""
        import asyncio

        desk = self._get_desk()
        slot = desk.slot()
        try:
            await asyncio.wrap_future(slot)
        except BaseException:
            if not slot.cancelled() and not slot.cancel():
                desk.release()
            raise
        return await self._start(desk, arrays, named, deadline, then=then)

    def map(
        self,
        inputs: Iterable[Any],
        *,
        deadline: float | None = None,
        submit: Callable[..., Future] | None = None,
    ) -> Generator[Any, None, None]:
        """Answers to many inputs, in order, `max_in_flight` of them on their way at a time.

        inputs: an array each (models with one input), a tuple of arrays, or a mapping by name;
        taken from the iterable as slots become free. deadline: of each request. submit: what
        begins a request, by default this session's.
        """
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
        """Run and keep the times of every task.

        requests: how many to have in flight one after the other, `max_in_flight` at a time; more
        than one shows how they overlap. warmup: requests before, not counted.
        """
        if requests < 1 or warmup < 0:
            raise InputError(f"profile takes requests >= 1, warmup >= 0: {requests}, {warmup}")
        arrays, named = self.check(inputs)
        desk = self._get_desk()
        traces: list[Any] = []
        waiting: deque[Future] = deque()
        for number in range(warmup + requests):
            if number == warmup:
                while waiting:
                    waiting.popleft().result()
            desk.wait_for_slot(None)
            keep = traces.append if number >= warmup else None
            waiting.append(self._start(desk, arrays, named, None, keep))
        while waiting:
            waiting.popleft().result()
        return make_profile(self.program, traces)

    def _get_desk(self) -> Desk:
        desk = self._desk
        if desk is not None and desk.pid == os.getpid():
            return desk
        with self._desk_lock:
            desk = self._desk
            if desk is None or desk.pid != os.getpid():
                desk = self._desk = Desk(self._open, self.max_in_flight)
                weakref.finalize(self, desk.close).atexit = False
            return desk

    def _start(
        self,
        desk: Desk,
        arrays: list[Array],
        named: bool,
        deadline: float | None,
        keep: Callable[[Any], None] | None = None,
        then: Then | None = None,
    ) -> Future:
        dtypes, names = self._ports.output_dtypes, self._ports.output_names
        static, name = self.program.is_static, self.program.name
        places: list[Any] = []
        try:
            if static:
                places = [allocate() for allocate in self._allocators]
                args = (*map(with_address, arrays), *places)
            else:
                args = (*map(_aligned_tensor, arrays), *self._constants)
        except BaseException:
            desk.release()
            raise

        def finish(done: Done) -> Any:
            if keep is not None:
                keep(from_tensor(done.trace, numpy_dtype("int64")))
            if static:
                results = [from_tensor(p, d) for p, d in zip(places, dtypes, strict=True)]
            else:
                results = _results(done.results, dtypes, name)
            results = self._ports.results(results)
            if then is not None:
                results = then(results)
            if named:
                return dict(zip(names, results, strict=True))
            return results[0] if len(results) == 1 else tuple(results)

        kept = (arrays, places, args)
        return desk.start(args, kept, finish, deadline, traced=keep is not None)

    def _run(self, values: Sequence[Any], outputs: Mapping[str, Array] | None) -> list[Array]:
        arrays = self._ports.check(values)
        given = self._ports.check_outputs(outputs) if outputs else None
        return self.run_checked(arrays, given)

    def run_checked(
        self, arrays: list[Array], given: list[Array | None] | None = None
    ) -> list[Array]:
        """Run on what `check` gave. given: arrays to write outputs to, None for fresh ones."""
        if self.program.is_static:
            return self._ports.results(self._run_plan(arrays, given))
        return self._ports.results(self._run_vm(arrays, given))

    def _run_plan(self, arrays: list[Array], given: list[Array | None] | None) -> list[Array]:
        given = given or self._nothing_given
        places = [
            allocate() if array is None else with_address(array)
            for allocate, array in zip(self._allocators, given, strict=True)
        ]
        self._execute(*map(with_address, arrays), *places)
        return [
            from_tensor(place, dtype) if array is None else array
            for place, array, dtype in zip(places, given, self._ports.output_dtypes, strict=True)
        ]

    def _run_vm(self, arrays: list[Array], given: list[Array | None] | None) -> list[Array]:
        tensors = self._execute(*map(_aligned_tensor, arrays), *self._constants)
        results = _results(tensors, self._ports.output_dtypes, self.program.name)
        for i, array in enumerate(given or ()):
            if array is not None:
                array[...] = results[i]
                results[i] = array
        return results

    def __repr__(self) -> str:
        return f"<byoc.runtime.Session of {self.program.name!r}>"


def _default_in_flight(program: Program) -> int:
    body = program.body
    processors = {t.processor for t in body.tasks} if isinstance(body, Plan) else {"cpu"}
    return max(2, 2 * len(processors))


def _check_ports(program: Program, plan: Plan) -> None:
    """The plan's ports are those the program declares."""
    for kind, ports, declared in (
        ("input", plan.inputs, program.inputs),
        ("output", plan.outputs, program.outputs),
    ):
        if [p.name for p in ports] != [d.name for d in declared]:
            raise ArtifactError(
                f"{kind}s of the plan ({', '.join(p.name for p in ports)}) and of the model "
                f"({', '.join(d.name for d in declared)}) differ"
            )
        for port, wanted in zip(ports, declared, strict=True):
            tensor = plan.tensors[port.tensor] if 0 <= port.tensor < len(plan.tensors) else None
            if tensor is None or (tensor.shape, tensor.dtype) != (
                wanted.type.shape,
                wanted.type.dtype,
            ):
                raise ArtifactError(
                    f"{kind} {port.name!r} is {wanted.type} in the model, "
                    f"but not in the plan: {tensor}"
                )


def _aligned_tensor(array: Array) -> Any:
    """An input for the VM, whose kernels assume 64-byte alignment and do not check."""
    tensor = as_tensor(array)
    return tensor if is_aligned(array) else function("copy")(tensor)


def _results(tensors: Sequence[Any], dtypes: Sequence[Any], name: str) -> list[Array]:
    if len(tensors) != len(dtypes):
        raise ArtifactError(
            f"model {name!r}: the VM returned {len(tensors)} tensors, expected {len(dtypes)}"
        )
    return [from_tensor(t, dtype) for t, dtype in zip(tensors, dtypes, strict=True)]
