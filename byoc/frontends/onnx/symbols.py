"""Shapes of graph inputs: fixed, named, computed from names, or unknown.

dim_value 3            → 3
dim_param "batch"      → the variable batch, one per name in the whole model
dim_param "2*seq + 1"  → an expression over the variable seq
nothing, or "?"        → a fresh variable named after the input, "ids_d1"
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
from tvm import relax, tirx

from byoc.dims import UNKNOWN, DimensionError, Expr, Operation, evaluate, names, parse
from byoc.errors import ModelError

__all__ = ["Symbols"]

_MAX_BYTES = 1 << 46  # 64 TiB: no machine has it; a larger input is a damaged file

_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "max": tirx.max,
    "min": tirx.min,
}


@dataclass
class Symbols:
    """The symbolic dimensions of one model, by name."""

    where: str
    table: dict[str, Any] = field(default_factory=dict)

    def tensor_type(self, info: onnx.ValueInfoProto) -> Any:
        """The Relax type of a graph input. Raises ModelError for what is no tensor."""
        what = f"{self.where}: input {info.name!r}"
        kind = info.type.WhichOneof("value")
        if kind != "tensor_type":
            raise ModelError(
                f"{what} has the type {kind or 'unknown'}; byoc takes models whose inputs are "
                f"tensors"
            )
        tensor = info.type.tensor_type
        dtype = _dtype(tensor.elem_type, what)
        if not tensor.HasField("shape"):
            raise ModelError(
                f"{what} has no shape, not even a number of dimensions; give it one "
                f"(onnx.tools.update_model_dims, or when exporting)"
            )
        dims = [self._dim(d, f"{info.name}_d{i}", what) for i, d in enumerate(tensor.shape.dim)]
        size = 1
        for d in dims:
            size *= max(1, d) if isinstance(d, int) else 1
        if size > _MAX_BYTES:
            raise ModelError(f"{what} has the shape {dims}; no machine holds such a tensor")
        return relax.TensorType(dims, dtype)

    def _dim(self, dim: Any, fresh: str, what: str) -> Any:
        kind = dim.WhichOneof("value")
        if kind == "dim_value" and dim.dim_value >= 0:
            return int(dim.dim_value)
        text = dim.dim_param.strip() if kind == "dim_param" else ""
        if text in ("", UNKNOWN, "-1", "None"):
            return self._variable(fresh)
        try:
            if names(text):
                return self._expression(parse(text))
            if (size := evaluate(text, {})) >= 0:
                return size
        except (DimensionError, RuntimeError):
            pass  # no expression, or one that divides by zero (TVM raises RuntimeError)
        return self._variable(text)  # a name of its own kind, such as "unk__12:0"

    def _expression(self, expr: Expr) -> Any:
        if isinstance(expr, Operation):
            left, right = self._expression(expr.left), self._expression(expr.right)
            return _OPERATORS[expr.sign](left, right)
        return self._variable(expr) if isinstance(expr, str) else expr

    def _variable(self, name: str) -> Any:
        if name not in self.table:
            self.table[name] = tirx.Var(name, "int64")
        return self.table[name]


def _dtype(elem_type: int, what: str) -> str:
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, ValueError, TypeError):
        raise ModelError(f"{what} has the unknown element type {elem_type}") from None
    if dtype == "object":
        raise ModelError(f"{what} is a tensor of strings; byoc takes numbers only")
    return dtype
