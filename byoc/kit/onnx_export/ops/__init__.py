"""Relax op → ONNX nodes: one short function per op, one table per family."""

from __future__ import annotations

from byoc.kit.onnx_export.context import Export
from byoc.kit.onnx_export.ops import elementwise, neural, recurrent, reduce, shape

__all__ = ["EXPORTS"]

EXPORTS: dict[str, Export] = {
    **elementwise.EXPORTS,
    **neural.EXPORTS,
    **recurrent.EXPORTS,
    **reduce.EXPORTS,
    **shape.EXPORTS,
}
