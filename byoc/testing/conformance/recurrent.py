"""Cases of recurrent layers, and what they mean: the equations of `byoc.kit.recurrent`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from byoc.kit.recurrent import GATES, OPERANDS, GateFunction, Recurrent, recurrent_call
from byoc.segment import Array
from byoc.testing.conformance.claim import Claim
from byoc.testing.conformance.edges import filled
from byoc.testing.conformance.elementwise import looseness

__all__ = ["layer_results", "recurrent_cases"]

_USUAL = {"lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh"), "rnn": ("tanh",)}
_KINDS: tuple[Literal["lstm", "gru", "rnn"], ...] = ("lstm", "gru", "rnn")
_STEPS, _ROWS, _WIDTH, _HIDDEN = 3, 2, 4, 5


def recurrent_cases() -> Iterator[Claim]:
    """Yield the cases: every kind and direction, with states, with what is unusual."""
    for kind in _KINDS:
        states = ("b", "h", "c") if kind == "lstm" else ("b", "h")
        yield _case(kind, "forward", "float32", ())
        yield _case(kind, "reverse", "float64", ("b",))
        yield _case(kind, "bidirectional", "float32", states, "states")
        yield _case(kind, "bidirectional", "float32", ("b", "lengths", *states[1:]), "lengths")
        yield _case(kind, "reverse", "float32", ("b",), "relu", functions=("relu",) * 3, clip=0.5)
    yield _case("gru", "bidirectional", "float32", ("b",), "linear", linear_before_reset=True)
    yield _case("lstm", "forward", "float32", ("b", "p"), "peepholes")
    yield _case("lstm", "forward", "float32", ("b",), "coupled", input_forget=True)
    yield _case("lstm", "bidirectional", "float64", ("b", "h", "c", "proj"), "projected")


def _case(
    kind: Literal["lstm", "gru", "rnn"],
    direction: Literal["forward", "reverse", "bidirectional"],
    dtype: str,
    more: Sequence[str],
    label: str = "",
    functions: Sequence[str] = (),
    **options: Any,
) -> Claim:
    operands = tuple(name for name in OPERANDS if name in ("x", "w", "r", *more))
    chosen = list(functions or _USUAL[kind])[: len(_USUAL[kind])]
    layer = Recurrent(
        kind=kind,
        direction=direction,
        operands=operands,
        activations=tuple(map(GateFunction, chosen)) * (1 + (direction == "bidirectional")),
        **options,
    )
    plain = _arrays(layer, dtype)
    some = dict(plain, x=filled(dtype, plain["x"].shape, 1, special=[np.nan], share=0.05))
    feeds = [tuple(arrays.values()) for arrays in (plain, some)]

    def build(inputs: Sequence[Any]) -> Any:
        from tvm import relax

        call = recurrent_call(layer, dict(zip(operands, inputs, strict=True)))
        whole = relax.BlockBuilder().normalize(call)
        fields = range(3 if kind == "lstm" else 2)
        parts = [relax.op.reshape(relax.TupleGetItem(whole, i), [-1]) for i in fields]
        return relax.op.concat(parts, 0)

    def right(*arrays: Array) -> Array:
        found = layer_results(layer, dict(zip(operands, arrays, strict=True)))
        return np.concatenate([part.ravel() for part in found]).astype(dtype)

    loose = looseness[dtype]
    name = f"{dtype} {kind} {direction} {label}".strip()
    return Claim("byoc.recurrent", name, build, tuple(feeds), right, loose, loose * 5)


def _arrays(layer: Recurrent, dtype: str) -> dict[str, Array]:
    d, gates = layer.directions, GATES[layer.kind] * _HIDDEN
    state = _HIDDEN - 2 if "proj" in layer.operands else _HIDDEN
    shapes = {
        "x": (_STEPS, _ROWS, _WIDTH), "w": (d, gates, _WIDTH), "r": (d, gates, state),
        "b": (d, 2 * gates), "h": (d, _ROWS, state), "c": (d, _ROWS, _HIDDEN),
        "p": (d, 3 * _HIDDEN), "proj": (d, state, _HIDDEN),
    }  # fmt: skip
    found = {name: filled(dtype, shape, seed) for seed, (name, shape) in enumerate(shapes.items())}
    found["lengths"] = np.array([_STEPS, 1], np.int32)
    return {name: found[name] for name in layer.operands}


# -- what a layer means


def layer_results(layer: Recurrent, arrays: Mapping[str, Array]) -> list[Array]:
    """What a layer gives, computed in float64 number by number of the equations.

    Args:
        layer: The layer.
        arrays: Operand → its values.

    Returns:
        y, h and, of an LSTM, c.
    """
    given = {k: v if k == "lengths" else v.astype(np.float64) for k, v in arrays.items()}
    steps, rows, _ = given["x"].shape
    state = given["r"].shape[2]
    hidden = given["r"].shape[1] // GATES[layer.kind]
    lengths = given.get("lengths", np.full(rows, steps))
    y = np.zeros((steps, rows, layer.directions * state))
    h, c = (np.zeros((layer.directions, rows, size)) for size in (state, hidden))
    for d in range(layer.directions):
        for row in range(rows):
            count = int(lengths[row])
            order = list(range(count))
            if layer.direction == "reverse" or d == 1:
                order.reverse()
            cell = _Cell(layer, given, d, row)
            for step in order:
                cell.take(given["x"][step, row])
                y[step, row, d * state : (d + 1) * state] = cell.h
            if order:
                h[d, row], c[d, row] = cell.h, cell.c
    return [y, h, c] if layer.kind == "lstm" else [y, h]


class _Cell:
    """One row of a batch in one direction, step by step."""

    def __init__(self, layer: Recurrent, given: Mapping[str, Array], d: int, row: int) -> None:
        self.layer, self.gates = layer, GATES[layer.kind]
        self.w, self.r = given["w"][d], given["r"][d]
        self.size = len(self.r) // self.gates
        biases = given["b"][d] if "b" in given else np.zeros(2 * len(self.r))
        self.wb, self.rb = np.split(biases, 2)
        self.p = np.split(given["p"][d] if "p" in given else np.zeros(3 * self.size), 3)
        self.projection = given["proj"][d] if "proj" in given else None
        self.h = given["h"][d, row] if "h" in given else np.zeros(self.r.shape[1])
        self.c = given["c"][d, row] if "c" in given else np.zeros(self.size)
        each = len(layer.activations) // layer.directions
        self.functions = layer.activations[d * each : (d + 1) * each]

    def act(self, function: int, sums: Array, clips: bool = True) -> Array:
        if clips and self.layer.clip:
            sums = np.clip(sums, -self.layer.clip, self.layer.clip)
        return _apply(self.functions[function], sums)

    def take(self, x: Array) -> None:
        given = (self.w @ x + self.wb).reshape(self.gates, self.size)
        kept = (self.r @ self.h + self.rb).reshape(self.gates, self.size)
        if self.layer.kind == "rnn":
            self.h = self.act(0, given[0] + kept[0])
        elif self.layer.kind == "gru":
            z, r = (self.act(0, given[k] + kept[k]) for k in (0, 1))
            if self.layer.linear_before_reset:
                last = r * kept[2]
            else:
                last = self.r[2 * self.size :] @ (r * self.h) + self.rb[2 * self.size :]
            self.h = (1 - z) * self.act(1, given[2] + last) + z * self.h
        else:
            i, o, f, c = given + kept
            i = self.act(0, i + self.p[0] * self.c)
            f = 1 - i if self.layer.input_forget else self.act(0, f + self.p[2] * self.c)
            self.c = f * self.c + i * self.act(1, c)
            h = self.act(0, o + self.p[1] * self.c) * self.act(2, self.c, clips=False)
            self.h = h if self.projection is None else self.projection @ h


def _apply(function: GateFunction, x: Array) -> Array:
    name, a, b = function
    meanings: Mapping[str, Callable[[], Array]] = {
        "affine": lambda: a * x + b,
        "elu": lambda: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x),
        "hardsigmoid": lambda: np.clip(a * x + b, 0, 1),
        "leakyrelu": lambda: np.where(x < 0, a * x, x),
        "relu": lambda: np.maximum(x, 0),
        "scaledtanh": lambda: a * np.tanh(b * x),
        "sigmoid": lambda: 1 / (1 + np.exp(-x)),
        "softplus": lambda: np.logaddexp(0, x),
        "softsign": lambda: x / (1 + np.abs(x)),
        "tanh": lambda: np.tanh(x),
        "thresholdedrelu": lambda: np.where(x <= a, 0, x),
    }
    with np.errstate(over="ignore"):
        return np.asarray(meanings[name]())
