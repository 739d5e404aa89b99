"""The plan: what the executor runs. Frozen values, written as JSON into the artifact.

A plan is a list of tasks over a table of tensors. A tensor is a typed window into one of
four places::

    place      index means            offset means
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

Place = Literal["input", "output", "constant", "arena"]


@dataclass(frozen=True, slots=True)
class PlanTensor:
    """A dense row-major window: `shape` and `dtype` at `offset` bytes of a place."""

    shape: tuple[int, ...]
    dtype: str
    place: Place
    index: int = 0
    offset: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the window."""
        return prod(self.shape) * numpy_dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Port:
    """A named input or output of the model and its tensor."""

    name: str
    tensor: int


@dataclass(frozen=True, slots=True)
class Task:
    """One call: ``function(*inputs, *outputs)``, outputs written in place.

    kind: "host" (a kernel of the host library), "segment" (a vendor's), "copy" (memcpy).
    args: tensor ids, inputs first; the last `outputs` of them are written.
    deps: earlier tasks that must have finished. source: names in the source model.
    """

    kind: Literal["host", "segment", "copy"]
    function: str
    args: tuple[int, ...]
    outputs: int
    deps: tuple[int, ...] = ()
    processor: str = "cpu"
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Tasks, tensors and memory of a static model.

    arena_bytes: size of the scratch arena, in bytes, 64-byte aligned windows inside.
    scratch_bytes: what host kernels ask for meanwhile, at most; told in `Memory`, else not needed.
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
    """The plan as JSON."""
    return _ADAPTER.dump_json(plan)


def decode_plan(data: bytes) -> Plan:
    """The plan in `data`. Raises pydantic.ValidationError when it is malformed."""
    return _ADAPTER.validate_json(data)
