"""What converters answer with, brought into the forms that later nodes read.

constants · variables (a call becomes one, under the name of its node)
shapes (`ShapeExpr`) and numbers (`PrimExpr`) of arithmetic over symbolic dimensions
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
import tvm
from tvm import relax, tirx
from tvm.ir import GenericConst

from byoc.errors import ModelError
from byoc.frontends.bindings import Bindings
from byoc.frontends.helpers import uncast
from byoc.frontends.normalise.fold import fold_expression
from byoc.frontends.onnx.nodes import name_of
from byoc.frontends.onnx.opaque import Boxed, Pending
from byoc.frontends.onnx.operators import SEQUENCES, TAKES_NUMBERS, TAKES_SHAPES
from byoc.ir.arrays import from_numpy
from byoc.ir.decode import items

__all__ = ["Values"]

MAX_ELEMENTS = 1 << 46


@dataclass
class Values(Bindings):
    """The function that is being written, and the forms of values in it."""

    def unpack(self, expr: Any, node: onnx.NodeProto) -> Sequence[Any]:
        """Return one value per output of a node, from the expression that its converter made.

        Args:
            expr: A Relax expression, a tuple or a list of them.
            node: The node.
        """
        if node.op_type in SEQUENCES:
            return [self.builder.emit(expr, name_of(node))]
        if isinstance(expr, (list, tuple)):
            return expr
        if isinstance(expr, relax.Tuple):
            return list(expr.fields)
        if isinstance(expr, relax.Expr) and not isinstance(expr, relax.ShapeExpr):
            folded = fold_expression(expr, self.builder.lookup_binding, self.builder.unknown)
            if folded is not None:
                return [relax.const(from_numpy(folded))]
            expr = self.builder.normalize(expr)
            if isinstance(expr.ty, relax.TupleType):
                whole = self.bind(expr, name_of(node))
                return [relax.TupleGetItem(whole, i) for i in range(len(expr.ty.fields))]
        return [expr]

    def keep(self, value: Any, name: str, what: str) -> Any:
        """Return a value in the form later nodes read it: calls become named variables.

        Args:
            value: What a converter made.
            name: The name of the node, for the variable.
            what: Model and node, as errors name them.

        Returns:
            A constant, a variable or a shape; other forms, such as None, as they are.
        """
        value = _constant_shape(value)
        if isinstance(value, (Pending, Boxed)):
            return value
        if isinstance(value, (GenericConst, relax.ShapeExpr, relax.Var)):
            return value
        if tvm.ir.is_prim_expr(value) and not str(value.ty.dtype).startswith("int"):
            value = self.tensor(value, "")  # a dimension cast to float: no arithmetic of dimensions
            return self.bind(value, name)
        if tvm.ir.is_prim_expr(value) or not isinstance(value, relax.Expr):
            return value
        folded = fold_expression(value, self.builder.lookup_binding, self.builder.unknown)
        if folded is not None:
            return relax.const(from_numpy(folded))
        value = self.builder.normalize(value)
        dims = _dims(value)
        if 0 in dims and all(isinstance(d, int) for d in dims):
            # A constant: Relax reads a 0 in some shapes as something else.
            return relax.const(from_numpy(np.zeros(dims, str(value.ty.dtype))))
        _check_size([d for d in dims if isinstance(d, int)], what)
        return self.bind(value, name)

    def tensor(self, value: Any, op: str) -> Any:
        """Return a value as a tensor, unless the operator understands shapes or numbers.

        Args:
            value: A Relax value, a number, or None.
            op: The name of the operator that reads it.
        """
        if isinstance(getattr(value, "ty", None), relax.TensorType):
            return value
        if isinstance(value, relax.ShapeExpr) or (
            isinstance(value, relax.Var) and isinstance(value.ty, relax.ShapeType)
        ):
            if op in TAKES_SHAPES:
                return value
            return self.builder.emit(relax.op.shape_to_tensor(value))
        number = tvm.ir.is_prim_expr(value)
        if value is not None and (number or not isinstance(value, (GenericConst, relax.Var))):
            if not tvm.ir.is_prim_expr(value):
                return value
            if op in TAKES_NUMBERS:
                return value
            dim, dtype = uncast(value), str(value.ty.dtype)
            vector = self.builder.emit(relax.op.shape_to_tensor(relax.ShapeExpr([dim])))
            scalar = self.builder.emit(relax.op.reshape(vector, ()))
            return scalar if dtype == "int64" else self.builder.emit(relax.op.astype(scalar, dtype))
        return value


def _dims(value: Any) -> list[Any]:
    """The dimensions of a value, those that are known as int; none where the shape is unknown."""
    shape = getattr(value.ty, "shape", None)
    if not isinstance(shape, relax.ShapeExpr):
        return []
    return [int(d) if isinstance(d, tirx.IntImm) else d for d in items(shape.values)]


def _check_size(dims: list[int], what: str) -> None:
    if prod(dims) > MAX_ELEMENTS or min(dims, default=0) < 0:
        raise ModelError(f"{what} makes a tensor of shape {dims}; no machine holds such a tensor")


def _constant_shape(value: Any) -> Any:
    """Shapes and numbers without symbols as constants, which every converter understands."""
    if isinstance(value, relax.ShapeExpr):
        if all(isinstance(d, tirx.IntImm) for d in value.values):
            return relax.const(from_numpy(np.array([int(d) for d in value.values], np.int64)))
    elif isinstance(value, tirx.IntImm):
        return relax.const(from_numpy(np.array(int(value), np.int64)))
    return value
