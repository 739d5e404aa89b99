"""Relax op → ONNX nodes: one short function per op, one table per family."""

from __future__ import annotations

from byoc.interchange.context import Export
from byoc.interchange.ops import elementwise, neural, reduce, shape

__all__ = ["EXPORTS"]

EXPORTS: dict[str, Export] = {
    **elementwise.EXPORTS,
    **neural.EXPORTS,
    **reduce.EXPORTS,
    **shape.EXPORTS,
}
