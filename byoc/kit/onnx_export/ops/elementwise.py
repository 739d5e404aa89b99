"""Element-wise ops: most have an ONNX twin, the rest are spelled out."""

from __future__ import annotations

from byoc.kit.onnx_export.context import Export, ExportContext, Unsupported
from byoc.segment import Node
from byoc.support.dtypes import numpy_dtype

__all__ = ["EXPORTS"]


def _same(onnx_op: str) -> Export:
    """An op whose ONNX twin takes the same inputs and no attributes."""

    def export(c: ExportContext, node: Node, x: list[str]) -> str:
        return c.one(onnx_op, *x)

    return export


def _square(c: ExportContext, node: Node, x: list[str]) -> str:
    return c.one("Mul", x[0], x[0])


def _rsqrt(c: ExportContext, node: Node, x: list[str]) -> str:
    return c.one("Reciprocal", c.one("Sqrt", x[0]))


def _silu(c: ExportContext, node: Node, x: list[str]) -> str:
    return c.one("Mul", x[0], c.one("Sigmoid", x[0]))


def _gelu(c: ExportContext, node: Node, x: list[str]) -> str:
    return c.one("Gelu", x[0])


def _gelu_tanh(c: ExportContext, node: Node, x: list[str]) -> str:
    return c.one("Gelu", x[0], approximate="tanh")


def _leaky_relu(c: ExportContext, node: Node, x: list[str]) -> str:
    return c.one("LeakyRelu", x[0], alpha=float(node.attrs["alpha"]))


def _softplus(c: ExportContext, node: Node, x: list[str]) -> str:
    beta, threshold = float(node.attrs["beta"]), float(node.attrs["threshold"])
    if beta != 1 or threshold < 20:
        raise Unsupported(f"ONNX has no Softplus of beta {beta:g}, threshold {threshold:g}")
    return c.one("Softplus", x[0])


def _clip(c: ExportContext, node: Node, x: list[str]) -> str:
    dtype = c.dtype(node.inputs[0])
    bounds = (c.constant(node.attrs[name], dtype) for name in ("min", "max"))
    return c.one("Clip", x[0], *bounds)


def _cast(c: ExportContext, node: Node, x: list[str]) -> str:
    import onnx
    from onnx import helper

    dtype = c.dtype(node.outputs[0])
    try:
        to = helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype))
    except (KeyError, TypeError, ValueError) as error:
        raise Unsupported(f"ONNX has no dtype {dtype}") from error
    if to == onnx.TensorProto.UNDEFINED:
        raise Unsupported(f"ONNX has no dtype {dtype}")
    return c.one("Cast", x[0], to=to)


EXPORTS: dict[str, Export] = {
    "abs": _same("Abs"),
    "acos": _same("Acos"),
    "add": _same("Add"),
    "asin": _same("Asin"),
    "astype": _cast,
    "atan": _same("Atan"),
    "ceil": _same("Ceil"),
    "clip": _clip,
    "cos": _same("Cos"),
    "cosh": _same("Cosh"),
    "divide": _same("Div"),
    "equal": _same("Equal"),
    "erf": _same("Erf"),
    "exp": _same("Exp"),
    "floor": _same("Floor"),
    "greater": _same("Greater"),
    "greater_equal": _same("GreaterOrEqual"),
    "less": _same("Less"),
    "less_equal": _same("LessOrEqual"),
    "log": _same("Log"),
    "logical_and": _same("And"),
    "logical_not": _same("Not"),
    "logical_or": _same("Or"),
    "logical_xor": _same("Xor"),
    "maximum": _same("Max"),
    "minimum": _same("Min"),
    "multiply": _same("Mul"),
    "negative": _same("Neg"),
    "nn.gelu": _gelu,
    "nn.gelu_tanh": _gelu_tanh,
    "nn.leakyrelu": _leaky_relu,
    "nn.relu": _same("Relu"),
    "nn.silu": _silu,
    "nn.softplus": _softplus,
    "power": _same("Pow"),
    "round": _same("Round"),
    "rsqrt": _rsqrt,
    "sigmoid": _same("Sigmoid"),
    "sign": _same("Sign"),
    "sin": _same("Sin"),
    "sinh": _same("Sinh"),
    "sqrt": _same("Sqrt"),
    "square": _square,
    "subtract": _same("Sub"),
    "tan": _same("Tan"),
    "tanh": _same("Tanh"),
    "where": _same("Where"),
}
