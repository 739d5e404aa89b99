"""`Context`: what a converter is given besides the operator's arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tvm
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.normalise.fold import fold_expression
from byoc.frontends.normalise.tensors import from_numpy, to_numpy
from byoc.frontends.torch.symbols import Symbols
from byoc.support.dtypes import numpy_dtype

__all__ = ["Context", "dtype_name", "is_tensor"]

_DTYPES = {
    torch.float16: "float16", torch.float32: "float32", torch.float64: "float64",
    torch.bfloat16: "bfloat16", torch.bool: "bool",
    torch.int8: "int8", torch.int16: "int16", torch.int32: "int32", torch.int64: "int64",
    torch.uint8: "uint8", torch.uint16: "uint16", torch.uint32: "uint32", torch.uint64: "uint64",
    torch.float8_e4m3fn: "float8_e4m3fn", torch.float8_e5m2: "float8_e5m2",
}  # fmt: skip


def dtype_name(dtype: Any) -> str:
    """TVM's name of a torch dtype; ValueError for complex and other dtypes it does not have."""
    try:
        return _DTYPES[dtype]
    except KeyError:
        raise ValueError(f"the dtype {dtype} has no counterpart in TVM") from None


def is_tensor(value: Any) -> bool:
    """True for a Relax expression of a tensor."""
    return isinstance(value, relax.Expr) and isinstance(value.ty, relax.TensorType)


@dataclass
class Context:
    """One node on its way to Relax.

    node: the torch node. builder: emits bindings. symbols: for sizes.
    """

    node: Any
    builder: Any
    symbols: Symbols

    # -- what torch says about the result

    @property
    def meta(self) -> Any:
        """The fake tensor (or tuple of them) that torch computed for the node."""
        return self.node.meta["val"]

    @property
    def dtype(self) -> str:
        """The result's dtype."""
        return dtype_name(self.meta.dtype)

    @property
    def shape(self) -> list[Any]:
        """The result's dimensions."""
        return self.symbols.shape(self.meta.shape)

    def result_type(self, *names: str) -> str:
        """The dtype in which torch computes on these arguments (by position)."""
        values = [
            a.meta["val"] if isinstance(a, torch.fx.Node) else a
            for a in self.node.args[: len(names)]
        ]
        plain = [v.node.hint if hasattr(v, "node") and not _is_fake(v) else v for v in values]
        return dtype_name(torch.result_type(plain[0], plain[1]))

    # -- writing

    def emit(self, expr: Any) -> Any:
        """A variable of the expression; a constant when it has only constants, and is small."""
        expr = self.builder.normalize(expr)
        if isinstance(expr, (relax.Var, GenericConst)):
            return expr
        folded = fold_expression(expr, self.builder.lookup_binding)
        if folded is not None:
            return relax.const(from_numpy(folded))
        return self.builder.emit(expr)

    def const(self, value: Any, dtype: str) -> Any:
        """A constant of a number or an array; ValueError for a fraction as a whole number."""
        if isinstance(value, float) and "int" in dtype and not value.is_integer():
            raise ValueError(f"{value} among numbers of the dtype {dtype}")
        return relax.const(from_numpy(np.asarray(value, numpy_dtype(dtype))))

    def cast(self, value: Any, dtype: str) -> Any:
        """A tensor, a number or a size as a tensor of this dtype."""
        if isinstance(value, (bool, int, float)):
            return self.const(value, dtype)
        if not isinstance(value, relax.Expr) or tvm.ir.is_prim_expr(value):
            vector = self.emit(relax.op.shape_to_tensor(relax.ShapeExpr([value])))
            value = self.emit(relax.op.reshape(vector, ()))
        if str(value.ty.dtype) == dtype:
            return value
        if isinstance(value, GenericConst) and value.ty.ndim == 0:
            return self.const(to_numpy(value.value), dtype)
        if dtype == "bool":
            zero = self.const(0, str(value.ty.dtype))
            return self.emit(relax.op.not_equal(value, zero))
        return self.emit(relax.op.astype(value, dtype))

    def dims(self, value: Any) -> list[Any]:
        """Dimensions of a tensor, ints where they are known."""
        return [int(d) if isinstance(d, tvm.tirx.IntImm) else d for d in value.ty.shape.values]

    def static(self, value: Any, what: str) -> int:
        """The number as an int; ValueError when it is symbolic."""
        if isinstance(value, int):
            return value
        if isinstance(value, tvm.tirx.IntImm):
            return int(value)
        raise ValueError(f"{what} must be known when compiling, found {value}")


def _is_fake(value: Any) -> bool:
    return isinstance(value, torch.Tensor)
