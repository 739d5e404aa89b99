"""A walk over a module that replaces calls of some ops by other expressions.

In: a Relax module and a mutator that knows some ops. Out: the module with what it made of their
calls, or the very same module where it holds none of them: most models do not, and a walk of TVM's
mutators over a large one takes time::

    c: lv = op(x)      ──▶      c: a = first(x)         what a call becomes bears its binding's name
                                c: lv = second(a)
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

import tvm
from tvm import relax

__all__ = ["OpRewriter", "rewrite_ops"]


class OpRewriter(relax.PyExprMutator):  # type: ignore[misc]
    """The base of mutators that replace one call by several.

    A subclass bears TVM's decorator ``@relax.expr_functor.mutator`` and overrides `visit_call_`.

    Args:
        mod: The module that is walked over.
    """

    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        self.name = ""

    def visit_var_binding_(self, binding: Any) -> None:
        """Keep the name of the binding that is being rewritten."""
        self.name = binding.var.name
        super().visit_var_binding_(binding)

    def emit(self, expr: Any) -> Any:
        """Bind an expression to a variable, under the name of the op that it is a part of.

        Args:
            expr: The expression.

        Returns:
            The variable: of the dataflow block, where the walk is inside one.
        """
        value = self.builder_.normalize(expr)
        inside = self.builder_.current_block_is_dataflow()
        # Not the builder's own emit, which would number the names.
        variable = (relax.DataflowVar if inside else relax.Var)(self.name, value.ty)
        self.builder_.emit_normalized(relax.VarBinding(variable, value))
        return variable


def rewrite_ops(
    mod: tvm.IRModule, make: Callable[[tvm.IRModule], Any], ops: Container[str]
) -> tvm.IRModule:
    """Walk over the functions that hold one of some ops.

    Args:
        mod: The module; not changed.
        make: Makes the mutator, a decorated subclass of `OpRewriter`, for the module.
        ops: Names of the ops that it rewrites.

    Returns:
        The rewritten module; `mod` itself where no function holds such an op.
    """
    mutator = make(mod)
    found = False
    for gv, func in mod.functions_items():
        if isinstance(func, relax.Function) and _has_any(func, ops):
            found = True
            mutator.builder_.update_func(gv, mutator.visit_expr(func))
    return mutator.builder_.finalize() if found else mod


def _has_any(func: relax.Function, ops: Container[str]) -> bool:
    found = False

    def visit(expr: Any) -> None:
        nonlocal found
        if isinstance(expr, tvm.ir.Call):
            found = found or getattr(expr.op, "name", "") in ops

    relax.analysis.post_order_visit(func, visit)
    return found
