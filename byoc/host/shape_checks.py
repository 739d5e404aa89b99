"""Casts of shapes, turned into calls that say by name what does not fit.

In: a module whose front end wrote down what it took for granted of symbolic dimensions (see
`byoc.frontends.fitting`). Out: one where the runtime compares them before the data is used::

    y = match_cast(b, [k, 2])      ──▶    call_packed("byoc.check_shape", b, [k, 2], "y", "")

TVM drops casts where it sees no use of them, and its own error names neither op nor shapes; a call
with an effect stays where it is. A dimension that only tells legal from illegal (`Select(c, n, 1)`,
`Select(c, n, -1)`) is gone afterwards, so that kernels see plain ones.
"""

from __future__ import annotations

import re
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax import transform

__all__ = ["call_shape_checks"]

_CHECK = "byoc.check_shape"

_ANY = -(1 << 63)
"""Instead of a dimension that the cast gives a name to."""


def call_shape_checks(mod: tvm.IRModule) -> tvm.IRModule:
    """Replace the casts of every function; a module without any is returned as it is."""
    kept: dict[Any, Any] = {}
    split: dict[Any, Any] = {}
    found = False
    for gv, func in mod.functions_items():
        casts, branches = _contents(func) if isinstance(func, relax.Function) else (False, False)
        found = found or casts
        (split if casts and not branches else kept)[gv] = func
    if not found:
        return mod
    split_mod = transform.ToNonDataflow()(tvm.IRModule(split, attrs=mod.attrs))
    functions = dict(_checked(tvm.IRModule(kept)).functions_items())
    for gv, func in _checked(split_mod).functions_items():
        functions[gv] = _in_parts(func)
    return tvm.IRModule(functions, attrs=mod.attrs)


def _in_parts(func: relax.Function) -> relax.Function:
    """Dataflow blocks between the calls: within each, kernels are fused.

    TVM's own pass that makes such blocks drops casts.
    """
    groups: list[list[Any]] = [[]]
    for block in func.body.blocks:
        for binding in block.bindings:
            if _is_check(binding):
                groups.extend([[binding], []])
            else:
                groups[-1].append(binding)
    home: dict[Any, int] = {}
    outside: set[Any] = set(_read(func.body.body))
    for number, group in enumerate(groups):
        for binding in group:
            outside.update(v for v in _read(binding.value) if home.get(v) != number)
            home[binding.var] = number
    parts = _Parts(frozenset(v for v in home if v not in outside))
    return parts.rebuilt(func, [group for group in groups if group])


def _is_check(binding: Any) -> bool:
    op = getattr(binding.value, "op", None)
    return isinstance(op, relax.ExternFunc) and op.global_symbol == _CHECK


def _read(expr: Any) -> list[Any]:
    """The variables of Relax that an expression reads."""
    found: list[Any] = []

    def visit(inner: Any) -> None:
        if isinstance(inner, relax.Var):
            found.append(inner)

    relax.analysis.post_order_visit(expr, visit)
    return found


@relax.expr_functor.mutator
class _Parts(relax.PyExprMutator):  # type: ignore[misc]
    """Variables read inside their block alone become variables of dataflow."""

    def __init__(self, inner: frozenset[Any]) -> None:
        super().__init__()
        self.inner = inner

    def rebuilt(self, func: relax.Function, groups: list[list[Any]]) -> relax.Function:
        blocks = []
        for group in groups:
            bindings = [self._binding(binding) for binding in group]
            one = len(group) == 1 and _is_check(group[0])
            blocks.append((relax.BindingBlock if one else relax.DataflowBlock)(bindings))
        body = relax.SeqExpr(blocks, self.visit_expr(func.body.body))
        return relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs)

    def _binding(self, binding: Any) -> Any:
        value = self.visit_expr(binding.value)
        var = binding.var
        if var in self.inner and not _is_check(binding):
            var = relax.DataflowVar(var.name, var.ty)
            self.set_var_remap(binding.var, var)
        if isinstance(binding, relax.MatchCast):
            return relax.MatchCast(var, value, binding.ty)
        return relax.VarBinding(var, value)


def _checked(mod: tvm.IRModule) -> tvm.IRModule:
    functions: dict[Any, Any] = {}
    for gv, func in mod.functions_items():
        if isinstance(func, relax.Function) and _contents(func)[0]:
            func = _Checks(func).visit_expr(func).with_attr("relax.force_pure", True)
        functions[gv] = func
    return tvm.IRModule(functions, attrs=mod.attrs)


def _contents(func: relax.Function) -> tuple[bool, bool]:
    """Whether a function holds casts of tensors, and whether it holds branches."""
    casts = branches = False

    class Visitor(relax.PyExprVisitor):  # type: ignore[misc]
        def visit_match_cast_(self, binding: Any) -> None:
            nonlocal casts
            casts = casts or isinstance(binding.ty, relax.TensorType)

    visitor = relax.expr_functor.visitor(Visitor)()
    visitor.visit_expr(func)

    def visit(expr: Any) -> None:
        nonlocal branches
        branches = branches or isinstance(expr, relax.If)

    relax.analysis.post_order_visit(func, visit)
    return casts, branches


@relax.expr_functor.mutator
class _Checks(relax.PyExprMutator):  # type: ignore[misc]
    def __init__(self, func: relax.Function) -> None:
        super().__init__()
        self.known: set[Any] = set()
        for param in func.params:
            self._learn(param.ty)

    def visit_match_cast_(self, binding: Any) -> None:
        value = self.visit_expr(binding.value)
        ty = binding.ty
        if not isinstance(ty, relax.TensorType) or not isinstance(ty.shape, relax.ShapeExpr):
            self._learn(ty)
            super().visit_match_cast_(binding)
            return
        value = value if isinstance(value, relax.Var) else self.builder_.emit(value)
        new = [d for d in ty.shape.values if isinstance(d, tirx.Var) and d not in self.known]
        self._learn(ty)
        if not _same(value.ty, ty):
            wanted = [tirx.const(_ANY, "int64") if any(d is n or d.same_as(n) for n in new) else d
                      for d in ty.shape.values]  # fmt: skip
            needs = " and ".join(_text(d.condition) for d in wanted if _is_condition(d))
            call = tvm.ir.Call(
                relax.ExternFunc(_CHECK),
                [value, relax.ShapeExpr(wanted), tvm.ir.StringImm(binding.var.name),
                 tvm.ir.StringImm(needs)],
                ty_args=[relax.TupleType([])],
            )  # fmt: skip
            self.builder_.emit(call, "checked")
        if not new and any(isinstance(d, tirx.Select) for d in ty.shape.values):
            self.set_var_remap(binding.var, value)
            return
        var = type(binding.var)(binding.var.name, ty)
        self.set_var_remap(binding.var, var)
        self.builder_.emit_normalized(relax.MatchCast(var, value, ty))

    def _learn(self, ty: Any) -> None:
        self.known.update(relax.analysis.definable_tir_vars_in_type(ty))


def _text(condition: Any) -> str:
    """A condition without the types that TVM prints."""
    return re.sub(r"T\.\w+\((-?\d+)\)", r"\1", str(condition))


def _is_condition(dim: Any) -> bool:
    """A dimension that is -1 where something does not hold."""
    if not isinstance(dim, tirx.Select):
        return False
    return isinstance(dim.false_value, tirx.IntImm) and int(dim.false_value) == -1


def _same(a: Any, b: Any) -> bool:
    if not isinstance(a, relax.TensorType) or not isinstance(a.shape, relax.ShapeExpr):
        return False
    analyzer = tvm.sym.Analyzer()
    pairs = list(zip(a.shape.values, b.shape.values, strict=False))
    return len(pairs) == len(b.shape.values) == len(a.shape.values) and all(
        x.same_as(y) or analyzer.can_prove_equal(x, y) for x, y in pairs
    )
