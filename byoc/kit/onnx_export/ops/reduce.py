"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Callable

from byoc.kit.onnx_export.context import Export, ExportContext, Unsupported
from byoc.segment import Node

__all__ = ["EXPORTS"]


def _axes(c: ExportContext, node: Node) -> list[int]:
    rank = c.rank(node.inputs[0])
    axes = node.attrs.get("axis")
    if axes is None:
        return list(range(rank))
    if isinstance(axes, int):
        axes = (axes,)
    return [int(a) % rank for a in axes]


def _reduce(onnx_op: str) -> Callable[[ExportContext, Node, list[str]], str]:
    def export(c: ExportContext, node: Node, x: list[str]) -> str:
        keep = int(bool(node.attrs.get("keepdims", False)))
        return c.one(onnx_op, x[0], c.constant(_axes(c, node)), keepdims=keep)

    return export


def _mean(c: ExportContext, node: Node, x: list[str]) -> str:
    """Over all that follows the channels it is a pool: engines have kernels for that, and sum every
    channel in the same order.
    """
    rank = c.rank(node.inputs[0])
    pooled = rank > 2 and _axes(c, node) == list(range(2, rank)) and node.attrs.get("keepdims")
    if pooled and c.dtype(node.inputs[0]) in ("float16", "float32"):
        return c.one("GlobalAveragePool", x[0])
    return _reduce("ReduceMean")(c, node, x)


def _variance(c: ExportContext, node: Node, x: list[str]) -> str:
    axes = c.constant(_axes(c, node))
    away = c.one("Sub", x[0], c.one("ReduceMean", x[0], axes, keepdims=1))
    keep = int(bool(node.attrs.get("keepdims", False)))
    return c.one("ReduceMean", c.one("Mul", away, away), axes, keepdims=keep)


def _std(c: ExportContext, node: Node, x: list[str]) -> str:
    return c.one("Sqrt", _variance(c, node, x))


def _arg(onnx_op: str) -> Export:
    def export(c: ExportContext, node: Node, x: list[str]) -> str:
        axis = node.attrs.get("axis")
        if axis is None:
            raise Unsupported(f"{node.op} over all axes at once")
        if c.dtype(node.outputs[0]) != "int64":
            raise Unsupported(f"{node.op} with {c.dtype(node.outputs[0])} indices, ONNX has int64")
        keep = int(bool(node.attrs.get("keepdims", False)))
        return c.one(onnx_op, x[0], axis=int(axis), keepdims=keep)

    return export


EXPORTS: dict[str, Export] = {
    "argmax": _arg("ArgMax"),
    "argmin": _arg("ArgMin"),
    "max": _reduce("ReduceMax"),
    "mean": _mean,
    "min": _reduce("ReduceMin"),
    "prod": _reduce("ReduceProd"),
    "std": _std,
    "sum": _reduce("ReduceSum"),
    "variance": _variance,
}
