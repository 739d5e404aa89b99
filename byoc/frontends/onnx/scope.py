"""The values that nodes of a graph can read by name: those made before, and stored tensors.

    Scope ─ values   name → Relax value, or one that is still pending (`opaque.py`)
          └ stored   name → TensorProto; read, and turned into a constant, when first asked for

An inner graph sees the values around it; what it makes stays inside.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

import onnx
from tvm import relax

from byoc.errors import ModelError
from byoc.frontends.onnx.weights import Weights

__all__ = ["Scope"]


@dataclass(frozen=True)
class Scope:
    """Values of one graph, by name."""

    weights: Weights
    stored: dict[str, onnx.TensorProto]
    values: MutableMapping[str, Any] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.values or name in self.stored

    def lookup(self, name: str, what: str) -> Any:
        """The value of a name; None for the empty one.

        Args:
            name: The name of a value.
            what: Who asks, as messages begin.

        Raises:
            ModelError: Nothing made it.
        """
        if not name:
            return None
        if name not in self.values:
            if name not in self.stored:
                raise ModelError(f"{what} reads {name!r}, which nothing before it produces")
            self.values[name] = relax.const(self.weights.tensor(self.stored[name]))
        return self.values[name]

    def unread(self, name: str) -> onnx.TensorProto | None:
        """The stored tensor of a name that nobody asked for yet."""
        return None if name in self.values else self.stored.get(name)

    def forget(self, name: str) -> None:
        """Free a stored tensor; it would be read again."""
        if name in self.stored:
            self.values.pop(name, None)

    def inner(self, graph: onnx.GraphProto) -> Scope:
        """The scope of an inner graph."""
        stored = self.stored | {t.name: t for t in graph.initializer}
        return Scope(self.weights, stored, ChainMap({}, self.values))
