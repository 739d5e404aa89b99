"""Nodes that Relax cannot express, as opaque calls (`byoc.kit.foreign_op`) over few nodes.

A node's results can be Relax values when they are tensors of a common dtype whose dimensions are
numbers or known symbols. Results that are not stay inside a *region* that grows with their readers
until its results can be::

    ids ─ NonZero ─┐ int64[1, ?]   pending: its length depends on data
    x ─────────────┴ GatherND ─┐ float32[?, 8]   pending
                               └ ReduceSum ─▶ float32[8]   one opaque call of three nodes

Two readers of a pending value make two regions, both with its nodes: regions are pure. What types
the results have is asked of onnx's shape inference, then of the model's own declarations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import tvm_ffi
from onnx import helper, numpy_helper
from tvm import relax, tirx
from tvm.ir import GenericConst

from byoc.errors import ModelError
from byoc.frontends.onnx.nodes import domains, name_of, operator_of, title_of
from byoc.frontends.symbols import Symbols
from byoc.ir.arrays import to_numpy
from byoc.kit.foreign_op import opaque_call
from byoc.support.dtypes import numpy_dtype

__all__ = ["Boxed", "OpaqueNodes", "Pending", "boxed_input"]

MAX_NODES = 1000
"""Nodes of one region; a chain of values that never become tensors ends here."""

HANDLE = relax.TensorType((), "int64")
"""What stands in Relax for a value that is no tensor (see `byoc.runtime.value_handles`)."""

_MAX_ELEMENTS = 1 << 46

_INLINE = 1024
"""Constants up to this many bytes go into the region's model: shape inference looks at them."""

_DTYPES = frozenset(
    {"bfloat16", "bool", "float16", "float32", "float64"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)


@dataclass(frozen=True, eq=False)
class _Region:
    """nodes: position in the walk → node. inputs: name → Relax value."""

    nodes: Mapping[int, onnx.NodeProto]
    inputs: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Pending:
    """A value that is none for Relax.

    Attributes:
        name: Its name inside `region`.
        region: The nodes that make it.
        reason: What it is.
        origin: Why the first node of the region cannot be expressed.
        type: Its type as far as it is known.
    """

    name: str
    region: _Region
    reason: str
    origin: str
    type: onnx.TypeProto | None = None


@dataclass(frozen=True, eq=False)
class Boxed:
    """An input or output of the model that is no tensor of known shape.

    Attributes:
        name: Its name.
        var: Its handle, a Relax value (`byoc.runtime.value_handles`); only opaque nodes read it.
        type: Its type, None when nothing tells.
    """

    name: str
    var: Any
    type: onnx.TypeProto | None

    @property
    def kind(self) -> str:
        """What it is, as ONNX spells it: "seq(tensor(float))"."""
        return "value" if self.type is None else spell(self.type)

    @property
    def reason(self) -> str:
        """What it is, for messages."""
        return f"{self.name!r}, a {self.kind}"

    origin = reason


def boxed_input(info: onnx.ValueInfoProto) -> Boxed | None:
    """A graph input that is a sequence, an optional value, a map, or strings; else None."""
    kind = info.type.WhichOneof("value")
    strings = kind == "tensor_type" and info.type.tensor_type.elem_type == onnx.TensorProto.STRING
    if strings or kind in ("sequence_type", "optional_type", "map_type"):
        return Boxed(info.name, relax.Var(info.name, HANDLE), info.type)
    return None


def spell(ty: onnx.TypeProto) -> str:
    """A type as ONNX Runtime spells it."""
    kind = ty.WhichOneof("value")
    if kind == "sequence_type":
        return f"seq({spell(ty.sequence_type.elem_type)})"
    if kind == "optional_type":
        return f"optional({spell(ty.optional_type.elem_type)})"
    if kind == "map_type":
        key = onnx.TensorProto.DataType.Name(ty.map_type.key_type).lower()
        return f"map({key},{spell(ty.map_type.value_type)})"
    if kind == "tensor_type":
        return f"tensor({onnx.TensorProto.DataType.Name(ty.tensor_type.elem_type).lower()})"
    return str(kind or "value").removesuffix("_type")


@dataclass
class OpaqueNodes:
    """Keeps nodes of one model whole.

    Attributes:
        where: The model, as messages begin.
        opsets: Domain → version.
        symbols: The model's symbolic dimensions.
        declared: Value name → type, as the model file says.
    """

    where: str
    opsets: Mapping[str, int]
    symbols: Symbols
    declared: dict[str, onnx.TypeProto] = field(default_factory=dict)
    _count: int = 0
    _expressions: dict[str, Any] = field(default_factory=dict)

    def declare(self, graph: onnx.GraphProto) -> None:
        """Note the types that a graph declares."""
        for info in (*graph.value_info, *graph.output):
            if info.type.WhichOneof("value"):
                self.declared[info.name] = info.type

    def add(
        self, node: onnx.NodeProto, inputs: Mapping[str, Any], wanted: Sequence[str], reason: str
    ) -> tuple[Any, list[str], dict[str, Pending]]:
        """Keep a node whole.

        Args:
            node: The node.
            inputs: Name → Relax value or `Pending`, captured ones of inner graphs included.
            wanted: Its outputs that somebody reads.
            reason: Why Relax cannot express it.

        Returns:
            A Relax call, the names of its results, and the outputs that are still pending; the call
            is None when there is nothing to compute yet.

        Raises:
            ModelError: The region gets too large, or onnx says that the node is wrong.
        """
        region = self._grow(node, inputs)
        origin = next((v.origin for v in inputs.values() if isinstance(v, Pending)), reason)
        model = self._model(region, wanted)
        found = self._infer(model, wanted, reason)
        ready: list[str] = []
        types: list[Any] = []
        pending: dict[str, Pending] = {}
        for name in wanted:
            kind, why = self._relax_type(name, found.get(name))
            if kind is None:
                made = found.get(name) or self.declared.get(name)
                pending[name] = Pending(
                    name, region, f"{why}, made by {title_of(node)}", origin, made
                )
            else:
                ready.append(name)
                types.append(kind)
        if not ready:
            return None, [], pending
        del model.graph.output[:]
        for name, kind in zip(ready, types, strict=True):
            model.graph.output.append(self._port(name, kind))
        return self._call(model, region, types, origin), ready, pending

    def sequence(self, name: str, parts: Sequence[Any]) -> Pending:
        """A sequence of tensors as a value that opaque nodes can read.

        Args:
            name: Its name.
            parts: Its elements, at least one.
        """
        names = [f"{name}/{i}" for i in range(len(parts))]
        node = helper.make_node("SequenceConstruct", names, [name], name=name)
        region = self._grow(node, dict(zip(names, parts, strict=True)))
        ty = helper.make_sequence_type_proto(self._port(name, parts[0].ty).type)
        return Pending(name, region, f"{name!r}, a sequence", f"{name!r} is a sequence", ty)

    def box(self, value: Pending) -> Boxed:
        """A pending value as a result of the model: its `var` is a Relax call that makes it.

        Raises:
            ModelError: It has a dtype that no result can have.
        """
        if value.type is not None and value.type.WhichOneof("value") == "tensor_type":
            dtype = _dtype(value.type.tensor_type.elem_type)
            dims = [max(1, d.dim_value) for d in value.type.tensor_type.shape.dim]
            if (dtype not in _DTYPES and dtype != "strings") or math.prod(dims) > _MAX_ELEMENTS:
                raise ModelError(
                    f"{value.origin}; it cannot be kept whole for another engine either, since "
                    f"the output {value.name!r} would be {value.reason}; end the model before it, "
                    f"in a tensor of {', '.join(sorted(_DTYPES))}"
                )
        model = self._model(value.region, [value.name])
        del model.graph.output[:]
        port = model.graph.output.add(name=value.name)
        if value.type is not None:
            port.type.CopyFrom(value.type)
            if port.type.WhichOneof("value") == "tensor_type":
                port.type.tensor_type.ClearField("shape")
        call = self._call(model, value.region, [HANDLE], value.origin, boxed_result=True)
        return Boxed(value.name, call, value.type)

    def _call(
        self,
        model: onnx.ModelProto,
        region: _Region,
        types: Sequence[Any],
        origin: str,
        boxed_result: bool = False,
    ) -> Any:
        nodes = list(region.nodes.values())
        values = [region.inputs[port.name] for port in model.graph.input]
        boxes = [f"i{i}" for i, v in enumerate(values) if isinstance(v, Boxed)]
        return opaque_call(
            model,
            [v.var if isinstance(v, Boxed) else v for v in values],
            types,
            op=", ".join(dict.fromkeys(operator_of(n) for n in nodes)),
            node=", ".join(name_of(n) for n in nodes),
            reason=origin,
            boxes=[*boxes, *(["o0"] if boxed_result else [])],
        )

    def declared_type(self, name: str) -> Any:
        """The Relax type that the model declares for a value, None where it leaves it open."""
        return self._relax_type(name, None)[0]

    # -- the region as a model

    def _grow(self, node: onnx.NodeProto, inputs: Mapping[str, Any]) -> _Region:
        nodes: dict[int, onnx.NodeProto] = {}
        values: dict[str, Any] = {}
        for name, value in inputs.items():
            if isinstance(value, Pending):
                nodes.update(value.region.nodes)
                values.update(value.region.inputs)
            elif value is not None:
                values[name] = value
        self._count += 1
        nodes[self._count] = node
        if len(nodes) > MAX_NODES:
            raise ModelError(
                f"{self.where}: {title_of(node)} would be the last of {len(nodes)} nodes that must "
                f"be kept whole together; byoc keeps up to {MAX_NODES}"
            )
        return _Region(dict(sorted(nodes.items())), values)

    def _model(self, region: _Region, wanted: Sequence[str]) -> onnx.ModelProto:
        ports, stored = [], []
        for name, value in region.inputs.items():
            if isinstance(value, Boxed):
                ports.append(onnx.ValueInfoProto(name=name, type=value.type))
                continue
            array = to_numpy(value.value) if isinstance(value, GenericConst) else None
            if array is not None and array.nbytes <= _INLINE:
                stored.append(
                    numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
                )
            else:
                ports.append(self._port(name, value.ty))
        graph = helper.make_graph(
            list(region.nodes.values()),
            "opaque",
            ports,
            [self._declared_port(n) for n in wanted],
            stored,
        )
        used = {d for n in region.nodes.values() for d in domains(n)}
        opsets = [helper.make_opsetid(d, self.opsets.get(d, 1)) for d in sorted(used | {""})]
        known = [o for o in opsets if o.domain != "com.microsoft"]
        version = helper.find_min_ir_version_for(known, True)
        return helper.make_model(graph, opset_imports=opsets, ir_version=version)

    def _declared_port(self, name: str) -> onnx.ValueInfoProto:
        info = onnx.ValueInfoProto(name=name)
        if name in self.declared:
            info.type.CopyFrom(self.declared[name])
        return info

    def _port(self, name: str, ty: Any) -> onnx.ValueInfoProto:
        if not isinstance(ty, relax.TensorType) or not isinstance(ty.shape, relax.ShapeExpr):
            raise ModelError(
                f"{self.where}: {name!r} is read by a node that byoc keeps whole, but its type, "
                f"{ty}, is not that of a tensor with known dimensions"
            )
        element = helper.np_dtype_to_tensor_dtype(numpy_dtype(str(ty.dtype)))
        return helper.make_tensor_value_info(
            name, element, [self._text(d) for d in ty.shape.values]
        )

    def _text(self, dim: Any) -> int | str:
        """A dimension as ONNX spells it: a number, or a name that stands for the expression."""
        if isinstance(dim, tirx.IntImm):
            return int(dim)
        for name, known in (*self.symbols.table.items(), *self._expressions.items()):
            if known.same_as(dim) or tvm_ffi.structural_equal(known, dim):
                return name
        name = f"byoc_dim_{len(self._expressions)}"
        self._expressions[name] = dim
        return name

    # -- types

    def _infer(
        self, model: onnx.ModelProto, wanted: Sequence[str], reason: str
    ) -> dict[str, onnx.TypeProto]:
        """What onnx's shape inference says of the outputs; nothing for unknown operators.

        Raises:
            ModelError: It says that the node is wrong.
        """
        found: dict[str, onnx.TypeProto] = {}
        bare = onnx.ModelProto()
        bare.CopyFrom(model)
        for output in bare.graph.output:
            output.ClearField("type")
        try:
            inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True)
        except Exception as error:
            if "Inference" in str(error) and not any(map(_foreign, model.graph.node)):
                raise ModelError(f"{reason}; nor does onnx accept it: {_line(error)}") from None
            return found
        for info in (*inferred.graph.value_info, *inferred.graph.output):
            if info.name in wanted and info.type.WhichOneof("value"):
                found[info.name] = info.type
        return found

    def _relax_type(self, name: str, found: onnx.TypeProto | None) -> tuple[Any, str]:
        """The Relax type, or None and why it has none."""
        types = [t for t in (found, self.declared.get(name)) if t is not None]
        if not types:
            return None, f"{name!r}, of unknown type"
        kinds = {t.WhichOneof("value") for t in types}
        if kinds != {"tensor_type"}:
            kind = str(types[0].WhichOneof("value")).removesuffix("_type")
            return None, f"{name!r}, a {kind.replace('_', ' ')}"
        tensors = [t.tensor_type for t in types]
        element = next((t.elem_type for t in tensors if t.elem_type), 0)
        dtype = _dtype(element)
        if dtype not in _DTYPES:
            return None, f"{name!r}, a tensor of {dtype}"
        shapes = [t.shape.dim for t in tensors if t.HasField("shape")]
        if len({len(s) for s in shapes}) != 1:
            return None, f"{name!r}, whose number of dimensions is known only at run time"
        dims = [self._dim(choices) for choices in zip(*shapes, strict=True)]
        if any(d is None for d in dims):
            return None, f"{name!r}, whose shape depends on data"
        if math.prod(d for d in dims if isinstance(d, int)) > _MAX_ELEMENTS:
            return None, f"{name!r}, which no machine holds"
        return relax.TensorType(dims, dtype), ""

    def _dim(self, given: Sequence[Any]) -> Any:
        for dim in given:
            if dim.HasField("dim_value") and dim.dim_value >= 0:
                return int(dim.dim_value)
        for dim in given:
            known = self._expressions.get(dim.dim_param)
            known = self.symbols.table.get(dim.dim_param) if known is None else known
            if known is not None:
                return known
        return None


def _foreign(node: onnx.NodeProto) -> bool:
    return bool(set(domains(node)) - {""})


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) < 300 else text[:300] + "…"


def _dtype(element: int) -> str:
    try:
        dtype = str(helper.tensor_dtype_to_np_dtype(element))
    except (KeyError, ValueError, TypeError):
        return "an unknown dtype"
    return "strings" if dtype == "object" else dtype
