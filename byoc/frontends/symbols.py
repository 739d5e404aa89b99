"""Symbolic dimensions by name: one variable for each name of a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tvm import tirx

__all__ = ["Symbols"]


@dataclass
class Symbols:
    """The symbolic dimensions of one model.

    Attributes:
        table: Name → its variable, an int64 of TVM.
    """

    table: dict[str, Any] = field(default_factory=dict)

    def variable(self, name: str) -> Any:
        """The variable of a name, made when first asked for."""
        if name not in self.table:
            self.table[name] = tirx.Var(name, "int64")
        return self.table[name]
