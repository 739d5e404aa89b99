"""What an exporter function sees: the node's types and constants, and where to emit ONNX nodes.

In: a way to ask for types and arrays of values. Out: the nodes, initialisers and opsets of one
ONNX model. A check uses one too, and throws it away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from byoc.segment import Array, Node, TensorType

if TYPE_CHECKING:
    import onnx

__all__ = ["Export", "ExportContext", "Unsupported"]


class Unsupported(Exception):  # noqa: N818 - it is an answer, not an error
    """Raised by an exporter function for a node that has no ONNX form; says why in one sentence."""


Export = Callable[["ExportContext", Node, list[str]], "str | Sequence[str]"]
"""(context, node, names of its inputs) → name, or names, of its outputs. May raise Unsupported."""


class ExportContext:
    """Collects the ONNX nodes and initialisers of one model.

    Attributes:
        type_of: Value id → its type.
        constant_of: Value id → its array, or None.
        nodes: Nodes so far, in topological order.
        initializers: Name → array.
        tensors: Initialisers as ONNX holds them.
        opsets: Domain → version, beside the exporter's own.

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
        """Return a name that no other value of this model has."""
        self._fresh += 1
        return f"{hint}_{self._fresh}"

    def emit(self, op: str, inputs: Sequence[str], outputs: int = 1, **attrs: Any) -> list[str]:
        """Append one ONNX node.

        Args:
            op: The ONNX operator.
            inputs: Names of its inputs; "" for one that is left out.
            outputs: How many outputs it has.
            **attrs: Its attributes; those that are None are left out.

        Returns:
            Names of the outputs.

        """
        from onnx import helper

        names = [self.fresh(op) for _ in range(outputs)]
        kept = {key: value for key, value in attrs.items() if value is not None}
        self.nodes.append(helper.make_node(op, list(inputs), names, name=names[0], **kept))
        return names

    def one(self, op: str, *inputs: str, **attrs: Any) -> str:
        """Append one ONNX node of one output, as `emit` does, and return that output's name."""
        return self.emit(op, inputs, **attrs)[0]

    def constant(self, value: Any, dtype: str = "int64") -> str:
        """Add an initialiser and return its name.

        Args:
            value: Anything that numpy takes for an array.
            dtype: The dtype it gets.

        """
        name = self.fresh("const")
        self.initializers[name] = np.asarray(value, dtype)
        return name

    def shape(self, value: int, what: str) -> tuple[int, ...]:
        """Return the static shape of a value.

        Args:
            value: Value id.
            what: What it is, for the reason: "the weight".

        Raises:
            Unsupported: A dimension is symbolic.

        """
        ty = self.type_of(value)
        if not ty.is_static:
            raise Unsupported(f"{what} has the symbolic shape {ty}")
        return tuple(int(d) for d in ty.shape)

    def dtype(self, value: int) -> str:
        """Return the dtype of a value id, as numpy spells it."""
        return self.type_of(value).dtype

    def rank(self, value: int) -> int:
        """Return the number of dimensions of a value id."""
        return len(self.type_of(value).shape)
