"""`summarise`: what a model holds, told from its normal form; nothing is built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from tvm import relax
from tvm.ir import Call, GenericConst, Op, is_prim_expr

from byoc.frontends.model import Model
from byoc.ir.ports import port_types
from byoc.kit.foreign_op import FOREIGN
from byoc.support.dtypes import numpy_dtype

__all__ = ["OpaqueOp", "Summary", "summarise"]

_OVER_SHAPES = {"shape_to_tensor", "tensor_to_shape", "shape_of"}
"""Ops over shapes: they compute no tensor."""


@dataclass(frozen=True, slots=True)
class OpaqueOp:
    """Nodes that Relax cannot express: only a vendor that runs their format takes them.

    Attributes:
        kind: The foreign op that holds them, "byoc.onnx".
        op: Their operators.
        node: Their names.
        reason: Why Relax cannot express them.
    """

    kind: str
    op: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A model at a glance.

    Attributes:
        name: The model's short name.
        source: What it was read from.
        versions: Operator set → version, where the source has any.
        inputs: Name → type; symbolic dimensions by name ("float32[batch, 3, 224, 224]").
        outputs: The same of the outputs.
        operators: Operator of the source → how often it stands there.
        ops: The same of the normal form, which vendors see.
        parameters: Elements of all constants, each array once.
        parameter_bytes: Their bytes.
        opaque: What only a vendor that runs the source's format takes.
    """

    name: str
    source: str
    versions: Mapping[str, str]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    operators: Mapping[str, int]
    ops: Mapping[str, int]
    parameters: int
    parameter_bytes: int
    opaque: tuple[OpaqueOp, ...]

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON takes it."""
        return asdict(self)


def summarise(model: Model) -> Summary:
    """What a model holds.

    Raises:
        ModelError: A port has an unknown rank.
    """
    inputs, outputs = port_types(model.mod["main"], model.inputs, model.outputs, model.values)
    ops: Counter[str] = Counter()
    opaque: list[OpaqueOp] = []
    sizes: dict[Any, tuple[int, int]] = {}
    for expr in _expressions(model.mod):
        if isinstance(expr, GenericConst):
            if isinstance(expr.ty, relax.TensorType):
                sizes[expr] = _size(expr)
            continue
        name = expr.op.name.removeprefix("relax.") if isinstance(expr.op, Op) else "call"
        if name in FOREIGN:
            told = (str(expr.attrs[key]) for key in ("op", "node", "reason"))
            opaque.append(OpaqueOp(name, *told))
        elif name not in _OVER_SHAPES:
            ops[name] += 1
    return Summary(
        name=model.name,
        source=model.source,
        versions=dict(model.versions),
        inputs={p.name: p.value or str(p.type) for p in inputs},
        outputs={p.name: p.value or str(p.type) for p in outputs},
        operators=dict(Counter(model.operators).most_common()),
        ops=dict(ops.most_common()),
        parameters=sum(count for count, _ in sizes.values()),
        parameter_bytes=sum(size for _, size in sizes.values()),
        opaque=tuple(opaque),
    )


def _expressions(mod: Any) -> list[Any]:
    """Calls and constants of every function of the module, branches included, each once."""
    found: list[Any] = []

    def note(expr: Any) -> None:
        if isinstance(expr, GenericConst) or (isinstance(expr, Call) and not is_prim_expr(expr)):
            found.append(expr)

    for function in mod.functions.values():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, note)
    return found


def _size(const: Any) -> tuple[int, int]:
    """Elements and bytes of a constant."""
    count = prod(int(d) for d in const.value.shape)
    return count, count * numpy_dtype(str(const.ty.dtype)).itemsize
