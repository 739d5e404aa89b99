"""`Executable`: a compiled model as users hold it, and `load`.

    byoc.compile ──▶ Runner ──▶ Executable ──save──▶ model.byoc ──load──▶ Executable

An executable forwards every call to its runner (`byoc.runners`), of which there is one per way of
compiling. Nothing here imports TVM: a deployed model needs tvm-ffi and byoc's runtime only.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byoc.errors import ArtifactError, InputError
from byoc.runners import Overrides, Runner, loaded_runner
from byoc.runtime import Fault, Future, Healing, Memory, Profile, load_program, save_program
from byoc.runtime.isolation.processes import IsolateSpec, resolve_isolation
from byoc.runtime.program import REPORT_MEMBER, Program
from byoc.segment import Array, PortType
from byoc.support.arguments import check_kind, check_number, check_path
from byoc.support.internal_errors import expect_no_foreign, refuse_foreign
from byoc.vendor import Runtime

if TYPE_CHECKING:
    from byoc.build.readiness import Readiness
    from byoc.report.partition_report import PartitionReport
    from byoc.specialise.options import Specialisations

__all__ = ["Executable", "load"]


class Executable:
    """A compiled model: call it, ask it where each op went, save it.

    It may be called from several threads at once. `submit`, `map` and `acall` keep several requests
    in flight, so that processors work at the same time.

    Args:
        runner: answers the calls.
        report: where every op went; None: the one that the program carries.
        overrides: what answers calls that give inputs which have a default; None: there are none.
    """

    def __init__(
        self,
        runner: Runner,
        report: PartitionReport | None = None,
        overrides: Overrides | None = None,
    ) -> None:
        self._runner = runner
        self._report = report
        self._overrides = overrides

    @property
    def _program(self) -> Program:
        return self._runner.program

    @property
    def name(self) -> str:
        """The model's name."""
        return self._program.name

    @property
    def inputs(self) -> tuple[PortType, ...]:
        """Names and types of the inputs, in order; last those that may be left out (`defaults`)."""
        return (*self._program.inputs, *self.defaults)

    @property
    def defaults(self) -> tuple[PortType, ...]:
        """The inputs that have a default, as stored tensors of ONNX that the graph lists.

        The model is compiled once more when one is first given. A saved file holds the defaults
        for good.
        """
        return () if self._overrides is None else self._overrides.ports

    def _answering(self, inputs: tuple[Any, ...]) -> tuple[Runner, tuple[Any, ...]]:
        """The runner of a call, and what it is given."""
        chosen = None if self._overrides is None else self._overrides.chosen(inputs)
        return (self._runner, inputs) if chosen is None else chosen

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
        return self._runner.memory

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse to be copied or pickled: compiled code has no second life in memory."""
        raise ArtifactError(
            f"model {self.name!r}: an executable holds compiled code and cannot be copied or "
            f"pickled; save it with save(path) and open it with byoc.load(path). One executable "
            f"serves any number of threads"
        )

    def __call__(self, *inputs: Any) -> Array | tuple[Array, ...]:
        """Run on inputs given in order.

        Args:
            inputs: numpy arrays, or anything on the CPU that speaks DLPack, of the types that
                `inputs` tells. They are read in place where their layout allows it.

        Returns:
            One fresh numpy array, or a tuple of them when the model has several outputs.

        Raises:
            InputError: an input is missing, or has another shape or dtype.
            ExecutionError: a task fails and no host fallback makes it good.

        Examples:
            >>> exe(x).shape
            (1, 10)
        """
        try:
            runner, inputs = self._answering(inputs)
            results = runner.run_positional(inputs)
        except Exception as error:
            refuse_foreign(error, self.name, "running")
            raise
        return results[0] if len(results) == 1 else tuple(results)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Run on inputs given by name.

        Args:
            inputs: name → array, all of them; see `__call__`.

        Returns:
            Name of an output → a fresh numpy array.

        Raises:
            InputError: an input is missing, unknown, or has another shape or dtype.
            ExecutionError: a task fails and no host fallback makes it good.

        Examples:
            >>> exe.run({"input": x})["output"].shape
            (1, 10)
        """
        try:
            runner, (inputs,) = self._answering((inputs,))
            return runner.run(inputs)
        except Exception as error:
            refuse_foreign(error, self.name, "running")
            raise

    def submit(
        self, *inputs: Any, deadline: float | None = None, timeout: float | None = None
    ) -> Future:
        """Begin a request and return at once.

        Args:
            inputs: as for a call, or one mapping by name (the future then gives a dict). They are
                read until the future is done: do not write to them meanwhile.
            deadline: seconds from now, after which the future raises `DeadlineError` and what has
                not begun is left out; None: as long as it takes.
            timeout: seconds to wait while `max_in_flight` requests are on their way; None: as long
                as it takes.

        Returns:
            A `concurrent.futures.Future`, which can be awaited; ``cancel()`` drops the request. Its
            result is what a call returns, its exception what a call raises.

        Raises:
            InputError: an input is missing, or has another shape or dtype.
            QueueFullError: no request ended within `timeout`.

        Examples:
            >>> future = exe.submit(x)
            >>> future.result().shape
            (1, 10)
        """
        with expect_no_foreign(self.name, "running"):
            runner, inputs = self._answering(inputs)
            return runner.submit(*inputs, deadline=deadline, timeout=timeout)

    async def acall(self, *inputs: Any, deadline: float | None = None) -> Any:
        """Do what `submit` does for asyncio: wait without blocking the event loop.

        Args:
            inputs: as for `submit`.
            deadline: seconds from now, after which `DeadlineError` is raised.

        Returns:
            What a call returns, or a dict for one mapping by name.

        Raises:
            InputError: an input is missing, or has another shape or dtype.
            ExecutionError: a task fails and no host fallback makes it good.

        Examples:
            >>> import asyncio
            >>> asyncio.run(exe.acall(x)).shape
            (1, 10)
        """
        with expect_no_foreign(self.name, "running"):
            runner, inputs = self._answering(inputs)
            return await runner.acall(*inputs, deadline=deadline)

    def map(
        self, inputs: Iterable[Any], *, deadline: float | None = None
    ) -> Generator[Any, None, None]:
        """Answer many inputs in order, `max_in_flight` of them on their way at a time.

        Args:
            inputs: an array each (models with one input), a tuple of arrays, or a mapping by name;
                taken from the iterable as requests end.
            deadline: seconds for each request.

        Returns:
            A generator of what a call returns, or of dicts for mappings.

        Raises:
            InputError: an input does not fit; raised where its answer would come.
            ExecutionError: a task fails and no host fallback makes it good.

        Examples:
            >>> [y.shape for y in exe.map([x, x])]
            [(1, 10), (1, 10)]
        """
        return self._runner.map(inputs, deadline=deadline)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Calls of segments that failed at run time and were made good by their host fallbacks."""
        return self._runner.faults

    @property
    def ready(self) -> Readiness:
        """Which segments run on their engines; true when no engine is being built any more.

        Only ``byoc.compile(…, background=True)`` gives an executable that is not ready at once.
        """
        return self._runner.ready

    @property
    def workers(self) -> tuple[tuple[str, int], ...]:
        """Vendor and process id of every worker process that runs (see ``isolate``)."""
        return self._runner.workers

    def wait(self, timeout: float | None = None) -> Readiness:
        """Wait until no engine or plan is being built.

        Args:
            timeout: seconds to wait at most; None: as long as it takes.

        Returns:
            What `ready` tells then: engines only. What became of plans is in `specialisations`.

        Examples:
            >>> bool(exe.wait(60))
            True
        """
        if timeout is not None:
            check_number("timeout", timeout, InputError)
        return self._runner.wait(timeout)

    @property
    def specialisations(self) -> Specialisations:
        """The plans for concrete shapes of a model with symbolic ones: hits, misses, evictions.

        Empty unless it was compiled with ``specialise``.
        """
        return self._runner.specialisations

    def close(self) -> None:
        """Stop what goes on in the background: engines still to come are not built any more.

        The executable can be called on: segments without an engine stay on their host fallbacks,
        and worker processes of vendors out of process, which end now, start again.

        Nothing is waited for, and it may be called twice.

        Examples:
            >>> exe.close()
            >>> exe(x).shape
            (1, 10)
        """
        self._runner.close()

    @property
    def max_in_flight(self) -> int:
        """Requests on their way at once; `submit` waits beyond. May be set before the first."""
        return self._runner.max_in_flight

    @max_in_flight.setter
    def max_in_flight(self, limit: int) -> None:
        self._runner.max_in_flight = limit

    def profile(self, *inputs: Any, requests: int = 1, warmup: int = 1) -> Profile:
        """Run and keep the times of every task.

        Args:
            inputs: as for a call, or one mapping by name.
            requests: how many to run, `max_in_flight` on their way at a time: more than one shows
                the overlap of processors.
            warmup: requests before, not counted.

        Returns:
            The times of all tasks; it draws a table, JSON and a Chrome trace.

        Raises:
            InputError: an input does not fit, or `requests` or `warmup` is too small.
            ExecutionError: a task fails and no host fallback makes it good.

        Examples:
            >>> print(exe.profile(x).table())  # doctest: +ELLIPSIS
            mlp: 1 request(s), ...
        """
        with expect_no_foreign(self.name, "running"):
            runner, inputs = self._answering(inputs)
            return runner.profile(*inputs, requests=requests, warmup=warmup)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as one file, whole or not at all; waits for engines being built.

        Args:
            path: the file, by custom ``….byoc``; one that exists is replaced.

        Raises:
            ArtifactError: the file cannot be written, or an engine is missing because it failed to
                build.

        Examples:
            >>> exe.save(folder / "model.byoc")
            >>> byoc.load(folder / "model.byoc")(x).shape
            (1, 10)
        """
        check_path("path", path)
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
        with expect_no_foreign(self.name, "saving"):
            save_program(self._runner.saved_program(), Path(path))

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

    Args:
        path: the file.
        heal: None: host fallbacks and their limits as the file says; False: none, a failing segment
            is an ExecutionError; a `byoc.runtime.Healing`: other limits.
        isolate: vendors that run out of process. None: as the file says; True: all; False: none; a
            list of names: these; a `byoc.runtime.Isolation`: limits.
        require_signature: PEM file of the ed25519 public key that the file must be signed with.

    Returns:
        The model, in memory and ready to be called. Nothing of TVM is needed for it.

    Raises:
        ArtifactError: the file is damaged, not signed as required, or not made for this machine.
        VendorError: a vendor of the file is not installed.
        OptionError: `path` is none, the key is none, or `isolate` names a vendor that there is not.

    Examples:
        >>> exe.save(folder / "model.byoc")
        >>> loaded = byoc.load(folder / "model.byoc")
        >>> loaded.name
        'mlp'
    """
    check_path("path", path)
    if require_signature is not None:
        check_path("require_signature", require_signature)
    if heal is not None:
        check_kind("heal", heal, (bool, Healing), "True, False or a byoc.runtime.Healing")
    with expect_no_foreign(str(path), "loading"):
        key = None if require_signature is None else Path(require_signature)
        whole = load_program(Path(path), _find_runtime, require_signature=key)
        return Executable(loaded_runner(_adapted(whole, heal, isolate)))


def _adapted(program: Program, heal: bool | Healing | None, isolate: IsolateSpec) -> Program:
    """The program, and its plans, with what a user wants otherwise than the file says."""
    changes: dict[str, Any] = {}
    if heal is False:
        changes["twins"] = {}
    elif isinstance(heal, Healing):
        changes["healing"] = heal
    if isolate is not None:
        changes["isolation"] = resolve_isolation(isolate, program.vendors)
    if not changes:
        return program  # the very value: equal files that are loaded are mapped once
    plans = tuple((sizes, _adapted(plan, heal, isolate)) for sizes, plan in program.shapes)
    return replace(program, **changes, shapes=plans)


def _find_runtime(vendor: str) -> Runtime:
    from byoc.plugins.discovery import find

    return find(vendor).runtime
