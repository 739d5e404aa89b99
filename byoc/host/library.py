"""Compile scheduled kernels to one library, and write it as a shared object.

In: PrimFuncs by name. Out: code that runs in this process, or its bytes for a file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tvm

from byoc.errors import CompileError
from byoc.host.scratch import Noting
from byoc.runtime.native import usable_processors
from byoc.runtime.program import Target
from byoc.support.last_line import last_line
from byoc.tir.features import check_features, kernel_features
from byoc.tir.target import Machine, host_machine

__all__ = ["HostLibrary", "build", "library_of"]


@dataclass(frozen=True, eq=False)
class HostLibrary:
    """Compiled host code.

    Attributes:
        executable: What TVM made; it runs in this process.
        target: The CPU it needs.
        scratch: Kernel → bytes of each workspace it asks for (see `byoc.host.scratch`).

    """

    executable: Any
    target: Target
    scratch: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def module(self) -> Any:
        """The `tvm_ffi.Module` with the kernels by name, or a Relax VM executable."""
        return getattr(self.executable, "mod", self.executable)

    @property
    def features(self) -> tuple[str, ...]:
        """CPU features the code may use, as LLVM spells them."""
        return self.target.features

    def export(self) -> bytes:
        """Return the library as the bytes of a shared object.

        Raises:
            CompileError: This machine has no C++ compiler to link with.

        """
        with tempfile.TemporaryDirectory(prefix="byoc-host-") as folder:
            path = Path(folder) / "host.so"
            try:
                self.executable.export_library(str(path))
            except Exception as error:
                raise CompileError(
                    f"cannot link the host library: {last_line(error)}; saving a model needs a "
                    f"C++ compiler: install g++ or clang++, or name one in the variable CXX"
                ) from error
            return path.read_bytes()


def library_of(executable: Any, machine: Machine, used: Iterable[str] = ()) -> HostLibrary:
    """Wrap the code that TVM compiled, together with the machine it runs on.

    Args:
        executable: What TVM's compiler returned: a module of kernels, or a Relax VM executable.
        machine: The machine it was compiled for.
        used: CPU features that its kernels need beside those of `machine`.
    """
    features = tuple(sorted({*machine.features, *used}))
    return HostLibrary(executable, Target(machine.triple, machine.cpu, features))


def build(kernels: tvm.IRModule, *, threads: int | None = None) -> HostLibrary:
    """Compile all kernels in one go.

    Args:
        kernels: PrimFuncs by name, scheduled.
        threads: Threads a parallel kernel is expected to run on; default the CPUs of this process.

    Raises:
        CompileError: LLVM refuses, or a kernel uses instructions that this CPU lacks.

    """
    machine = host_machine(threads or usable_processors())
    used = kernel_features(kernels)
    check_features(used)
    named = {
        gv.name_hint: func.with_attr("global_symbol", gv.name_hint)
        for gv, func in kernels.functions_items()
    }
    noting = Noting()
    try:
        with tvm.transform.PassContext(instruments=[noting]):
            executable = tvm.compile(tvm.IRModule(named), target=machine.target)
    except Exception as error:
        raise CompileError(
            f"TVM could not compile the {len(named)} host kernels for {machine.cpu}: "
            f"{last_line(error)}"
        ) from error
    return replace(library_of(executable, machine, used), scratch=noting.found)
