"""The segments of a session as functions: in process or out of it, with a fallback or without.

In: a `Program` and its loaded host library. Out: one function for each segment, which the plan or
the VM calls by name::

    artifact ──▶ vendor, in this process ─┐
            └──▶ vendor, in a worker     ─┼─▶ guard (fallback behind it) ──▶ the plan calls this
                 refused, or still to come ─▶ fallback alone
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from byoc.errors import ArtifactError, OptionError, VendorError, choices
from byoc.runtime import vendor_runtimes as vendors
from byoc.runtime.fallback import (
    Fault,
    FaultLog,
    SwappableFunction,
    check_limits,
    fallback_function,
    guard,
)
from byoc.runtime.isolation.processes import Workers, isolates
from byoc.runtime.plan import Plan
from byoc.runtime.program import Program
from byoc.segment import Artifact
from byoc.vendor import HostRuntime, PythonRuntime

__all__ = ["Binder"]


class Binder:
    """Makes the functions of a program's segments.

    Args:
        program: The compiled model.
        host: Its host library, a `tvm_ffi.Module` or None.
        log: Where faults go.
        late: Names of segments whose engines are still to come: their fallbacks answer until then.

    Raises:
        ArtifactError: The program does not hold together.
        VendorError: A vendor cannot run out of process.
    """

    def __init__(
        self, program: Program, host: Any, log: FaultLog, late: Collection[str] = ()
    ) -> None:
        self._program, self._host, self._log, self._late = program, host, log, late
        self._outputs = program.output_counts
        self.late_functions: dict[str, SwappableFunction] = {}
        self.bounds: list[vendors.Bound] = []
        self._check_names()
        self._check_isolation()
        self._missing = self._check_requirements()
        alone = {*late, *program.refused, *self._missing}
        self.workers = Workers(
            program,
            [a for a in program.artifacts if a.segment not in alone and not self._idle(a)],
        )

    def all(self) -> dict[str, Any]:
        """Return the functions of all segments that are ever called, by name.

        Raises:
            VendorError: A vendor's runtime is missing or refuses a segment that has no fallback.
            ArtifactError: A fallback does not fit its segment.
            OptionError: A segment cannot have the deadline asked for.
        """
        program = self._program
        segments: dict[str, Any] = {}
        for artifact in program.artifacts:
            name = artifact.segment
            if self._idle(artifact):
                continue
            if name in self._missing:
                segments[name] = self._give_up(artifact, "load", self._missing[name])
            elif name in program.refused:
                segments[name] = self._give_up(artifact, "build", program.refused[name])
            elif name in self._late:
                if not self.workers.isolates(artifact.vendor):
                    processor = program.vendors[artifact.vendor].processor
                    check_limits(artifact, program.healing, processor)
                late = self.late_functions[name] = SwappableFunction(self._fallback(name))
                segments[name] = late.call
            else:
                segments[name] = self._bind_or_give_up(artifact)
        return segments

    @property
    def all_native(self) -> bool:
        """Whether no segment cares which thread calls it.

        Those hosted in Python do (`threading.local`), and those out of process.
        """
        uses = {a.vendor: self._program.vendors[a.vendor] for a in self._program.artifacts}
        return all(
            not isinstance(use.runtime, PythonRuntime) and not self.workers.isolates(vendor)
            for vendor, use in uses.items()
        )

    def bind(self, artifact: Artifact, *, heal: bool = True) -> Any:
        """Return the function of one segment.

        Args:
            artifact: The segment as its vendor compiled it.
            heal: Put the segment's fallback behind it, where it has one.

        Raises:
            VendorError: The vendor's runtime is missing or refuses the segment.
            ArtifactError: The fallback does not fit the segment.
            OptionError: The segment cannot have the deadline asked for.
        """
        program = self._program
        use = program.vendors[artifact.vendor]
        outputs = self._outputs.get(artifact.segment)
        fallback = program.twins.get(artifact.segment) if heal else None
        healing = program.healing
        if self.workers.isolates(artifact.vendor):
            execute = self.workers.bind(artifact, healed=fallback is not None)
            healing = replace(healing, deadline=None)  # kept by the worker
        else:
            ports = program.port_counts(artifact.segment)
            signature = program.signatures.get(artifact.segment)
            execute = vendors.bind(artifact, use, ports, self.bounds.append, signature)
        if fallback is None:
            return execute
        return guard(
            artifact,
            execute,
            fallback=self._fallback(artifact.segment),
            fallback_outputs=fallback.outputs,
            outputs=outputs,
            healing=healing,
            processor=use.processor,
            log=self._log,
        )

    def _fallback(self, segment: str) -> Any:
        names = [artifact.segment for artifact in self._program.artifacts]
        return fallback_function(self._program.twins[segment], self._host, names)

    def _bind_or_give_up(self, artifact: Artifact) -> Any:
        try:
            return self.bind(artifact)
        except VendorError as error:
            if not self._may_fall_back(artifact) or isinstance(error, OptionError):
                raise
            return self._give_up(artifact, "load", str(error))

    def _give_up(self, artifact: Artifact, kind: str, message: str) -> Any:
        """The fallback alone, for good; said among the faults."""
        if artifact.segment not in self._program.twins:
            raise VendorError(
                f"segment {artifact.segment!r} of vendor {artifact.vendor!r} was not built, and "
                f"there is no host twin to run instead: {message}"
            )
        self._log.add(Fault(artifact.segment, artifact.vendor, kind, message, 1, True))
        return self._fallback(artifact.segment)

    def _check_requirements(self) -> dict[str, str]:
        """Segments that this machine lacks something for, before any of them is loaded."""
        found = {}
        for artifact in self._program.artifacts:
            if artifact.segment in self._program.refused:
                continue
            runtime = self._program.vendors[artifact.vendor].runtime
            # One out of process is asked there.
            missing = vendors.missing_here(
                artifact, None if isolates(self._program.isolation, artifact.vendor) else runtime
            )
            if missing and not self._may_fall_back(artifact):
                raise VendorError(missing)
            if missing:
                found[artifact.segment] = missing
        return found

    def _may_fall_back(self, artifact: Artifact) -> bool:
        return artifact.segment in self._program.twins and self._program.healing.refusals

    def _idle(self, artifact: Artifact) -> bool:
        """Whether a segment is never called."""
        if self._is_in_plan(artifact):
            return True
        python = isinstance(self._program.vendors[artifact.vendor].runtime, PythonRuntime)
        return artifact.segment not in self._outputs and python and self._program.is_static

    def _is_in_plan(self, artifact: Artifact) -> bool:
        """Whether the kernels of a segment are called by the model itself."""
        use = self._program.vendors[artifact.vendor]
        alone = {*self._program.twins, *self._program.refused, *self._late}
        bare = not artifact.blob and artifact.segment not in alone
        return bare and isinstance(use.runtime, HostRuntime)

    def _check_isolation(self) -> None:
        for artifact in self._program.artifacts:
            if self._is_in_plan(artifact) and isolates(self._program.isolation, artifact.vendor):
                raise VendorError(
                    f"vendor {artifact.vendor!r} cannot run out of process: the kernels of segment "
                    f"{artifact.segment!r} were compiled into the model; compile it with isolate="
                )

    def _check_names(self) -> None:
        program = self._program
        names: set[str] = set()
        for artifact in program.artifacts:
            if artifact.vendor not in program.vendors:
                raise ArtifactError(
                    f"segment {artifact.segment!r} needs vendor {artifact.vendor!r}, "
                    f"which the program does not list"
                )
            if artifact.segment in names:
                raise ArtifactError(f"two segments are called {artifact.segment!r}")
            names.add(artifact.segment)
        for task in program.body.tasks if isinstance(program.body, Plan) else ():
            if task.kind == "segment" and task.function not in names:
                raise ArtifactError(
                    f"the plan calls segment {task.function!r}, which the program does not have; "
                    f"{choices(task.function, names)}"
                )
