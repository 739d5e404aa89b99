"""What a vendor receives and gives back: `Segment` in, `Artifact` or `HostArtifact` out.

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
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from byoc.dims import Dim

if TYPE_CHECKING:
    import tvm

__all__ = [
    "Array",
    "Artifact",
    "Attr",
    "Blob",
    "Composite",
    "Dim",
    "HostArtifact",
    "KernelCall",
    "Node",
    "PortType",
    "Requires",
    "Segment",
    "SegmentSignature",
    "TensorType",
]

SEGMENT_VERSION = 1

Attr = Any
"""An attribute: None, bool, int, float, str, or a tuple of these (shapes may hold `Dim`)."""

Blob: TypeAlias = bytes | memoryview
"""A vendor's bytes: those it made, or a view of the model's file, where they are large."""

Array: TypeAlias = npt.NDArray[Any]
"""Any numpy array; said once, for every signature that takes or gives one."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """The shape and the dtype of one tensor.

    Attributes:
        shape: One `Dim` per axis: an int, or an expression such as ``"n * 12"`` where the size is
            known only at run time.
        dtype: The element type, spelled as numpy does ("float32", "bool").
    """

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
    """A named input or output of the model or of a segment, with its type.

    Attributes:
        name: The name in the model; of an output of a segment, that of the op that makes it.
        type: Shape and dtype; dimensions are symbolic where the model takes several sizes. For an
            input or output that is not a tensor, the type of the handle that stands for it (see
            `runtime/value_handles.py`).
        value: Empty for a tensor. Otherwise the kind of value that callers give and get, as ONNX
            spells it: "tensor(string)", "seq(tensor(float))".
    """

    name: str
    type: TensorType
    value: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.value or self.type}"


@dataclass(frozen=True, slots=True)
class SegmentSignature:
    """What a segment reads and writes.

    Attributes:
        inputs: Its inputs, in call order.
        outputs: Its outputs, in call order.
    """

    inputs: tuple[PortType, ...]
    outputs: tuple[PortType, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One op: ``outputs = op(*inputs, **attrs)``.

    Attributes:
        op: The Relax name without its prefix ("nn.conv2d", "add", "concat").
        inputs: Value ids of the tensor arguments. Tuple arguments are flattened: ``concat`` of n
            tensors has n inputs.
        outputs: Value ids of the results.
        attrs: The op's attributes, and every argument that is not a tensor, under the name Relax
            gives it (``reshape`` has "shape", ``strided_slice`` has "axes", "begin", "end",
            "strides").
        source: The names of this op in the model file, module path included.
    """

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Composite:
    """The nodes of a segment that matched one pattern together.

    Attributes:
        pattern: The name of the pattern.
        nodes: Indices into `Segment.nodes`, in topological order.
        parts: Name of a part, as `Pattern.parts` gives it → the value id of its output.
    """

    pattern: str
    nodes: tuple[int, ...]
    parts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Segment:
    """A set of ops that one vendor compiles as a whole; frozen and self-contained.

    The set is convex: no path of data leads out of it and back in, so that it runs as one call.

    Attributes:
        name: Short, stable and unique in the model ("dnnl_0").
        vendor: The name of the vendor that compiles it.
        values: The type of every value; a value id is an index into this tuple.
        nodes: The ops, in topological order.
        composites: How the nodes are grouped by the patterns they matched.
        inputs: Value ids that the segment receives at run time, in call order.
        outputs: Value ids that the segment returns, in call order.
        constants: Value id → array. The arrays are the model's own memory, not copies: do not
            write to them.
        version: The version of this record's layout.
        names: Value id → the name that the model has for it, for the values that are inputs or
            outputs. They are for messages: a vendor derives nothing from them.
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
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def signature(self) -> SegmentSignature:
        """Names and types of the inputs and outputs."""

        def ports(values: tuple[int, ...]) -> tuple[PortType, ...]:
            return tuple(PortType(self.names.get(v, f"v{v}"), self.values[v]) for v in values)

        return SegmentSignature(ports(self.inputs), ports(self.outputs))

    @property
    def is_static(self) -> bool:
        """True when no value of the segment has a symbolic dimension."""
        return all(v.is_static for v in self.values)

    def type(self, value: int) -> TensorType:
        """Return the type of a value.

        Args:
            value: A value id of this segment.

        Returns:
            Its shape and dtype.
        """
        return self.values[value]

    def users(self) -> Mapping[int, tuple[Node, ...]]:
        """Return which nodes read each value.

        Returns:
            Value id → the nodes of this segment that read it, in topological order. Values that no
            node reads have no entry.
        """
        table: dict[int, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                table.setdefault(value, []).append(node)
        return {value: tuple(nodes) for value, nodes in table.items()}

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)


@dataclass(frozen=True, slots=True)
class Requires:
    """What a machine must have to run an artifact.

    It is written into the file. ``byoc check`` and loading compare it with the machine before
    anything of the segment runs; what is missing is named.

    Attributes:
        cpu_features: Features of the CPU in LLVM's names ("avx512f", "sse4.2", "neon").
        machine: The architecture, as ``platform.machine()`` spells it ("x86_64").
        device: The model of the vendor's device, as `PythonRuntime.equipment` or the library tells.
        driver: The oldest version of the vendor's driver that will do ("550.54").
        memory: Bytes of the device's memory, or of the machine's where neither device nor driver
            is named.
    """

    cpu_features: tuple[str, ...] = ()
    machine: str = ""
    device: str = ""
    driver: str = ""
    memory: int = 0

    def __str__(self) -> str:
        words = [*self.cpu_features, self.machine, self.device]
        words += [f"driver {self.driver}"] if self.driver else []
        words += [f"{self.memory:,} bytes of memory"] if self.memory else []
        return ", ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled segment: all that the vendor's runtime needs in order to run it.

    Attributes:
        segment: The name of the segment.
        vendor: The name of the vendor.
        blob: The vendor's own bytes. byoc stores them in the .byoc file and hands them to the
            vendor's `init`, without looking inside.
        constants: The arrays that the blob refers to, in the order `init` receives them. Give
            back the segment's own arrays where possible: byoc stores equal arrays once, and maps
            them from the file instead of copying them.
        notes: Short facts for the report ("53 primitives, 12 fused adds").
        requires: What a machine must have to run it. Default: nothing.
    """

    segment: str
    vendor: str
    blob: Blob
    constants: tuple[Array, ...] = ()
    notes: tuple[str, ...] = ()
    requires: Requires = field(default_factory=Requires)

    @property
    def nbytes(self) -> int:
        """The size of the blob and the constants together, in bytes."""
        return len(self.blob) + sum(int(np.asarray(c).nbytes) for c in self.constants)


@dataclass(frozen=True, slots=True)
class KernelCall:
    """One call of a kernel: ``kernel(*inputs, *outputs)``.

    Attributes:
        kernel: The name of a PrimFunc of `HostArtifact.kernels`.
        inputs: Value ids that it reads: of the segment, or of `HostArtifact.values`.
        outputs: Value ids that it writes, all elements of them; each value is written once.
        source: The names of the ops that it computes, for profiles and messages. Default: those
            of all nodes of the segment.
    """

    kernel: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostArtifact:
    """A segment compiled to kernels instead of bytes, by a vendor with a `HostRuntime`.

    byoc compiles the kernels together with its own, and puts the calls into the model's plan::

        values 0 ─▶ pack ─▶ 7 ─▶ product ─▶ 4        0, 4: the segment's; 7: of `values`
                      8 (constant) ──┘

    Attributes:
        segment: The name of the segment.
        vendor: The name of the vendor.
        kernels: PrimFuncs by name. Those with the attribute ``tirx.is_scheduled`` are compiled as
            they are, byoc schedules the others.
        calls: What is run, in an order in which every value is written before it is read.
        values: Types of further values, beside the segment's: their ids count on from the last
            value of the segment.
        constants: Value id → array, for values that are known before the first call: weights in a
            layout of the vendor's. The segment's own constants need not be repeated.
        notes: Short facts for the report.
        requires: What a machine must have to run it. byoc adds the CPU features of the
            instructions that it knows (`byoc.tir.features`). Default: nothing.
    """

    segment: str
    vendor: str
    kernels: tvm.IRModule
    calls: tuple[KernelCall, ...]
    values: tuple[TensorType, ...] = ()
    constants: Mapping[int, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    requires: Requires = field(default_factory=Requires)
