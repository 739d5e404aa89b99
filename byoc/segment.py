"""What a vendor receives and gives back: `Segment` in, `Artifact` out.

A segment is a convex set of ops that one vendor compiles as a whole::

    values   0 ──┐            value ids index `Segment.values` (their types)
    values   1 ──┤ nn.conv2d ── 3 ── nn.relu ── 4
    (const)      └───────────── nodes, in topological order ─────

    inputs = (0,)   constants = {1: array}   outputs = (4,)

Everything is plain Python: ints, strings, tuples and numpy arrays. A vendor needs no
knowledge of TVM's visitors. Nodes of one matched pattern form a `Composite`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from byoc.dims import Dim

__all__ = [
    "Array",
    "Artifact",
    "Attr",
    "Composite",
    "Dim",
    "Node",
    "PortType",
    "Segment",
    "TensorType",
]

SEGMENT_VERSION = 1

Attr = Any
"""An attribute: None, bool, int, float, str, or a tuple of these (shapes may hold `Dim`)."""

Array: TypeAlias = npt.NDArray[Any]
"""Any numpy array; said once, for every signature that takes or gives one."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and dtype of one tensor; dtypes are spelled as numpy does ("float32", "bool")."""

    shape: tuple[Dim, ...]
    dtype: str

    @property
    def is_static(self) -> bool:
        """True when no dimension is symbolic."""
        return all(isinstance(d, int) for d in self.shape)

    @property
    def size(self) -> int | None:
        """Number of elements, or None when a dimension is symbolic."""
        return prod(d for d in self.shape if isinstance(d, int)) if self.is_static else None

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class PortType:
    """A named input or output of the model and its type (dims may be symbolic in a VM program).

    value: empty for tensors. Else what callers give and get, as ONNX spells it ("tensor(string)",
    "seq(tensor(float))"), while `type` is that of its handle (see `runtime/value_handles.py`).
    """

    name: str
    type: TensorType
    value: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.value or self.type}"


@dataclass(frozen=True, slots=True)
class Node:
    """One op: ``outputs = op(*inputs, **attrs)``.

    op: the Relax name without its prefix ("nn.conv2d", "add", "concat").
    inputs, outputs: value ids. Tuple arguments are flattened (``concat`` has n inputs).
    attrs: the op's attributes, plus every non-tensor argument under the name Relax gives
        it (``reshape`` has "shape", ``strided_slice`` has "axes", "begin", "end", "strides").
    source: names this op had in the model file, module path included.
    """

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Composite:
    """The nodes of one matched pattern.

    pattern: the pattern's name. nodes: indices into `Segment.nodes`, topological.
    parts: the pattern's named parts → value ids.
    """

    pattern: str
    nodes: tuple[int, ...]
    parts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Segment:
    """A convex set of ops for one vendor; frozen, self-contained.

    name: short, stable, unique in the model ("dnnl_0"). values: type of every value id.
    constants: value id → array (the model's own memory, not a copy; do not write to it).
    """

    name: str
    vendor: str
    values: tuple[TensorType, ...]
    nodes: tuple[Node, ...]
    composites: tuple[Composite, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: Mapping[int, Array]
    version: int = SEGMENT_VERSION

    @property
    def is_static(self) -> bool:
        """True when every value has a static shape."""
        return all(v.is_static for v in self.values)

    def type(self, value: int) -> TensorType:
        """Type of a value id."""
        return self.values[value]

    def users(self) -> Mapping[int, tuple[Node, ...]]:
        """Value id → the nodes of this segment that read it."""
        table: dict[int, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                table.setdefault(value, []).append(node)
        return {value: tuple(nodes) for value, nodes in table.items()}

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled segment: what the vendor's runtime needs, and nothing else.

    blob: opaque to byoc; stored in the .byoc file, handed to the vendor's `init`.
    constants: arrays the blob refers to, in the order `init` receives them. Give back the
        segment's own arrays where possible: byoc stores equal arrays once and maps them.
    notes: short facts for the report ("53 primitives, 12 fused adds").
    """

    segment: str
    vendor: str
    blob: bytes
    constants: tuple[Array, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of blob and constants."""
        return len(self.blob) + sum(int(np.asarray(c).nbytes) for c in self.constants)
