"""`Session`: a program ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from byoc.errors import ArtifactError, choices
from byoc.segment import Array
from byoc.vendor import PythonRuntime

from . import vendors
from .host import load_host
from .native import as_tensor, from_tensor, function, num_threads, with_address
from .plan import Plan, encode_plan
from .ports import Inputs
from .program import Program

__all__ = ["Session"]


class Session:
    """Holds the vendors' segments and the host library in memory, and runs the model.

    Inputs are numpy arrays or anything on the CPU that speaks DLPack. They are used in place
    when dense (and 64-byte aligned, where a host kernel reads them), else copied; results are
    fresh numpy arrays. Calls from several threads are safe; work on one processor is done one
    call after the other.

    Raises VendorError when a vendor's runtime is missing or refuses a segment, ArtifactError
    when the program does not hold together.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._ports = Inputs(program.inputs, program.outputs)
        self._nothing_given: list[Array | None] = [None] * len(program.outputs)
        num_threads()  # a bad environment variable is reported here
        segments = _bind_segments(program)
        constants = [as_tensor(array) for array in program.constants]
        owners = {a.segment: a.vendor for a in program.artifacts}
        body = program.body
        if isinstance(body, Plan):
            _check_ports(program, body)
            host = load_host(program.host, vm=False)
            self._allocators = [
                function("Allocator")(port.type.shape, port.type.dtype) for port in program.outputs
            ]
            self._execute = function("Executor")(
                encode_plan(body), host, segments, owners, constants
            )
        else:
            host = load_host(program.host, vm=True)
            if host is None:
                raise ArtifactError(
                    f"model {program.name!r} runs on the VM but has no host library"
                )
            self._constants = constants
            self._execute = function("VmExecutor")(host, segments, owners, body.entry)

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

    def _run(self, values: Sequence[Any], outputs: Mapping[str, Array] | None) -> list[Array]:
        arrays = self._ports.check(values)
        given = self._ports.check_outputs(outputs) if outputs else None
        if self.program.is_static:
            return self._run_plan(arrays, given)
        return self._run_vm(arrays, given)

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


def _bind_segments(program: Program) -> dict[str, Any]:
    """Every segment as a function, by name."""
    counts = dict(program.segment_outputs)
    names = {artifact.segment for artifact in program.artifacts}
    for task in program.body.tasks if isinstance(program.body, Plan) else ():
        if task.kind == "segment":
            counts[task.function] = task.outputs
            if task.function not in names:
                raise ArtifactError(
                    f"the plan calls segment {task.function!r}, which the program does not have; "
                    f"{choices(task.function, names)}"
                )
    segments: dict[str, Any] = {}
    for artifact in program.artifacts:
        use = program.vendors.get(artifact.vendor)
        if use is None:
            raise ArtifactError(
                f"segment {artifact.segment!r} needs vendor {artifact.vendor!r}, "
                f"which the program does not list"
            )
        if artifact.segment in segments:
            raise ArtifactError(f"two segments are called {artifact.segment!r}")
        outputs = counts.get(artifact.segment)
        if outputs is None and isinstance(use.runtime, PythonRuntime) and program.is_static:
            continue  # never called
        segments[artifact.segment] = vendors.bind(artifact, use, outputs)
    return segments


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


def _results(tensors: Sequence[Any], dtypes: Sequence[Any], name: str) -> list[Array]:
    if len(tensors) != len(dtypes):
        raise ArtifactError(
            f"model {name!r}: the VM returned {len(tensors)} tensors, expected {len(dtypes)}"
        )
    return [from_tensor(t, dtype) for t, dtype in zip(tensors, dtypes, strict=True)]
