"""LSTM, GRU and RNN: a layer is one op (`byoc.kit.recurrent`).

torch's gates are in another order: LSTM i f g o for i o f c, GRU r z n for z r h.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext, TrainingError
from byoc.ir.arrays import to_numpy
from byoc.kit.recurrent import GATES, OPERANDS, GateFunction, Recurrent, recurrent_call

__all__ = ["RECURRENT"]

R = relax.op

Kind = Literal["lstm", "gru", "rnn"]

_ORDER: Mapping[str, Sequence[int]] = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}
"""Kind → where torch keeps the gates of the op, in the op's order."""


def _convert(
    kind: Kind,
    functions: Sequence[str],
    c: TorchContext,
    /,
    input: Any,  # noqa: A002
    hx: Any,
    params: Sequence[Any],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Any, ...]:
    """(output, h) or (output, h, c), states of all layers one after another."""
    if train and dropout and num_layers > 1:
        raise TrainingError("dropout between its layers is random; call .eval() on the model")
    dtype = str(input.ty.dtype)
    ways = 2 if bidirectional else 1
    states = {
        name: _wide(c, value)
        for name, value in zip("hc", hx if kind == "lstm" else [hx], strict=False)
        if not _is_zero(c, value)
    }
    x = _wide(c, input)
    if batch_first:
        x = c.emit(R.permute_dims(x, [1, 0, 2]))
    each = len(params) // (num_layers * ways)
    names = ["w", "r", *(["b", "rb"] if has_biases else [])]
    names += ["proj"] if each > len(names) else []
    results: list[list[Any]] = []
    for k in range(num_layers):
        found = [
            dict(zip(names, params[(k * ways + d) * each :][:each], strict=True))
            for d in range(ways)
        ]
        operands = {"x": x, **_weights(c, kind, found)}
        for name, value in states.items():
            operands[name] = c.emit(R.strided_slice(value, [0], [k * ways], [(k + 1) * ways]))
        layer = Recurrent(
            kind=kind,
            direction="bidirectional" if bidirectional else "forward",
            operands=tuple(name for name in OPERANDS if name in operands),
            activations=tuple(map(GateFunction, functions)) * ways,
            linear_before_reset=kind == "gru",
        )
        whole = c.emit(recurrent_call(layer, operands))
        parts = [c.emit(relax.TupleGetItem(whole, i)) for i in range(3 if kind == "lstm" else 2)]
        x = parts[0]
        results.append(parts[1:])
    lasts = [
        parts[0] if num_layers == 1 else c.emit(R.concat(list(parts), 0))
        for parts in zip(*results, strict=True)
    ]
    if batch_first:
        x = c.emit(R.permute_dims(x, [1, 0, 2]))
    return tuple(c.cast(value, dtype) for value in (x, *lasts))


def _wide(c: TorchContext, value: Any) -> Any:
    """Half precision is computed in float32."""
    half = str(value.ty.dtype) in ("float16", "bfloat16")
    return c.cast(value, "float32") if half else value


def _weights(c: TorchContext, kind: Kind, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters of a layer, directions one after another."""

    def joined(name: str) -> Any:
        values = [_wide(c, ways[name]) for ways in found]
        if name != "proj":
            values = [_reordered(c, kind, value) for value in values]
        return c.emit(R.stack(values, 0))

    operands = {name: joined(name) for name in ("w", "r")}
    if "b" in found[0]:
        operands["b"] = c.emit(R.concat([joined("b"), joined("rb")], 1))
    if "proj" in found[0]:
        operands["proj"] = joined("proj")
    return operands


def _reordered(c: TorchContext, kind: Kind, value: Any) -> Any:
    """A weight or bias with its gates, parts of axis 0, in the op's order."""
    order = _ORDER[kind]
    if len(order) == 1:
        return value
    size = c.static(c.dims(value)[0], "the size of its gates") // GATES[kind]
    parts = [R.strided_slice(value, [0], [g * size], [(g + 1) * size]) for g in order]
    return c.emit(R.concat([c.emit(part) for part in parts], 0))


def _is_zero(c: TorchContext, value: Any) -> bool:
    """True for a state that is zero when compiling, as torch makes it where none is given."""
    if isinstance(value, GenericConst):
        return not to_numpy(value.value).any()
    made = c.builder.lookup_binding(value) if isinstance(value, relax.Var) else None
    if made is None:
        return False
    name = getattr(getattr(made, "op", None), "name", "")
    return name == "relax.zeros" or (name == "relax.full" and _is_zero(c, made.args[1]))


RECURRENT: Mapping[str, Converter] = {
    "gru.input": partial(_convert, "gru", ("sigmoid", "tanh")),
    "lstm.input": partial(_convert, "lstm", ("sigmoid", "tanh", "tanh")),
    "rnn_relu.input": partial(_convert, "rnn", ("relu",)),
    "rnn_tanh.input": partial(_convert, "rnn", ("tanh",)),
}
"""ATen operator → converter."""
