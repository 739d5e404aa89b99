"""The table of all converters: ATen operator → how it is said in Relax."""

from __future__ import annotations

from byoc.frontends.torch import ops_elementwise, ops_neural, ops_shape
from byoc.frontends.torch.registry import TABLE, Converter

__all__ = ["OPERATORS", "Converter"]

_FILES = (ops_elementwise, ops_neural, ops_shape)  # importing them fills the table

OPERATORS = TABLE
"""Read only."""
