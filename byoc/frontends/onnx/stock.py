"""TVM's own converters of ONNX operators, for what they express well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from tvm.relax.frontend.onnx import onnx_frontend

__all__ = ["convert_stock", "stock_converters"]


@cache
def stock_converters() -> Mapping[str, Any]:
    """TVM's converters, by operator."""
    return dict(onnx_frontend._get_convert_map())


@cache
def _converter(name: str, opset: int) -> Any:
    return stock_converters()[name].get_converter(opset)


def convert_stock(
    name: str,
    builder: Any,
    inputs: Sequence[Any],
    attrs: dict[str, Any],
    opset: int,
    *,
    outputs: int = 1,
    title: str = "",
    scope: Mapping[str, Any] | None = None,
) -> Any:
    """What TVM's converter makes of an operator.

    Args:
        name: The operator, of the domain ai.onnx.
        builder: Relax's block builder.
        inputs: Its inputs, None where one is absent.
        attrs: Its attributes; what TVM's converters want besides is added.
        opset: The version by whose rules it is read.
        outputs: How many outputs the node lists.
        title: The node's name; the operator's when left out.
        scope: Values around the node by name, for operators with inner graphs.

    Returns:
        A Relax expression, or several.
    """
    attrs["tvm_custom"] = {"name": title or name, "num_outputs": outputs}
    converter = _converter(name, opset)
    params = [{} if scope is None else scope, {}]
    return converter(builder, onnx_frontend.onnx_input(inputs), attrs, params)
