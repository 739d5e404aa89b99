"""A block builder by which no op enters a function unless its shapes fit, or are checked to.

In: expressions, as converters of every frontend and of TVM's importers hand them over. Out: the
same, where the operands of ops whose shapes may not fit come out of a check (`dims`)::

    emit(matmul(a: [2, k], b: [m, 2]))   ──▶   b' = match_cast(b, [k, 2]);  matmul(a, b')

Expressions without symbolic dimensions stay as they are.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax, tirx
from tvm.ir import Call, GenericConst

from byoc.frontends.fitting.dims import dims_of, hold, proved_true
from byoc.frontends.fitting.inferred import InferredTypes
from byoc.frontends.fitting.rules import RULES
from byoc.frontends.helpers import is_int
from byoc.ir.decode import items

__all__ = ["FittingBuilder"]


class FittingBuilder(relax.BlockBuilder):  # type: ignore[misc]
    """Relax's block builder, with checks of shapes.

    Attributes:
        computed: Variables that stand for numbers which the model computes, not (yet) for lengths.
        unknown: Variables whose value is known only at run time, see `fold_expression`.
    """

    def __init__(self, mod: tvm.IRModule | None = None) -> None:
        super().__init__(mod)
        self.computed: set[Any] = set()
        self.unknown: set[Any] = set()
        self._inferred = InferredTypes(super().normalize)

    def match_cast(self, value: Any, ty: Any, name_hint: str = "") -> Any:
        """Bind a value of a type that is checked when the model runs."""
        if isinstance(ty, relax.ShapeType):
            self.computed.update(d for d in ty.values or () if isinstance(d, tirx.Var))
        return super().match_cast(value, ty, name_hint)

    def emit(self, expr: Any, name_hint: str = "") -> Any:
        """Bind an expression to a variable, once it is checked."""
        return super().emit(self._fit(expr), name_hint)

    def normalize(self, expr: Any) -> Any:
        """Give an expression its type, once it is checked."""
        return super().normalize(self._fit(expr))

    def normalize_unchecked(self, expr: Any) -> Any:
        """Give an expression its type, whether or not its shapes fit."""
        return super().normalize(expr)

    def _fit(self, expr: Any) -> Any:
        if isinstance(expr, relax.Tuple) and not _is_typed(expr):
            return relax.Tuple([self._fit(f) for f in expr.fields])
        if isinstance(expr, (tuple, list)):
            return type(expr)(self._fit(f) for f in expr)
        if isinstance(expr, relax.TupleGetItem) and not _is_typed(expr):
            return relax.TupleGetItem(self._fit(expr.tuple_value), expr.index)
        if not isinstance(expr, Call) or _is_typed(expr):
            return expr
        args = [self._fit(a) for a in items(expr.args)]
        name = getattr(expr.op, "name", "").removeprefix("relax.")
        if not isinstance(expr.op, tvm.ir.Op):
            return _with_args(expr, args)
        args = [self._typed(a) for a in args]
        rule = RULES.get(name)
        if not any(map(_is_symbolic, args)):
            return self._inferred.typed(_with_args(expr, args))
        if rule is not None:
            args = rule(self, args, expr.attrs)
        return self._with_room(_with_args(expr, args))

    def _typed(self, arg: Any) -> Any:
        if isinstance(arg, (relax.Var, GenericConst, relax.ShapeExpr)) or _is_typed(arg):
            return arg
        if isinstance(arg, relax.Tuple):
            return relax.Tuple([self._typed(f) for f in arg.fields])
        if isinstance(arg, Call) and getattr(arg.op, "name", "") == "relax.shape_of":
            dims = dims_of(arg.args[0])
            if dims is not None:
                return relax.ShapeExpr(dims)
        return super().emit(arg) if isinstance(arg, (Call, relax.TupleGetItem)) else arg

    def _with_room(self, call: Any) -> Any:
        """The call, with a check that its result has no dimension below 0."""
        call = super().normalize(call)
        shapes = call.ty.fields if isinstance(call.ty, relax.TupleType) else [call.ty]
        conditions: list[Any] = []
        for ty in shapes:
            shape = getattr(ty, "shape", None)
            for dim in shape.values if isinstance(shape, relax.ShapeExpr) else ():
                length = isinstance(dim, tirx.Var) and dim not in self.computed
                if not is_int(dim) and not length and not proved_true(self, dim >= 0):
                    conditions.append(dim >= 0)
        if not conditions:
            return call
        for at, arg in enumerate(call.args):
            if isinstance(getattr(arg, "ty", None), relax.TensorType) and dims_of(arg) is not None:
                for condition in conditions:
                    arg = hold(self, arg, condition)
                # From here on they are lengths.
                self.computed.difference_update(c.a for c in conditions)
                args = [*call.args[:at], arg, *call.args[at + 1 :]]
                return super().normalize(_with_args(call, args))
        return call


def _is_typed(expr: Any) -> bool:
    return type(getattr(expr, "ty", None)) not in (type(None), tvm.ir.Type)


def _is_symbolic(arg: Any) -> bool:
    if isinstance(arg, relax.ShapeExpr):
        return not all(map(is_int, arg.values))
    if isinstance(arg, relax.Tuple):
        return any(map(_is_symbolic, arg.fields))
    ty = getattr(arg, "ty", None)
    return _symbolic_type(ty) or (tvm.ir.is_prim_expr(arg) and not is_int(arg))


def _symbolic_type(ty: Any) -> bool:
    if isinstance(ty, relax.TupleType):
        return any(map(_symbolic_type, ty.fields))
    shape = getattr(ty, "shape", None)
    return isinstance(shape, relax.ShapeExpr) and not all(map(is_int, items(shape.values)))


def _with_args(call: Any, args: list[Any]) -> Any:
    if all(a is b or a.same_as(b) for a, b in zip(args, items(call.args), strict=True)):
        return call
    return Call(call.op, args, call.attrs, call.ty_args, span=call.span)
