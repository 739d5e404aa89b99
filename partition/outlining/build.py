"""Constructors of IR nodes with their types given: nothing is inferred or converted.

TVM's Python constructors check and convert each argument, several microseconds a node; these
call the functions they call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import relax
from tvm.relax.expr import _update_type

__all__ = [
    "binding",
    "call",
    "dataflow_var",
    "function",
    "item",
    "sequence",
    "symbol",
    "tuple_of",
    "typed",
    "var",
]

_var = tvm_ffi.get_global_func("ir.Var")
_dataflow_var = tvm_ffi.get_global_func("relax.DataflowVar")
_call = tvm_ffi.get_global_func("ir.Call")
_sequence = tvm_ffi.get_global_func("relax.SeqExpr")
_function = tvm_ffi.get_global_func("relax.Function")
_symbol = tvm_ffi.get_global_func("ir.GlobalVar")
_binding = tvm_ffi.get_global_func("relax.VarBinding")


def typed(expr: Any, ty: Any) -> Any:
    """Set the type of an expression that has none yet.

    Args:
        expr: The Relax expression; it is changed in place.
        ty: Its type; ignored when the expression has one.

    Returns:
        The expression.
    """
    if expr.ty.is_missing():
        _update_type(expr, ty)
    return expr


def var(name: str, ty: Any) -> Any:
    """Make a variable.

    Args:
        name: Its name.
        ty: Its type.
    """
    return _var(name, ty, None)


def dataflow_var(name: str, ty: Any) -> Any:
    """Make a variable that is visible only inside its dataflow block.

    Args:
        name: Its name.
        ty: Its type.
    """
    return _dataflow_var(name, ty, None)


def call(op: Any, args: Sequence[Any], ty: Any, like: Any = None) -> Any:
    """Make a call whose result has a given type.

    Args:
        op: operator or function.
        args: argument expressions.
        ty: type of the result; nothing is inferred.
        like: a call whose attributes, type arguments and source span to take, or None.
    """
    if like is None:
        return _call(ty, op, args, None, [], None)
    return _call(ty, op, args, like.attrs, like.ty_args, like.span)


def binding(name: Any, value: Any) -> Any:
    """Bind a variable to a value.

    Args:
        name: The variable.
        value: The expression, whose type is set.
    """
    return _binding(name, value, None)


def symbol(name: str, ty: Any) -> Any:
    """Make the global variable that refers to a function.

    Args:
        name: The function's name.
        ty: The function's type.
    """
    found = _symbol(name)
    _update_type(found, ty)
    return found


def function(params: Sequence[Any], body: Any, attrs: Any) -> Any:
    """Make a function that TVM treats as pure; its result type is that of its body.

    Args:
        params: The parameters, as variables.
        body: The expression it computes, whose type is set.
        attrs: Its attributes, as a TVM object.
    """
    return _function(params, body, body.ty, True, attrs, None)


def item(expr: Any, index: int) -> Any:
    """Make the expression that reads one field of a tuple.

    Args:
        expr: The tuple, whose type is set.
        index: The number of the field, from 0.
    """
    return typed(relax.TupleGetItem(expr, index), expr.ty.fields[index])


def tuple_of(parts: Sequence[Any]) -> Any:
    """Make a tuple of expressions that have types."""
    return typed(relax.Tuple(list(parts)), tvm.ir.TupleType([p.ty for p in parts]))


def sequence(blocks: Sequence[Any], result: Any) -> Any:
    """Make a SeqExpr: blocks of bindings, then the expression they serve.

    Args:
        blocks: The binding blocks, in order.
        result: The expression that is the value of the whole, whose type is set.
    """
    found = _sequence(blocks, result, None)
    _update_type(found, result.ty)
    return found
