"""The two ways a program is called: as a plan, or by the Relax VM.

In: a program, its loaded host library and its segments as functions. Out: an object with one
interface for both bodies, so that a `Session` does not ask which it has::

    run(arrays, given)    one call, waited for         ──▶ outputs in order
    prepare(arrays)       a request for the queue      ──▶ `Prepared`: arguments, and how to read it

A plan writes to memory that is allocated before; a VM allocates its results itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from byoc.errors import ArtifactError
from byoc.runtime.native import as_tensor, from_tensor, function, watch_files, with_address
from byoc.runtime.plan import Plan, encode_plan
from byoc.runtime.program import Program, VmProgram
from byoc.runtime.request_queue import Finished
from byoc.segment import Array
from byoc.support.dtypes import numpy_dtype

__all__ = ["Executor", "PlanExecutor", "Prepared", "VmExecutor", "make_executor"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be begun.

    Args:
        args: Arguments of the executor's ``submit``, after ticket and traced.
        kept: Objects that must live until the request ends.
        results: Makes the outputs, in order, of what the executor brings back.
    """

    args: tuple[Any, ...]
    kept: tuple[Any, ...]
    results: Callable[[Finished], list[Array]]


class PlanExecutor:
    """Calls a plan: shapes are known, so outputs are allocated before the call.

    Args:
        program: The compiled model.
        plan: Its body.
        host: The host library, a `tvm_ffi.Module` or None.
        segments: The segments as functions, by name.
        anywhere: A call may run on the calling thread: no segment cares which thread calls it.

    Raises:
        ArtifactError: Plan and program do not fit each other.
    """

    def __init__(
        self,
        program: Program,
        plan: Plan,
        host: Any,
        segments: Mapping[str, Any],
        *,
        anywhere: bool,
    ) -> None:
        _check_ports(program, plan)
        ports = program.outputs
        self._allocators = [function("Allocator")(p.type.shape, p.type.dtype) for p in ports]
        self._dtypes = tuple(numpy_dtype(p.type.dtype) for p in ports)
        self._nothing_given: list[Array | None] = [None] * len(ports)
        constants = [as_tensor(array) for array in program.constants]
        made = function("Executor")(encode_plan(plan), host, segments, _owners(program), constants)
        self._run = made["run_anywhere" if anywhere else "run"]
        self.open: Callable[[], Mapping[str, Any]] = made["open"]

    def run(self, arrays: Sequence[Array], given: list[Array | None] | None) -> list[Array]:
        """Run the plan on dense inputs in order.

        Args:
            arrays: The inputs.
            given: Arrays to write outputs to, None for fresh ones.
        """
        given = given or self._nothing_given
        written = [
            allocate() if array is None else with_address(array)
            for allocate, array in zip(self._allocators, given, strict=True)
        ]
        self._run(*map(with_address, arrays), *written)
        return [
            from_tensor(output, dtype) if array is None else array
            for output, array, dtype in zip(written, given, self._dtypes, strict=True)
        ]

    def prepare(self, arrays: Sequence[Array]) -> Prepared:
        """Return a request on dense inputs in order."""
        written = [allocate() for allocate in self._allocators]

        def results(done: Finished) -> list[Array]:
            return [from_tensor(w, d) for w, d in zip(written, self._dtypes, strict=True)]

        args = (*map(with_address, arrays), *written)
        return Prepared(args, (arrays, written, args), results)


class VmExecutor:
    """Calls a Relax VM executable: results are allocated by the VM.

    Args:
        program: The compiled model.
        body: Its body.
        host: The VM executable, a `tvm_ffi.Module`.
        segments: The segments as functions, by name.

    Raises:
        ArtifactError: There is no host library.
    """

    def __init__(
        self, program: Program, body: VmProgram, host: Any, segments: Mapping[str, Any]
    ) -> None:
        self._name = program.name
        if host is None:
            raise ArtifactError(f"model {program.name!r} runs on the VM but has no host library")
        self._dtypes = tuple(numpy_dtype(p.type.dtype) for p in program.outputs)
        self._constants = [as_tensor(array) for array in program.constants]
        self._check_files = watch_files(program.constants) or (lambda: None)
        owners = _owners(program)
        names = [name for name in owners if name in segments]
        made = function("VmExecutor")(host, segments, names, owners, body.entry)
        self._run = made["run"]
        self.open: Callable[[], Mapping[str, Any]] = made["open"]

    def run(self, arrays: Sequence[Array], given: list[Array | None] | None) -> list[Array]:
        """Run the VM on dense inputs in order, and wait for the outputs.

        Args:
            arrays: The inputs, C-contiguous.
            given: Arrays to write outputs to, one per output; None for fresh ones.

        Returns:
            The outputs in order; those of `given` where it holds an array.
        """
        self._check_files()
        results = self._results(self._run(*map(_aligned_tensor, arrays), *self._constants))
        for i, array in enumerate(given or ()):
            if array is not None:
                array[...] = results[i]
                results[i] = array
        return results

    def prepare(self, arrays: Sequence[Array]) -> Prepared:
        """Return a request on dense inputs in order."""
        self._check_files()
        args = (*map(_aligned_tensor, arrays), *self._constants)
        return Prepared(args, (arrays, args), lambda done: self._results(done.results))

    def _results(self, tensors: Sequence[Any]) -> list[Array]:
        self._check_files()
        if len(tensors) != len(self._dtypes):
            raise ArtifactError(
                f"model {self._name!r}: the VM returned {len(tensors)} tensors, "
                f"expected {len(self._dtypes)}"
            )
        return [from_tensor(t, dtype) for t, dtype in zip(tensors, self._dtypes, strict=True)]


Executor: TypeAlias = PlanExecutor | VmExecutor


def make_executor(
    program: Program, host: Any, segments: Mapping[str, Any], *, anywhere: bool
) -> Executor:
    """Return what calls a program.

    Args:
        program: The compiled model.
        host: Its host library, a `tvm_ffi.Module` or None.
        segments: Its segments as functions, by name.
        anywhere: See `PlanExecutor`; a VM runs on its processor's thread always.

    Raises:
        ArtifactError: The program does not hold together.
    """
    body = program.body
    if isinstance(body, Plan):
        return PlanExecutor(program, body, host, segments, anywhere=anywhere)
    return VmExecutor(program, body, host, segments)


def _owners(program: Program) -> dict[str, str]:
    """Segment → vendor, for messages."""
    return {artifact.segment: artifact.vendor for artifact in program.artifacts}


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
    return tensor if array.__array_interface__["data"][0] % 64 == 0 else function("copy")(tensor)
