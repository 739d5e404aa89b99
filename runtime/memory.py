"""What a session's memory consists of, told before its first run.

In: a program and what its vendors told when their segments were bound. Out: a `Memory`, in bytes,
so that users can see what a model needs before they run it::

    of the session    weights, mapped from the file │ packed by vendors │ code
    of each request   workspace: plan's arena + what vendors need meanwhile │ inputs, outputs
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from byoc.runtime.native import function
from byoc.runtime.plan import Plan
from byoc.runtime.program import Program
from byoc.runtime.vendor_runtimes import Bound
from byoc.segment import Array

__all__ = ["Memory", "account"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a session, in bytes.

    Args:
        weights: Constants read as the file has them (mapped, shared between processes); of a
            program that was never saved also those that vendors have packed.
        packed: Constants that vendors packed for themselves, as far as they tell
            (`SegmentRuntime::Memory` of byoc/vendor.h).
        workspace: Intermediates of one request: the plan's arena, what host kernels ask for
            meanwhile, and what vendors tell of theirs.
        ports: Inputs and outputs of one request.
        code: Host library, and vendors' blobs of up to 2 MiB (larger ones are given back).
    """

    weights: int
    packed: int
    workspace: int
    ports: int
    code: int

    @property
    def peak_bytes(self) -> int:
        """Bytes with one request in flight at a time."""
        return self.at(1)

    def at(self, requests: int) -> int:
        """Return the bytes with `requests` requests in flight."""
        each = self.workspace + self.ports
        return self.weights + self.packed + self.code + requests * each


def account(program: Program, bounds: Iterable[Bound]) -> Memory:
    """Return the memory of a program.

    Of a VM program neither intermediates nor ports are counted: their shapes are not known.

    Args:
        program: The compiled model.
        bounds: Its native segments, as they were bound.
    """
    arrays: dict[tuple[int, int], int] = {}

    def add(array: Array, used: bool) -> None:
        address = array.__array_interface__["data"][0]
        if array.nbytes and (used or not function("is_mapped")(address)):
            arrays[address, array.nbytes] = array.nbytes

    packed = workspace = 0
    native: set[str] = set()
    for bound in bounds:
        native.add(bound.artifact.segment)
        packed += bound.packed
        workspace += bound.workspace
        for number in bound.in_use:
            add(bound.artifact.constants[number], True)
    for artifact in program.artifacts:  # what a Python-hosted vendor keeps, nobody knows
        for array in artifact.constants:
            add(array, artifact.segment not in native)
    for array in program.constants:
        add(array, True)
    for fallback in program.twins.values():
        for array in fallback.constants:
            add(array, False)
    ports = 0
    if isinstance(program.body, Plan):
        plan = program.body
        workspace += plan.arena_bytes + plan.scratch_bytes
        ports = sum(plan.tensors[p.tensor].nbytes for p in (*plan.inputs, *plan.outputs))
    code = len(program.host) if isinstance(program.host, bytes) else 0
    # One that is mapped is given back once its vendor has read it.
    code += sum(len(a.blob) for a in program.artifacts if not isinstance(a.blob, memoryview))
    return Memory(sum(arrays.values()), packed, workspace, ports, code)
