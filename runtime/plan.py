"""The plan: what the executor runs for a model with static shapes.

In: what the compiler decided (order, memory). Out: frozen values, written as JSON into the artifact
and read by the C++ executor (runtime/src/plan/plan.h). A plan is a list of tasks over a table of
tensors. A tensor is a typed window into one of four memory spaces::

    space      index means            offset means
    "input"    position in inputs     bytes into that input (views of it)
    "output"   position in outputs    bytes into that output
    "constant" position in constants  bytes into that constant
    "arena"    always 0               bytes into the session's scratch arena

A reshape costs nothing: it is a second tensor over the same bytes. Tasks are listed in an
order that respects `deps`; tasks of one processor run in that order.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import pydantic

from byoc.support.dtypes import numpy_dtype

__all__ = ["PLAN_VERSION", "Plan", "PlanTensor", "Port", "Task", "decode_plan", "encode_plan"]

PLAN_VERSION = 1

MemorySpace = Literal["input", "output", "constant", "arena"]
"""What memory a tensor lies in."""


@dataclass(frozen=True, slots=True)
class PlanTensor:
    """A dense row-major window into a memory space.

    Args:
        shape: Dimensions.
        dtype: Name of the element type, as `TensorType` spells it.
        place: The memory space. (The name is that of the plan file.)
        index: Which input, output or constant; 0 for the arena.
        offset: Where the window begins, in bytes.
    """

    shape: tuple[int, ...]
    dtype: str
    place: MemorySpace
    index: int = 0
    offset: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the window."""
        return prod(self.shape) * numpy_dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Port:
    """A named input or output of the model.

    Args:
        name: As the model spells it.
        tensor: Id of the tensor that is the whole of the port.
    """

    name: str
    tensor: int


@dataclass(frozen=True, slots=True)
class Task:
    """One call of the plan: ``function(*inputs, *outputs)``, outputs written in place.

    Args:
        kind: "host" (a kernel of the host library), "segment" (a vendor's) or "copy" (memcpy).
        function: Name of the kernel or segment; empty for a copy.
        args: Tensor ids, inputs first; the last `outputs` of them are written.
        outputs: How many of `args` are written, at least 1.
        deps: Numbers of earlier tasks that must have finished.
        processor: Name of the processor that the task runs on.
        source: Names in the source model, for messages and profiles.
        segment: Of a host kernel that a vendor gave: the name of its segment; else empty.
    """

    kind: Literal["host", "segment", "copy"]
    function: str
    args: tuple[int, ...]
    outputs: int
    deps: tuple[int, ...] = ()
    processor: str = "cpu"
    source: tuple[str, ...] = ()
    segment: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Tasks, tensors and memory of a model with static shapes.

    Args:
        inputs: Ports that callers fill, in the order of the model.
        outputs: Ports that are written, in the order of the model.
        tensors: All tensors; tasks and ports name them by position.
        tasks: In an order that respects their `deps`.
        arena_bytes: Size of the arena of each request, in bytes; windows in it are 64-byte aligned.
        version: Of the plan's format.
        scratch_bytes: Bytes that host kernels ask for while they run, at most; told in `Memory`.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    tensors: tuple[PlanTensor, ...]
    tasks: tuple[Task, ...]
    arena_bytes: int
    version: int = PLAN_VERSION
    scratch_bytes: int = 0


_ADAPTER = pydantic.TypeAdapter(Plan)


def encode_plan(plan: Plan) -> bytes:
    """Return the plan as JSON."""
    return _ADAPTER.dump_json(plan)


def decode_plan(data: bytes) -> Plan:
    """Return the plan that `encode_plan` wrote.

    Raises:
        pydantic.ValidationError: The JSON is malformed.
    """
    return _ADAPTER.validate_json(data)
