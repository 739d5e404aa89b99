"""The table of all converters: ATen operator → how it is said in Relax."""

from __future__ import annotations

from byoc.frontends.torch import (
    ops_elementwise,
    ops_index,
    ops_make,
    ops_neural,
    ops_reduce,
    ops_shape,
)
from byoc.frontends.torch.registry import TABLE, Converter

__all__ = ["OPERATORS", "Converter"]

# Importing them fills the table.
_FILES = (ops_elementwise, ops_index, ops_make, ops_neural, ops_reduce, ops_shape)

OPERATORS = TABLE
"""Read only."""
