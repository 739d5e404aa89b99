"""What a converter of an ATen operator is given besides the operator's arguments.

torch has worked out the type of every value, so a converter asks what the result is to be
(`c.dtype`, `c.shape`) and casts what it is given as torch would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import tvm
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import BaseContext, InexpressibleError, sentence
from byoc.frontends.helpers import const
from byoc.frontends.normalise.fold import fold_expression
from byoc.frontends.torch.sizes import Sizes
from byoc.ir.arrays import to_numpy
from byoc.support.dtypes import numpy_dtype

__all__ = ["Later", "TorchContext", "TrainingError", "dtype_name", "is_tensor"]

_DTYPES = {
    torch.float16: "float16", torch.float32: "float32", torch.float64: "float64",
    torch.bfloat16: "bfloat16", torch.bool: "bool",
    torch.int8: "int8", torch.int16: "int16", torch.int32: "int32", torch.int64: "int64",
    torch.uint8: "uint8", torch.uint16: "uint16", torch.uint32: "uint32", torch.uint64: "uint64",
    torch.float8_e4m3fn: "float8_e4m3fn", torch.float8_e5m2: "float8_e5m2",
}  # fmt: skip


class TrainingError(InexpressibleError):
    """The operator does what only training wants, such as dropout."""


@dataclass(frozen=True)
class Later:
    """A value that cannot be had; the reason is told to whoever reads it."""

    reason: str


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
class TorchContext(BaseContext):
    """One ATen node on its way to Relax.

    Attributes:
        node: The node of torch's graph; its arguments are given to the converter by name.
        sizes: The program's symbolic sizes.
    """

    node: Any
    sizes: Sizes

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
        return self.sizes.shape(self.meta.shape)

    def result_type(self, *names: str) -> str:
        """The dtype in which torch computes on these arguments (by position)."""
        values = [
            a.meta["val"] if isinstance(a, torch.fx.Node) else a
            for a in self.node.args[: len(names)]
        ]
        plain = [v.node.hint if hasattr(v, "node") and not _is_fake(v) else v for v in values]
        return dtype_name(torch.result_type(plain[0], plain[1]))

    # -- writing

    def failure(self, error: Exception) -> Exception:
        """See `BaseContext.failure`; an argument that a converter does not take is a TypeError."""
        if isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
            name = sentence(error).rsplit(" ", 1)[-1]
            error = ValueError(f"the argument {name} is not supported")
        return super().failure(error)

    def emit(self, expr: Any) -> Any:
        """A variable of the expression; a constant when it has only constants, and is small."""
        expr = self.typed(expr)
        if isinstance(expr, (relax.Var, GenericConst)):
            return expr
        folded = fold_expression(expr, self.builder.lookup_binding, self.builder.unknown)
        if folded is not None:
            return const(folded)
        return self.builder.emit(expr)

    def const(self, value: Any, dtype: str) -> Any:
        """Make a constant of a number or an array.

        Args:
            value: The number or array.
            dtype: Element type, as Relax spells it.

        Raises:
            ValueError: A fraction is asked for as a whole number.
        """
        if isinstance(value, float) and "int" in dtype and not value.is_integer():
            raise ValueError(f"{value} among numbers of the dtype {dtype}")
        return const(value, numpy_dtype(dtype))

    def cast(self, value: Any, dtype: str) -> Any:
        """Return a tensor, a number or a size as a tensor of a dtype.

        Args:
            value: A Relax tensor, a number, or the symbolic size of a dimension.
            dtype: Element type wanted, as Relax spells it.

        Raises:
            ValueError: A fraction is asked for as a whole number.
        """
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
        """Return a number that must be known when compiling.

        Args:
            value: An int, or a TVM expression.
            what: What it is, for the message.

        Raises:
            ValueError: It is symbolic.
        """
        if isinstance(value, int):
            return value
        if isinstance(value, tvm.tirx.IntImm):
            return int(value)
        raise ValueError(f"{what} must be known when compiling, found {value}")


def _is_fake(value: Any) -> bool:
    return isinstance(value, torch.Tensor)
