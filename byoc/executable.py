"""`Executable`: a compiled model as users hold it, and `load`.

Nothing here imports TVM: a deployed model needs tvm-ffi and byoc's runtime only.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byoc.errors import ArtifactError
from byoc.runtime import (
    Fault,
    Future,
    Healing,
    Memory,
    Profile,
    Session,
    load_program,
    save_program,
)
from byoc.runtime.isolation.processes import IsolateSpec, resolve_isolation
from byoc.runtime.program import PortType, Program
from byoc.segment import Array
from byoc.vendor import NativeRuntime, PythonRuntime

if TYPE_CHECKING:
    from byoc.build.background import Builds, Readiness
    from byoc.partition import PartitionReport
    from byoc.specialise import Shapes, Specialisations

__all__ = ["REPORT_MEMBER", "Executable", "load"]

REPORT_MEMBER = "report.json"


class Executable:
    """A compiled model: call it, ask it where each op went, save it.

    It may be called from several threads at once. `submit`, `map` and `acall` keep several requests
    in flight, so that processors work at the same time.
    """

    def __init__(
        self,
        program: Program,
        report: PartitionReport | None = None,
        *,
        session: Session | None = None,
        builds: Builds | None = None,
        shapes: Shapes | None = None,
    ) -> None:
        self._report = report
        self._session = Session(program) if session is None else session
        self._builds = builds
        if builds is not None:
            weakref.finalize(self, builds.close)
        self._shapes = shapes
        if shapes is not None:
            weakref.finalize(self, shapes.close)

    @property
    def _program(self) -> Program:
        return self._session.program

    @property
    def name(self) -> str:
        """The model's name."""
        return self._program.name

    @property
    def inputs(self) -> tuple[PortType, ...]:
        """Names and types of the inputs, in order."""
        return self._program.inputs

    @property
    def outputs(self) -> tuple[PortType, ...]:
        """Names and types of the outputs, in order."""
        return self._program.outputs

    @cached_property
    def report(self) -> PartitionReport:
        """Place, segment and reasons of every op (also of a loaded artifact)."""
        report = self._report
        if report is None:
            from byoc.report import report_from_json

            data = self._program.extras.get(REPORT_MEMBER)
            if data is None:
                raise ArtifactError(
                    f"model {self.name!r}: this artifact carries no partition report"
                )
            report = report_from_json(data.decode())
        return replace(report, peak_bytes=self.memory.peak_bytes)

    @property
    def memory(self) -> Memory:
        """Bytes of weights, packed weights, workspace, inputs and outputs; known before a run."""
        return self._session.memory

    def __call__(self, *inputs: Any) -> Array | tuple[Array, ...]:
        """Run on inputs given in order (numpy arrays or anything that speaks DLPack).

        Returns one array, or a tuple of them when the model has several outputs.
        Raises InputError, ExecutionError.
        """
        if self._shapes is None:
            results = self._session.run_positional(inputs)
        else:
            results = self._shapes.run(self._session.check_positional(inputs))
        return results[0] if len(results) == 1 else tuple(results)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Run on inputs given by name; returns the outputs by name.

        Raises InputError on a wrong count, name, shape or dtype, ExecutionError when a task fails.
        """
        if self._shapes is None:
            return self._session.run(inputs)
        results = self._shapes.run(self._session.check((inputs,))[0])
        return dict(zip(self._session.output_names, results, strict=True))

    def submit(
        self, *inputs: Any, deadline: float | None = None, timeout: float | None = None
    ) -> Future:
        """Begin a request and return at once: a `concurrent.futures.Future`, which can be awaited.

        inputs: as for a call, or one mapping by name (the future then gives a dict). They are read
        until the future is done: do not write to them meanwhile.
        deadline: seconds from now, after which the future raises `DeadlineError` and what has
        not begun is left out. timeout: seconds to wait while `max_in_flight` requests are on their
        way; `QueueFullError` then. ``future.cancel()`` drops a request.
        Raises InputError; the future raises ExecutionError.
        """
        if self._shapes is None:
            return self._session.submit(*inputs, deadline=deadline, timeout=timeout)
        arrays, named = self._session.check(inputs)
        choice = self._shapes.choose(arrays)
        return choice.session.submit_checked(
            choice.arrays, named, deadline=deadline, timeout=timeout, then=choice.then
        )

    async def acall(self, *inputs: Any, deadline: float | None = None) -> Any:
        """`submit` for asyncio: waits for its turn and its answer without blocking the loop."""
        if self._shapes is None:
            return await self._session.acall(*inputs, deadline=deadline)
        arrays, named = self._session.check(inputs)
        choice = self._shapes.choose(arrays)
        return await choice.session.acall_checked(
            choice.arrays, named, deadline=deadline, then=choice.then
        )

    def map(
        self, inputs: Iterable[Any], *, deadline: float | None = None
    ) -> Generator[Any, None, None]:
        """Answers to many inputs, in order, `max_in_flight` of them on their way at a time.

        inputs: an array each (models with one input), a tuple of arrays, or a mapping by name.
        """
        return self._session.map(inputs, deadline=deadline, submit=self.submit)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Calls of segments that failed at run time and were made good by their host twins."""
        return self._session.faults

    @property
    def ready(self) -> Readiness:
        """Which segments run on their engines; true when no engine is being built any more.

        Only ``byoc.compile(…, background=True)`` gives an executable that is not ready at once.
        """
        if self._builds is not None:
            return self._builds.readiness()
        from byoc.build.background import Readiness, SegmentState

        artifacts = self._program.artifacts
        return Readiness(tuple(SegmentState(a.segment, a.vendor, "ready") for a in artifacts))

    @property
    def workers(self) -> tuple[tuple[str, int], ...]:
        """Vendor and process id of every worker process that runs (see ``isolate``)."""
        return self._session.workers

    def wait(self, timeout: float | None = None) -> Readiness:
        """Wait until no engine or plan is being built, `timeout` seconds at most.

        Returns `ready`: engines only. What became of plans is in `specialisations`.
        """
        if self._shapes is not None:
            self._shapes.wait(timeout)
        return self.ready if self._builds is None else self._builds.wait(timeout)

    @property
    def specialisations(self) -> Specialisations:
        """The plans for concrete shapes of a model with symbolic ones: hits, misses, evictions.

        Empty unless it was compiled with ``specialise``.
        """
        if self._shapes is not None:
            return self._shapes.statistics()
        from byoc.specialise import Specialisations

        return Specialisations()

    def close(self) -> None:
        """Stop what goes on in the background: engines still to come are not built any more.

        The executable can be called on: segments without an engine stay on their host twins, and
        worker processes of vendors out of process, which end now, start again.
        """
        if self._builds is not None:
            self._builds.close()
        if self._shapes is not None:
            self._shapes.close()
        self._session.close()

    @property
    def max_in_flight(self) -> int:
        """Requests on their way at once; `submit` waits beyond. May be set before the first."""
        return self._session.max_in_flight

    @max_in_flight.setter
    def max_in_flight(self, limit: int) -> None:
        for session in [self._session] if self._shapes is None else self._shapes.sessions():
            session.max_in_flight = limit

    def profile(self, *inputs: Any, requests: int = 1, warmup: int = 1) -> Profile:
        """Run and keep the times of every task: ``print(exe.profile(x).table())``.

        requests: how many, `max_in_flight` on their way at a time: more than one shows the overlap.
        warmup: requests before, not counted. See `byoc.runtime.Profile` for JSON and Chrome trace.
        """
        if self._shapes is None:
            return self._session.profile(*inputs, requests=requests, warmup=warmup)
        choice = self._shapes.choose(self._session.check(inputs)[0])
        return choice.session.profile(*choice.arrays, requests=requests, warmup=warmup)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as one file, whole or not at all; waits for engines being built.

        Raises ArtifactError, also when an engine is missing because it failed to build.
        """
        ready = self.wait()
        missing = [s for s in ready.segments if s.state != "ready"]
        if missing:
            state = missing[0]
            why = f"failed to build: {state.message}" if state.message else "was not built (closed)"
            raise ArtifactError(
                f"cannot save {self.name!r}: the engine of segment {state.name!r} of vendor "
                f"{state.vendor!r} {why}; {len(missing)} of {len(ready.segments)} segments run on "
                f"their host twins. Compile again, without the vendor if it fails again"
            )
        save_program(self._whole_program(), Path(path))

    def _whole_program(self) -> Program:
        """The program with the plans that are saved with it."""
        if self._shapes is None:
            return self._program
        options = self._shapes.options
        return replace(
            self._program,
            shapes=tuple((sizes, s.program) for sizes, s in self._shapes.prepared()),
            buckets={dim: tuple(sizes) for dim, sizes in options.buckets.items()},
            fill=options.fill,
        )

    def __repr__(self) -> str:
        ports = ", ".join(map(str, self.inputs))
        return f"<byoc.Executable {self.name}({ports}), {len(self._program.artifacts)} segments>"


def load(
    path: str | os.PathLike[str],
    *,
    heal: bool | Healing | None = None,
    isolate: IsolateSpec = None,
    require_signature: str | os.PathLike[str] | None = None,
) -> Executable:
    """Load a model saved by `Executable.save`.

    Verifies every member and that the file fits this machine before anything of it runs.
    heal: None: host twins and their limits as the file says; False: no twins, a failing segment is
    an ExecutionError; a `byoc.runtime.Healing`: other limits.
    isolate: vendors that run out of process: None as the file says; True all, False none, a list of
    names these, a `byoc.runtime.Isolation` (limits).
    require_signature: PEM file of the ed25519 public key the file must be signed with.
    Raises ArtifactError, VendorError when a vendor of the file is not installed, OptionError when
    the key is none.
    """
    key = None if require_signature is None else Path(require_signature)
    whole = load_program(Path(path), _find_runtime, require_signature=key)

    def adapted(program: Program) -> Program:
        if heal is False:
            program = replace(program, twins={})
        elif isinstance(heal, Healing):
            program = replace(program, healing=heal)
        if isolate is not None:
            program = replace(program, isolation=resolve_isolation(isolate, program.vendors))
        return program

    if not whole.shapes:
        return Executable(adapted(whole))
    from byoc.specialise import saved_shapes

    vm = Session(replace(adapted(whole), shapes=()))
    plans = [(sizes, Session(adapted(program), log=vm.log)) for sizes, program in whole.shapes]
    return Executable(vm.program, session=vm, shapes=saved_shapes(vm, plans))


def _find_runtime(vendor: str) -> NativeRuntime | PythonRuntime:
    from byoc.plugins.discovery import find

    return find(vendor).runtime
