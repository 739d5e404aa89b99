"""What converters of ONNX operators share: optional constants, texts, known dimensions."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax, tirx
from tvm.ir import Call, GenericConst

from byoc.frontends import helpers
from byoc.frontends.context import BaseContext

__all__ = ["array_of", "integers_of", "number_of", "parts_of", "text_of"]


def array_of(value: Any, what: str) -> Any:
    """Return the array behind a constant, None for an absent input.

    Args:
        value: A Relax value, or None.
        what: What it is for the operator, for the message.

    Raises:
        ValueError: The model computes the value.
    """
    return None if value is None else helpers.array_of(value, what)


def number_of(value: Any, what: str) -> float | None:
    """Return the number behind a constant of one element, None for an absent input.

    Args:
        value: A Relax value, or None.
        what: What it is for the operator, for the message.

    Raises:
        ValueError: The model computes the value, or it has more than one element.
    """
    array = array_of(value, what)
    return None if array is None else array.item()


def text_of(value: Any, default: str) -> str:
    """Return a text attribute, which onnx gives as bytes.

    Args:
        value: The attribute, or None when it is absent.
        default: What an absent one stands for.
    """
    return default if value is None else value.decode() if isinstance(value, bytes) else str(value)


def integers_of(c: BaseContext, value: Any, what: str) -> list[Any]:
    """Return the whole numbers of a vector: ints, dimensions, variables for what is computed.

    Args:
        c: The operator's context.
        value: A constant, a shape, a dimension, or a vector of known length that is computed.
        what: What it is for the operator, for the message.

    Raises:
        ValueError: Nobody knows how many numbers it has.
    """
    if isinstance(value, GenericConst):
        return [int(v) for v in helpers.array_of(value, what).reshape(-1)]
    if isinstance(value, relax.ShapeExpr):
        return [int(d) if helpers.is_int(d) else d for d in value.values]
    if tvm.ir.is_prim_expr(value):
        return [helpers.uncast(value)]
    parts = parts_of(c, value)
    if parts is not None:
        return [number for part in parts for number in integers_of(c, part, what)]
    shape = getattr(value.ty, "shape", None)
    if not isinstance(shape, relax.ShapeExpr) or len(shape.values) != 1:
        raise ValueError(f"{what} is computed by the model; byoc needs it as a constant")
    if not helpers.is_int(shape.values[0]):
        raise ValueError(f"how many numbers {what} has is known only at run time")
    if helpers.dtype_of(value) != "int64":
        value = c.emit(relax.op.astype(value, "int64"))
    names = [tirx.Var(f"{what}_{i}", "int64") for i in range(int(shape.values[0]))]
    c.builder.match_cast(c.emit(relax.op.tensor_to_shape(value)), relax.ShapeType(names))
    return names


def parts_of(c: BaseContext, value: Any) -> list[Any] | None:
    """The vectors that a vector is joined of, None where it is not: some of them may be known.

    Args:
        c: The operator's context.
        value: A Relax value.
    """
    made = c.builder.lookup_binding(value) if isinstance(value, relax.Var) else None
    if not isinstance(made, Call) or not isinstance(made.op, tvm.ir.Op):
        return None
    if made.op.name == "relax.shape_to_tensor":
        return [made.args[0]]
    if made.op.name != "relax.concat" or getattr(value.ty, "ndim", 0) != 1:
        return None
    return list(getattr(made.args[0], "fields", ())) or None
