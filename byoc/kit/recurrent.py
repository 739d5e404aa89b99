"""Recurrent layers as one op: LSTM, GRU and RNN, of one direction or both.

    x [T, B, I] ─┐                                   y [T, B, D·P]   the state after every step,
    w r b ───────┼─ relax.byoc.recurrent(…, kind=…)─▶ h [D, B, P]     directions side by side
    lengths h c ─┘                                   c [D, B, H]     of an LSTM: its cell

T steps, a batch of B, I numbers in, H in a gate, D directions (the second runs backward), G gates;
P is H unless the state of an LSTM is projected. Tensors are those of the ONNX operators LSTM, GRU
and RNN, gates in their order (LSTM i o f c, GRU z r h), but for y, whose directions are joined::

    w [D, G·H, I]   r [D, G·H, P]   b [D, 2·G·H]: of w, then of r   p [D, 3·H]: peepholes i o f
    lengths [B] int32, h [D, B, P], c [D, B, H]: 0 where they are left out; lengths: T
    proj [D, P, H], as in torch: Ht is what the equations say, times projᵀ

The equations, with Xt the row of x, f g h the activations, P the peepholes::

    RNN     Ht = f(Xt·Wiᵀ + Ht-1·Riᵀ + Wbi + Rbi)

    GRU     zt = f(Xt·Wzᵀ + Ht-1·Rzᵀ + Wbz + Rbz)                 update gate
            rt = f(Xt·Wrᵀ + Ht-1·Rrᵀ + Wbr + Rbr)                 reset gate
            ht = g(Xt·Whᵀ + (rt ⊙ Ht-1)·Rhᵀ + Rbh + Wbh)          linear_before_reset = 0
            ht = g(Xt·Whᵀ + rt ⊙ (Ht-1·Rhᵀ + Rbh) + Wbh)          linear_before_reset = 1
            Ht = (1 - zt) ⊙ ht + zt ⊙ Ht-1

    LSTM    it = f(Xt·Wiᵀ + Ht-1·Riᵀ + Pi ⊙ Ct-1 + Wbi + Rbi)     input gate
            ft = f(Xt·Wfᵀ + Ht-1·Rfᵀ + Pf ⊙ Ct-1 + Wbf + Rbf)     forget gate; 1 - it, coupled
            ct = g(Xt·Wcᵀ + Ht-1·Rcᵀ + Wbc + Rbc)                 candidate
            Ct = ft ⊙ Ct-1 + it ⊙ ct
            ot = f(Xt·Woᵀ + Ht-1·Roᵀ + Po ⊙ Ct + Wbo + Rbo)       output gate
            Ht = ot ⊙ h(Ct)

Sums are clipped before activations where `clip` is not 0. A row whose length n is less than T takes
n steps (backward from n - 1); its y is 0 elsewhere. A row of no steps has states of 0, whatever it
began with: that is what ONNX Runtime gives.

A call's attributes are the fields of `Recurrent` as text and numbers, and which operands it has
("x w r b h"): what an op does not have is left out of its tuple.

Source: ONNX operators, LSTM, GRU, RNN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from byoc.kit.own_ops import RECURRENT, own_call

__all__ = [
    "GATES",
    "OPERANDS",
    "GateFunction",
    "Recurrent",
    "expected_shapes",
    "recurrent_call",
]

GATES: Mapping[str, int] = {"rnn": 1, "gru": 3, "lstm": 4}
"""Kind → how many gates its weights hold."""

OPERANDS = ("x", "w", "r", "b", "lengths", "h", "c", "p", "proj")
"""What a layer may read, in the order of its tuple; the first three always."""


class GateFunction(NamedTuple):
    """A function of the ONNX operators, in small letters, and its parameters (0: it has none)."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Recurrent:
    """What a recurrent layer computes.

    Attributes:
        kind: "lstm", "gru" or "rnn".
        direction: "forward", "reverse" or "bidirectional".
        operands: Which of `OPERANDS` it reads, in their order.
        activations: f, g, h of the equations, of each direction in turn.
        clip: What sums are clipped to, before activations; 0: they are not.
        linear_before_reset: GRU: the second form of ht.
        input_forget: LSTM: ft is 1 - it.
    """

    kind: Literal["lstm", "gru", "rnn"]
    direction: Literal["forward", "reverse", "bidirectional"]
    operands: tuple[str, ...]
    activations: tuple[GateFunction, ...]
    clip: float = 0.0
    linear_before_reset: bool = False
    input_forget: bool = False

    @property
    def directions(self) -> int:
        """1, or 2."""
        return 2 if self.direction == "bidirectional" else 1

    @property
    def usual(self) -> bool:
        """True with activations as the equations have them in textbooks, and nothing clipped."""
        gate, tanh = GateFunction("sigmoid"), GateFunction("tanh")
        textbook = {"lstm": (gate, tanh, tanh), "gru": (gate, tanh), "rnn": (tanh,)}[self.kind]
        return self.activations == textbook * self.directions and not self.clip

    def place(self, operand: str) -> int | None:
        """Where an operand stands among those of a call; None where the layer has none."""
        return self.operands.index(operand) if operand in self.operands else None

    def to_attrs(self) -> dict[str, Any]:
        """The attributes of a call."""
        return {
            "kind": self.kind,
            "direction": self.direction,
            "operands": " ".join(self.operands),
            "activations": " ".join(f"{a.name}:{a.alpha!r}:{a.beta!r}" for a in self.activations),
            "clip": float(self.clip),
            "linear_before_reset": int(self.linear_before_reset),
            "input_forget": int(self.input_forget),
        }

    @classmethod
    def of_attrs(cls, attrs: Mapping[str, Any]) -> Recurrent:
        """What a call's attributes say.

        Args:
            attrs: A node's attributes (`byoc.segment.Node.attrs`), or those of the Relax call.
        """
        activations = []
        for text in str(attrs["activations"]).split():
            name, alpha, beta = text.split(":")
            activations.append(GateFunction(name, float(alpha), float(beta)))
        return cls(
            kind=str(attrs["kind"]),  # type: ignore[arg-type]
            direction=str(attrs["direction"]),  # type: ignore[arg-type]
            operands=tuple(str(attrs["operands"]).split()),
            activations=tuple(activations),
            clip=float(attrs["clip"]),
            linear_before_reset=bool(attrs["linear_before_reset"]),
            input_forget=bool(attrs["input_forget"]),
        )


def recurrent_call(layer: Recurrent, operands: Mapping[str, Any]) -> Any:
    """Build the Relax call of a layer.

    Args:
        layer: What it computes.
        operands: Name → typed Relax tensor, of all that `layer.operands` names.

    Returns:
        The call; its result is the tuple (y, h), of an LSTM (y, h, c).

    Raises:
        ValueError: The shapes or dtypes of operands do not fit each other.
    """
    from tvm import relax

    x, r = operands["x"].ty, operands["r"].ty
    steps, batch, _ = x.shape.values
    d, dtype = layer.directions, str(x.dtype)
    hidden, state = int(r.shape.values[1]) // GATES[layer.kind], int(r.shape.values[2])
    _check(layer, operands)
    results = [
        relax.TensorType([steps, batch, d * state], dtype),
        relax.TensorType([d, batch, state], dtype),
        relax.TensorType([d, batch, hidden], dtype),
    ][: 3 if layer.kind == "lstm" else 2]
    given = [operands[name] for name in layer.operands]
    return own_call(RECURRENT, given, results, layer.to_attrs())


def expected_shapes(layer: Recurrent, operands: Mapping[str, Any]) -> Mapping[str, tuple[Any, ...]]:
    """Return what the data and the recurrent weights of a layer make of its other operands' shapes.

    Args:
        layer: What it computes.
        operands: Name → typed Relax tensor; the numbers of "r" are known.
    """
    _, batch, width = operands["x"].ty.shape.values
    r = operands["r"].ty.shape.values
    hidden, state = int(r[1]) // GATES[layer.kind], int(r[2])
    d, gates = layer.directions, GATES[layer.kind] * hidden
    if "proj" not in operands:
        hidden = state
    return {
        "w": (d, gates, width),
        "r": (d, GATES[layer.kind] * hidden, state),
        "b": (d, 2 * gates),
        "lengths": (batch,),
        "h": (d, batch, state),
        "c": (d, batch, hidden),
        "p": (d, 3 * hidden),
        "proj": (d, state, hidden),
    }


def _check(layer: Recurrent, operands: Mapping[str, Any]) -> None:
    expected = expected_shapes(layer, operands)
    for name in layer.operands[1:]:
        dtype = "int32" if name == "lengths" else str(operands["x"].ty.dtype)
        if str(operands[name].ty.dtype) != dtype:
            raise ValueError(
                f"the operand {name!r} of a {layer.direction} {layer.kind} is "
                f"{operands[name].ty.dtype}, expected {dtype}"
            )
        found = operands[name].ty.shape.values
        wanted = expected[name]
        if len(found) != len(wanted) or any(map(_differ, found, wanted)):
            raise ValueError(
                f"the operand {name!r} of a {layer.direction} {layer.kind} has the shape "
                f"[{', '.join(map(_text, found))}], expected [{', '.join(map(_text, wanted))}]"
            )


def _differ(found: Any, wanted: Any) -> bool:
    """True for two numbers that are not the same; symbolic dimensions are taken at their word."""
    from tvm import tirx

    numbers = [int(d) for d in (found, wanted) if isinstance(d, (int, tirx.IntImm))]
    return len(numbers) == 2 and numbers[0] != numbers[1]


def _text(dimension: Any) -> str:
    from tvm import tirx

    known = isinstance(dimension, (int, tirx.IntImm))
    return str(int(dimension)) if known else str(dimension)
