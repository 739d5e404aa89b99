"""LSTM, GRU and RNN over a known number of steps, unrolled. Versions 7, 14, 22.

    x ─ one product with W for all steps ─┬─ step 0 ─┬─ step 1 ─┬─ … ─▶ Y (every h), Y_h, Y_c
                              h_0, c_0 ───┘          └ h, c ────┘

Each step is one product with R and a few element-wise ops, which the host fuses. Gates lie side by
side in W, R and B as ONNX stores them: i o f c (LSTM), z r h (GRU).

The equations of the ONNX operators, with the names that are used below. Xt·Wᵀ + Wb of all gates is
`gates` (the last axis holds one part per gate), Ht-1·Rᵀ + Rb is `_Cell.recurrence`, f g h are
`_Cell.activations`, P are `_Cell.peepholes`::

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

Source: ONNX operators, LSTM, GRU, RNN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const, dtype_of, scalar_like
from byoc.frontends.onnx.context import OnnxContext
from byoc.frontends.onnx.ops.helpers import array_of, text_of
from byoc.ir.arrays import to_numpy

__all__ = ["MAX_STEPS", "RECURRENT"]

op = relax.op

MAX_STEPS = 128
"""Longer sequences would make graphs that take minutes to compile."""

Activation = Callable[[Any], Any]

_ACTIVATIONS: Mapping[str, Activation] = {
    "relu": op.nn.relu,
    "sigmoid": op.sigmoid,
    "tanh": op.tanh,
}
_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """One direction of a layer: what a step computes, whichever step it is.

    Attributes:
        c: The node.
        kind: "RNN", "GRU" or "LSTM".
        hidden: Elements of a state.
        activations: f, g, h of the equations, as many as the kind has.
        weight: Rᵀ, [hidden, gates · hidden].
        bias: Rb, [gates · hidden], or None.
        peepholes: Pi, Po, Pf, [hidden] each, or None.
        linear_before_reset: GRU: the second form of ht.
        coupled: LSTM: ft is 1 - it.
        bound: What sums are clipped to, before activations; None: not at all.
    """

    c: OnnxContext
    kind: str
    hidden: int
    activations: list[Activation]
    weight: Any
    bias: Any
    peepholes: list[Any] | None
    linear_before_reset: bool
    coupled: bool
    bound: float | None

    def gate(self, value: Any, index: int, count: int = 1) -> Any:
        """Gates `index` to `index + count` of the last axis."""
        begin, end = index * self.hidden, (index + count) * self.hidden
        if isinstance(value, GenericConst):
            return const(np.ascontiguousarray(to_numpy(value.value)[..., begin:end]))
        return op.strided_slice(value, [value.ty.ndim - 1], [begin], [end])

    def clipped(self, value: Any) -> Any:
        return value if self.bound is None else op.clip(value, -self.bound, self.bound)

    def recurrence(self, h: Any, index: int, count: int) -> Any:
        """Ht-1·Rᵀ + Rb of gates `index` to `index + count`."""
        whole = index == 0 and count == _GATES[self.kind]
        weight = self.weight if whole else self.gate(self.weight, index, count)
        result = op.matmul(h, weight)
        if self.bias is None:
            return self.c.typed(result)
        bias = self.bias if whole else self.gate(self.bias, index, count)
        return self.c.typed(op.add(result, bias))

    def step(self, gates: Any, h: Any, cell: Any) -> tuple[Any, Any]:
        """(Ht, Ct) of Xt·Wᵀ + Wb, Ht-1 and, of an LSTM, Ct-1."""
        return {"RNN": self._rnn, "GRU": self._gru, "LSTM": self._lstm}[self.kind](gates, h, cell)

    def _rnn(self, gates: Any, h: Any, cell: Any) -> tuple[Any, Any]:
        (f,) = self.activations
        return f(self.clipped(op.add(gates, self.recurrence(h, 0, 1)))), cell

    def _gru(self, gates: Any, h: Any, cell: Any) -> tuple[Any, Any]:
        emit, (f, g) = self.c.emit, self.activations
        both = emit(op.add(self.gate(gates, 0, 2), self.recurrence(h, 0, 2)))
        update = emit(f(self.clipped(self.gate(both, 0))))
        reset = emit(f(self.clipped(self.gate(both, 1))))
        if self.linear_before_reset:
            inner = op.multiply(reset, self.recurrence(h, 2, 1))
        else:
            inner = self.recurrence(emit(op.multiply(reset, h)), 2, 1)
        new = emit(g(self.clipped(op.add(self.gate(gates, 2), inner))))
        kept = op.subtract(scalar_like(1, new), update)
        return op.add(op.multiply(kept, new), op.multiply(update, h)), cell

    def _lstm(self, gates: Any, h: Any, cell: Any) -> tuple[Any, Any]:
        emit, (f, g, squash) = self.c.emit, self.activations
        sums = emit(op.add(gates, self.recurrence(h, 0, 4)))
        write, output, forget, candidate = (self.gate(sums, k) for k in range(4))
        if self.peepholes:
            write = op.add(write, op.multiply(self.peepholes[0], cell))
            forget = op.add(forget, op.multiply(self.peepholes[2], cell))
        write = emit(f(self.clipped(write)))
        if self.coupled:
            forget = op.subtract(scalar_like(1, write), write)
        else:
            forget = f(self.clipped(forget))
        fresh = op.multiply(write, g(self.clipped(candidate)))
        cell = emit(op.add(op.multiply(forget, cell), fresh))
        if self.peepholes:
            output = op.add(output, op.multiply(self.peepholes[1], cell))
        return op.multiply(f(self.clipped(output)), squash(cell)), cell


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """The node as a whole. data: X, [steps, batch, input]. directions: 1, or 2."""

    c: OnnxContext
    kind: str
    data: Any
    steps: int
    batch: int
    hidden: int
    directions: int
    batch_first: bool

    @property
    def width(self) -> int:
        """Elements of all gates side by side."""
        return _GATES[self.kind] * self.hidden


def _converter(kind: str) -> Converter:
    def convert(c: OnnxContext) -> Any:
        return _unroll(c, kind)

    return convert


def _unroll(c: OnnxContext, kind: str) -> list[Any]:
    """Y [steps, directions, batch, hidden], Y_h and, of an LSTM, Y_c, without the steps."""
    direction = text_of(c.attrs.get("direction"), "forward")
    layer = _layer(c, kind, 2 if direction == "bidirectional" else 1)
    rows, lasts, cells = [], [], []
    for d in range(layer.directions):
        backward = direction == "reverse" or d == 1
        cell, gates = _cell(layer, d), _gates(layer, d)
        h = _initial_state(layer, c[5], d)
        state = _initial_state(layer, c[6], d) if kind == "LSTM" else None
        row: list[Any] = [None] * layer.steps
        for t in range(layer.steps)[:: -1 if backward else 1]:
            part = op.strided_slice(gates, [0], [t], [t + 1])
            part = c.emit(op.reshape(part, [layer.batch, layer.width]))
            h, state = cell.step(part, h, state)
            h = row[t] = c.emit(h)
        rows.append(c.emit(op.stack(row, 0)))
        lasts.append(h)
        cells.append(state)
    results = [op.stack(rows, 1), op.stack(lasts, 0)]
    if kind == "LSTM":
        results.append(op.stack(cells, 0))
    if layer.batch_first:
        orders = ([2, 0, 1, 3], [1, 0, 2], [1, 0, 2])
        results = [
            op.permute_dims(c.typed(value), order)
            for value, order in zip(results, orders, strict=False)
        ]
    return results


def _layer(c: OnnxContext, kind: str, directions: int) -> _Layer:
    batch_first = bool(c.attrs.get("layout", 0))
    data = c.typed(op.permute_dims(c[0], [1, 0, 2]) if batch_first else c[0])
    steps, batch = (_static(d) for d in list(data.ty.shape.values)[:2])
    if steps > MAX_STEPS:
        raise ValueError(f"{steps} steps are not unrolled, only up to {MAX_STEPS}")
    if c[4] is not None and (array_of(c[4], "sequence_lens") != steps).any():
        raise ValueError("sequences of unequal length are not supported")
    return _Layer(
        c=c,
        kind=kind,
        data=data,
        steps=steps,
        batch=batch,
        hidden=int(c.attrs["hidden_size"]),
        directions=directions,
        batch_first=batch_first,
    )


def _cell(layer: _Layer, d: int) -> _Cell:
    """The cell of direction `d`."""
    c = layer.c
    clip = c.attrs.get("clip")
    bias = peepholes = None
    if c[3] is not None:
        bias = _part(c, _pick(c[3], d), 1, layer.width)
    if layer.kind == "LSTM" and c[7] is not None:
        whole = _pick(c[7], d)
        peepholes = [_part(c, whole, k, layer.hidden) for k in range(3)]
    return _Cell(
        c=c,
        kind=layer.kind,
        hidden=layer.hidden,
        activations=_activations(layer, d),
        weight=_transposed(c, _pick(c[2], d)),
        bias=bias,
        peepholes=peepholes,
        linear_before_reset=bool(c.attrs.get("linear_before_reset", 0)),
        coupled=bool(c.attrs.get("input_forget", 0)),
        bound=None if clip is None else float(clip),
    )


def _activations(layer: _Layer, d: int) -> list[Activation]:
    attrs, defaults = layer.c.attrs, _DEFAULTS[layer.kind]
    given = [text_of(a, "") for a in attrs.get("activations") or defaults * layer.directions]
    names = given[d * len(defaults) : (d + 1) * len(defaults)]
    unknown = [n for n in names if n.lower() not in _ACTIVATIONS]
    if unknown or attrs.get("activation_alpha") or attrs.get("activation_beta"):
        known = ", ".join(sorted(_ACTIVATIONS))
        raise ValueError(f"activations {given} with parameters; byoc unrolls {known} without")
    return [_ACTIVATIONS[n.lower()] for n in names]


def _gates(layer: _Layer, d: int) -> Any:
    """Xt·Wᵀ + Wb of all steps and gates of direction `d`, [steps, batch, gates · hidden]."""
    c = layer.c
    gates = op.matmul(layer.data, _transposed(c, _pick(c[1], d)))
    if c[3] is not None:
        gates = op.add(c.typed(gates), _part(c, _pick(c[3], d), 0, layer.width))
    return c.emit(gates)


def _initial_state(layer: _Layer, given: Any, d: int) -> Any:
    """The state before the first step in direction `d`, [batch, hidden]; zeros for none."""
    if given is None:
        return const(np.zeros((layer.batch, layer.hidden)), dtype_of(layer.data))
    if layer.batch_first:
        given = layer.c.typed(op.permute_dims(given, [1, 0, 2]))
    return layer.c.emit(_pick(given, d))


def _static(dim: Any) -> int:
    try:
        return int(dim)
    except TypeError:
        raise ValueError("its number of steps or its batch is symbolic") from None


def _pick(value: Any, d: int) -> Any:
    """Direction `d` of a tensor [directions, …]."""
    if isinstance(value, GenericConst):
        return const(np.ascontiguousarray(to_numpy(value.value)[d]))
    dims = list(value.ty.shape.values)[1:]
    return op.reshape(op.strided_slice(value, [0], [d], [d + 1]), dims)


def _transposed(c: OnnxContext, value: Any) -> Any:
    if isinstance(value, GenericConst):
        return const(np.ascontiguousarray(to_numpy(value.value).T))
    return c.emit(op.permute_dims(c.typed(value), [1, 0]))


def _part(c: OnnxContext, value: Any, index: int, size: int) -> Any:
    """Part `index` of a vector, in parts of `size`."""
    if isinstance(value, GenericConst):
        return const(np.ascontiguousarray(to_numpy(value.value)[index * size : (index + 1) * size]))
    return c.emit(op.strided_slice(c.typed(value), [0], [index * size], [(index + 1) * size]))


RECURRENT: Mapping[tuple[str, str], Converter] = {
    ("", kind): _converter(kind) for kind in ("GRU", "LSTM", "RNN")
}
"""(domain, operator) → converter."""
