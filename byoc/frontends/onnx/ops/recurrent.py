"""LSTM, GRU and RNN, versions 1 to 22, as one op (`byoc.kit.recurrent`).

    X ─(layout 1: turned)─▶ byoc.recurrent ─▶ y [T, B, D·H] ─▶ Y [T, D, B, H], Y_h, Y_c

Half precision is computed in float32, as ONNX Runtime does.

Source: ONNX operators, LSTM, GRU, RNN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from tvm import relax, tirx

from byoc.frontends.context import Converter
from byoc.frontends.fitting.dims import fit
from byoc.frontends.helpers import array_of, dtype_of, is_const, is_int
from byoc.frontends.onnx.context import OnnxContext
from byoc.frontends.onnx.ops.helpers import text_of
from byoc.kit.recurrent import (
    OPERANDS,
    GateFunction,
    Recurrent,
    expected_shapes,
    recurrent_call,
)

__all__ = ["RECURRENT"]

op = relax.op

Kind = Literal["lstm", "gru", "rnn"]

_DEFAULTS: Mapping[Kind, Sequence[str]] = {
    "rnn": ["Tanh"],
    "gru": ["Sigmoid", "Tanh"],
    "lstm": ["Sigmoid", "Tanh", "Tanh"],
}
_ALPHA: Mapping[str, float] = {
    "affine": 0.0,
    "elu": 1.0,
    "hardsigmoid": 0.2,
    "leakyrelu": 0.01,
    "scaledtanh": 0.0,
    "thresholdedrelu": 0.0,
}
"""Functions with a parameter alpha, and what it is where a node does not say: ONNX Runtime's."""

_BETA: Mapping[str, float] = {"affine": 0.0, "hardsigmoid": 0.5, "scaledtanh": 0.0}
_PLAIN = ("relu", "sigmoid", "softplus", "softsign", "tanh")
_DIRECTIONS = ("forward", "reverse", "bidirectional")


def _convert(kind: Kind, c: OnnxContext) -> list[Any]:
    """Y [T, D, B, H], Y_h and, of an LSTM, Y_c."""
    batch_first = bool(c.attrs.get("layout", 0))
    dtype = dtype_of(c[0])
    given = dict(zip(OPERANDS, (c[i] for i in range(8)), strict=False))
    operands = {k: c.typed(v) for k, v in given.items() if v is not None}
    for name in ("x", "h", "c"):
        if batch_first and name in operands:
            operands[name] = c.emit(op.permute_dims(operands[name], [1, 0, 2]))
    for name, value in operands.items():
        if name != "lengths" and dtype in ("float16", "bfloat16"):
            operands[name] = c.emit(op.astype(value, "float32"))
    for name, value in operands.items():
        if not isinstance(value.ty.shape, relax.ShapeExpr):
            raise ValueError(f"the shape of its operand {name!r} is known only at run time")
    steps, batch, _ = operands["x"].ty.shape.values
    hidden = _hidden(c, operands["r"])
    _drop_full_lengths(operands, steps)
    layer = _layer(c, kind, tuple(name for name in OPERANDS if name in operands))
    _fit(c, layer, operands)
    whole = c.emit(recurrent_call(layer, operands))
    parts = [c.emit(relax.TupleGetItem(whole, i)) for i in range(3 if kind == "lstm" else 2)]
    parts[0] = c.emit(op.reshape(parts[0], [steps, batch, layer.directions, hidden]))
    if dtype in ("float16", "bfloat16"):
        parts = [c.emit(op.astype(value, dtype)) for value in parts]
    orders = ([1, 0, 2, 3], [1, 0, 2], [1, 0, 2]) if batch_first else ([0, 2, 1, 3], None, None)
    return [
        v if order is None else op.permute_dims(v, order)
        for v, order in zip(parts, orders, strict=False)
    ]


def _fit(c: OnnxContext, layer: Recurrent, operands: dict[str, Any]) -> None:
    """Hold operands whose lengths are known only at run time to those that the layer needs."""
    data, width = operands["x"], operands["w"].ty.shape.values[-1]
    if is_int(width):
        operands["x"] = fit(c.builder, data, {2: width})
    for name, wanted in expected_shapes(layer, operands).items():
        if name in operands and operands[name].ty.ndim == len(wanted):
            operands[name] = fit(c.builder, operands[name], dict(enumerate(wanted)))


def _hidden(c: OnnxContext, r: Any) -> int:
    width = r.ty.shape.values[-1]
    if not isinstance(width, tirx.IntImm):
        raise ValueError(f"the size of its state ({width}) must be known when compiling")
    given = c.attrs.get("hidden_size", width)
    if int(given) != int(width):
        raise ValueError(f"hidden_size is {int(given)}, its weights R have {int(width)} columns")
    return int(width)


def _drop_full_lengths(operands: dict[str, Any], steps: Any) -> None:
    """Leave out lengths that say what is so without them."""
    lengths = operands.get("lengths")
    if lengths is None or not is_const(lengths) or not isinstance(steps, tirx.IntImm):
        return
    found = array_of(lengths, "sequence_lens")
    if ((found < 0) | (found > int(steps))).any():
        raise ValueError(f"sequence_lens {found.tolist()} do not fit its {int(steps)} steps")
    if (found == int(steps)).all():
        del operands["lengths"]


def _layer(c: OnnxContext, kind: Kind, operands: tuple[str, ...]) -> Recurrent:
    direction = text_of(c.attrs.get("direction"), "forward").lower()
    if direction not in _DIRECTIONS:
        raise ValueError(f"direction {direction!r} is none of {', '.join(_DIRECTIONS)}")
    directions = 2 if direction == "bidirectional" else 1
    return Recurrent(
        kind=kind,
        direction=direction,  # type: ignore[arg-type]
        operands=operands,
        activations=_activations(c, _DEFAULTS[kind], directions),
        clip=float(c.attrs.get("clip") or 0.0),
        linear_before_reset=bool(c.attrs.get("linear_before_reset", 0)),
        input_forget=bool(c.attrs.get("input_forget", 0)),
    )


def _activations(
    c: OnnxContext, defaults: Sequence[str], directions: int
) -> tuple[GateFunction, ...]:
    """The functions of each direction; parameters go to those that have some, in order."""
    given = c.attrs.get("activations") or list(defaults) * directions
    names = [text_of(a, "").lower() for a in given]
    if len(names) != len(defaults) * directions:
        raise ValueError(f"it has {len(names)} activations, expected {len(defaults) * directions}")
    unknown = [n for n in names if n not in _ALPHA and n not in _PLAIN]
    if unknown:
        known = ", ".join(sorted((*_ALPHA, *_PLAIN)))
        raise ValueError(f"its activation {unknown[0]!r} is none of {known}")
    alphas = iter(c.attrs.get("activation_alpha") or ())
    betas = iter(c.attrs.get("activation_beta") or ())
    return tuple(
        GateFunction(
            n,
            float(next(alphas, _ALPHA[n])) if n in _ALPHA else 0.0,
            float(next(betas, _BETA[n])) if n in _BETA else 0.0,
        )
        for n in names
    )


RECURRENT: Mapping[tuple[str, str], Converter] = {
    ("", kind.upper()): partial(_convert, kind) for kind in _DEFAULTS
}
"""(domain, operator) → converter."""
