"""The member ``bundle.json`` of a replay bundle: segments as JSON, arrays by reference.

In: a `Segment`. Out: plain values that pydantic checks when they come back, from whomever. Arrays
lie in members of their own; JSON holds their dtype and shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pydantic

from byoc.debug.diagnosis import Kind
from byoc.dims import Dim
from byoc.errors import ArtifactError
from byoc.segment import SEGMENT_VERSION, Array, Composite, Node, Segment, TensorType

__all__ = ["FORMAT", "ArrayRecord", "BundleRecord", "CaseRecord", "read_segment", "write_segment"]

FORMAT = 1
"""Version of the format; a bundle of another one is refused."""


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class ArrayRecord(_Strict):
    """An array: the member that holds its bytes, its dtype, its shape."""

    member: str
    dtype: str
    shape: tuple[int, ...]


class TypeRecord(_Strict):
    """A `TensorType`."""

    shape: tuple[Dim, ...]
    dtype: str


class NodeRecord(_Strict):
    """A `Node`."""

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attrs: dict[str, Any]
    source: tuple[str, ...]


class CompositeRecord(_Strict):
    """A `Composite`."""

    pattern: str
    nodes: tuple[int, ...]
    parts: dict[str, int]


class StoredSegment(_Strict):
    """A `Segment`."""

    name: str
    vendor: str
    values: tuple[TypeRecord, ...]
    nodes: tuple[NodeRecord, ...]
    composites: tuple[CompositeRecord, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: dict[int, ArrayRecord]
    version: int


class CaseRecord(_Strict):
    """A culprit, and what is needed to see it again."""

    kind: Kind
    ops: tuple[tuple[str, str], ...]
    step: str
    message: str
    seconds: float | None
    tolerance: float
    vendor_version: str
    options: dict[str, Any]
    segment: StoredSegment
    inputs: tuple[ArrayRecord, ...]
    expected: tuple[ArrayRecord, ...]


class BundleRecord(_Strict):
    """All of ``bundle.json``."""

    format: int
    model: str
    versions: dict[str, str]
    cases: tuple[CaseRecord, ...]


def write_segment(segment: Segment, keep: Callable[[Array], ArrayRecord]) -> StoredSegment:
    """Write a segment as a record.

    Args:
        segment: any segment.
        keep: stores an array, and says where.
    """
    return StoredSegment(
        name=segment.name,
        vendor=segment.vendor,
        values=tuple(TypeRecord(shape=t.shape, dtype=t.dtype) for t in segment.values),
        nodes=tuple(
            NodeRecord(
                op=n.op, inputs=n.inputs, outputs=n.outputs, attrs=dict(n.attrs), source=n.source
            )
            for n in segment.nodes
        ),
        composites=tuple(
            CompositeRecord(pattern=c.pattern, nodes=c.nodes, parts=dict(c.parts))
            for c in segment.composites
        ),
        inputs=segment.inputs,
        outputs=segment.outputs,
        constants={v: keep(array) for v, array in segment.constants.items()},
        version=segment.version,
    )


def read_segment(record: StoredSegment, load: Callable[[ArrayRecord], Array]) -> Segment:
    """Make a segment of its record, after checking that it holds together.

    Args:
        record: what `write_segment` wrote, or somebody else.
        load: finds an array.

    Raises:
        ArtifactError: it names values or nodes that it does not have, or is of another version.
    """
    if record.version != SEGMENT_VERSION:
        raise ArtifactError(
            f"segment {record.name!r} has version {record.version}, this byoc has {SEGMENT_VERSION}"
        )
    used = [
        *record.inputs,
        *record.outputs,
        *record.constants,
        *(v for node in record.nodes for v in (*node.inputs, *node.outputs)),
        *(v for c in record.composites for v in c.parts.values()),
    ]
    _in_range(used, len(record.values), record.name, "value")
    _in_range([n for c in record.composites for n in c.nodes], len(record.nodes), record.name, "op")
    return Segment(
        name=record.name,
        vendor=record.vendor,
        values=tuple(TensorType(t.shape, t.dtype) for t in record.values),
        nodes=tuple(
            Node(n.op, n.inputs, n.outputs, {k: _tuples(a) for k, a in n.attrs.items()}, n.source)
            for n in record.nodes
        ),
        composites=tuple(Composite(c.pattern, c.nodes, dict(c.parts)) for c in record.composites),
        inputs=record.inputs,
        outputs=record.outputs,
        constants={v: load(array) for v, array in record.constants.items()},
    )


def _in_range(numbers: Iterable[int], count: int, name: str, what: str) -> None:
    for number in numbers:
        if not 0 <= number < count:
            raise ArtifactError(f"segment {name!r} names {what} {number}, it has {count}")


def _tuples(value: Any) -> Any:
    """Attributes hold tuples, JSON has lists."""
    return tuple(_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value
