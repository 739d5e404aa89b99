"""What an exporter function sees: the node's types and constants, and where to emit ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.segment import Array, Node, TensorType

if TYPE_CHECKING:
    import onnx

__all__ = ["Context", "Export", "Unsupported"]


class Unsupported(Exception):  # noqa: N818 - it is an answer, not an error
    """Why a node cannot be written as ONNX: one sentence."""


Export = Callable[["Context", Node, list[str]], "str | Sequence[str]"]
"""(context, node, names of its inputs) → name, or names, of its outputs. May raise Unsupported."""


class Context:
    """Collects ONNX nodes and initialisers of one model.

    type_of: value id → its type. constant_of: value id → its array, or None.
    tensors: initialisers as ONNX holds them. opsets: domain → version, beside the exporter's own.
    """

    def __init__(
        self,
        type_of: Callable[[int], TensorType],
        constant_of: Callable[[int], Array | None],
    ) -> None:
        self.type_of = type_of
        self.constant_of = constant_of
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, Array] = {}
        self.tensors: list[onnx.TensorProto] = []
        self.opsets: dict[str, int] = {}
        self._fresh = 0

    def fresh(self, hint: str) -> str:
        """A name no other value of this model has."""
        self._fresh += 1
        return f"{hint}_{self._fresh}"

    def emit(self, op: str, inputs: Sequence[str], outputs: int = 1, **attrs: Any) -> list[str]:
        """Append one ONNX node; returns the names of its outputs."""
        from onnx import helper

        names = [self.fresh(op) for _ in range(outputs)]
        kept = {key: value for key, value in attrs.items() if value is not None}
        self.nodes.append(helper.make_node(op, list(inputs), names, name=names[0], **kept))
        return names

    def one(self, op: str, *inputs: str, **attrs: Any) -> str:
        """`emit` for ops with one output."""
        return self.emit(op, inputs, **attrs)[0]

    def constant(self, value: Any, dtype: str = "int64") -> str:
        """An initialiser holding `value`."""
        name = self.fresh("const")
        self.initializers[name] = np.asarray(value, dtype)
        return name

    def shape(self, value: int, what: str) -> tuple[int, ...]:
        """The static shape of a value id. Raises Unsupported when a dimension is symbolic."""
        ty = self.type_of(value)
        if not ty.is_static:
            raise Unsupported(f"{what} has the symbolic shape {ty}")
        return tuple(int(d) for d in ty.shape)

    def dtype(self, value: int) -> str:
        """The dtype of a value id, as numpy spells it."""
        return self.type_of(value).dtype

    def rank(self, value: int) -> int:
        """The number of dimensions of a value id."""
        return len(self.type_of(value).shape)
