"""The segments of a session as functions: in process or out of it, a host twin behind or not.

::

    artifact ──▶ vendor, in this process ─┐
            └──▶ vendor, in a worker     ─┼─▶ guard (twin behind it) ──▶ the plan calls this
                 refused, or still to come ─▶ twin alone
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from byoc.errors import ArtifactError, OptionError, VendorError, choices
from byoc.runtime import vendor_runtimes as vendors
from byoc.runtime.fallback import Fault, FaultLog, Slot, check_limits, guard, twin_function
from byoc.runtime.isolation.processes import Workers
from byoc.runtime.plan import Plan
from byoc.runtime.program import Program
from byoc.segment import Artifact
from byoc.vendor import NativeRuntime, PythonRuntime

__all__ = ["Binder"]


class Binder:
    """Makes the functions of a program's segments.

    late: segments that are twins behind a slot until their engine comes.
    """

    def __init__(
        self, program: Program, host: Any, log: FaultLog, late: Collection[str] = ()
    ) -> None:
        self._program, self._host, self._log, self._late = program, host, log, late
        self._outputs = program.output_counts
        self.slots: dict[str, Slot] = {}
        self.bounds: list[vendors.Bound] = []
        self._check_names()
        alone = {*late, *program.refused}
        self.workers = Workers(
            program,
            [a for a in program.artifacts if a.segment not in alone and not self._idle(a)],
        )

    def all(self) -> dict[str, Any]:
        """Every segment by name. Raises VendorError, ArtifactError, OptionError."""
        program = self._program
        segments: dict[str, Any] = {}
        for artifact in program.artifacts:
            name = artifact.segment
            if self._idle(artifact):
                continue
            if name in program.refused:
                segments[name] = self._give_up(artifact, "build", program.refused[name])
            elif name in self._late:
                if not self.workers.isolates(artifact.vendor):
                    processor = program.vendors[artifact.vendor].processor
                    check_limits(artifact, program.healing, processor)
                slot = self.slots[name] = Slot(self._twin(name))
                segments[name] = slot.call
            else:
                segments[name] = self._bind_or_give_up(artifact)
        return segments

    @property
    def all_native(self) -> bool:
        """True when no segment cares which thread calls it.

        Those hosted in Python do (`threading.local`), and those out of process.
        """
        uses = {a.vendor: self._program.vendors[a.vendor] for a in self._program.artifacts}
        return all(
            isinstance(use.runtime, NativeRuntime) and not self.workers.isolates(vendor)
            for vendor, use in uses.items()
        )

    def bind(self, artifact: Artifact, *, heal: bool = True) -> Any:
        """One segment, its host twin behind it where it has one (and `heal`)."""
        program = self._program
        use = program.vendors[artifact.vendor]
        outputs = self._outputs.get(artifact.segment)
        twin = program.twins.get(artifact.segment) if heal else None
        healing = program.healing
        if self.workers.isolates(artifact.vendor):
            execute = self.workers.bind(artifact, healed=twin is not None)
            healing = replace(healing, deadline=None)  # kept by the worker
        else:
            execute = vendors.bind(artifact, use, outputs, self.bounds.append)
        if twin is None:
            return execute
        return guard(
            artifact, execute, self._twin(artifact.segment), twin.outputs, outputs, healing,
            use.processor, self._log,
        )  # fmt: skip

    def _twin(self, segment: str) -> Any:
        names = [artifact.segment for artifact in self._program.artifacts]
        return twin_function(self._program.twins[segment], self._host, names)

    def _bind_or_give_up(self, artifact: Artifact) -> Any:
        try:
            return self.bind(artifact)
        except VendorError as error:
            healed = artifact.segment in self._program.twins and self._program.healing.refusals
            if not healed or isinstance(error, OptionError):
                raise
            return self._give_up(artifact, "load", str(error))

    def _give_up(self, artifact: Artifact, kind: str, message: str) -> Any:
        """The twin alone, for good; said among the faults."""
        twin = self._program.twins.get(artifact.segment)
        if twin is None:
            raise VendorError(
                f"segment {artifact.segment!r} of vendor {artifact.vendor!r} was not built, and "
                f"there is no host twin to run instead: {message}"
            )
        self._log.add(Fault(artifact.segment, artifact.vendor, kind, message, 1, True))
        return self._twin(artifact.segment)

    def _idle(self, artifact: Artifact) -> bool:
        """Whether a segment is never called."""
        python = isinstance(self._program.vendors[artifact.vendor].runtime, PythonRuntime)
        return artifact.segment not in self._outputs and python and self._program.is_static

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
