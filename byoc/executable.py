"""`Executable`: a compiled model as users hold it, and `load`.

Nothing here imports TVM: a deployed model needs tvm-ffi and byoc's runtime only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byoc.errors import ArtifactError
from byoc.runtime import Session, load_program, save_program
from byoc.runtime.program import PortType, Program
from byoc.segment import Array
from byoc.vendor import NativeRuntime, PythonRuntime

if TYPE_CHECKING:
    from byoc.partition import PartitionReport

__all__ = ["REPORT_MEMBER", "Executable", "load"]

REPORT_MEMBER = "report.json"


class Executable:
    """A compiled model: call it, ask it where each op went, save it.

    It may be called from several threads at once.
    """

    def __init__(self, program: Program, report: PartitionReport | None = None) -> None:
        self._program = program
        self._report = report
        self._session = Session(program)

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
        if self._report is not None:
            return self._report
        from byoc.report import report_from_json

        data = self._program.extras.get(REPORT_MEMBER)
        if data is None:
            raise ArtifactError(f"model {self.name!r}: this artifact carries no partition report")
        return report_from_json(data.decode())

    def __call__(self, *inputs: Any) -> Array | tuple[Array, ...]:
        """Run on inputs given in order (numpy arrays or anything that speaks DLPack).

        Returns one array, or a tuple of them when the model has several outputs.
        Raises InputError, ExecutionError.
        """
        results = self._session.run_positional(inputs)
        return results[0] if len(results) == 1 else tuple(results)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Run on inputs given by name; returns the outputs by name.

        Raises InputError on a wrong count, name, shape or dtype, ExecutionError when a task fails.
        """
        return self._session.run(inputs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as one file, whole or not at all. Raises ArtifactError."""
        save_program(self._program, Path(path))

    def __repr__(self) -> str:
        ports = ", ".join(f"{port.name}: {port.type}" for port in self.inputs)
        return f"<byoc.Executable {self.name}({ports}), {len(self._program.artifacts)} segments>"


def load(path: str | os.PathLike[str]) -> Executable:
    """Load a model saved by `Executable.save`.

    Verifies every member and that the file fits this machine before anything of it runs.
    Raises ArtifactError, VendorError when a vendor of the file is not installed.
    """
    return Executable(load_program(Path(path), _find_runtime))


def _find_runtime(vendor: str) -> NativeRuntime | PythonRuntime:
    from byoc.discovery import find

    return find(vendor).runtime
