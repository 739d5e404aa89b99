"""LSTM, GRU and RNN over a known number of steps, unrolled.

    x ─ one product with W for all steps ─┬─ step 0 ─┬─ step 1 ─┬─ … ─▶ Y (every h), Y_h, Y_c
                              h_0, c_0 ───┘          └ h, c ────┘

Each step is one product with R and a few element-wise ops, which the host fuses. Gates lie side by
side in W, R and B as ONNX stores them: i o f c (LSTM), z r h (GRU). Versions 7, 14, 22.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.normalise.tensors import to_numpy
from byoc.frontends.onnx.converters.tools import (
    Attributes,
    Converter,
    Inputs,
    array_of,
    const,
    scalar_like,
    text_of,
)

__all__ = ["MAX_STEPS", "RECURRENT"]

op = relax.op

MAX_STEPS = 128
"""Longer sequences would make graphs that take minutes to compile."""

_ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "relu": op.nn.relu,
    "sigmoid": op.sigmoid,
    "tanh": op.tanh,
}
_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@dataclass
class _Cell:
    """One direction. wx: the products with W, [steps, batch, gates · hidden], biases in them."""

    bb: Any
    kind: str
    hidden: int
    activations: list[Callable[[Any], Any]]
    recurrent: Any  # [hidden, gates · hidden]
    bias: Any  # of the recurrent product, [gates · hidden], or None
    peepholes: list[Any] | None
    linear_before_reset: bool
    input_forget: bool
    clip: float | None

    def part(self, value: Any, index: int, count: int = 1) -> Any:
        """Gates `index` to `index + count` of the last axis."""
        begin, end = index * self.hidden, (index + count) * self.hidden
        if isinstance(value, GenericConst):
            return const(np.ascontiguousarray(to_numpy(value.value)[..., begin:end]))
        return op.strided_slice(value, [value.ty.ndim - 1], [begin], [end])

    def bound(self, value: Any) -> Any:
        return value if self.clip is None else op.clip(value, -self.clip, self.clip)

    def product(self, h: Any, index: int, count: int) -> Any:
        whole = index == 0 and count == _GATES[self.kind]
        weight = self.recurrent if whole else self.part(self.recurrent, index, count)
        result = op.matmul(h, weight)
        if self.bias is None:
            return self.bb.normalize(result)
        bias = self.bias if whole else self.part(self.bias, index, count)
        return self.bb.normalize(op.add(result, bias))

    def rnn(self, wx: Any, h: Any, c: Any) -> tuple[Any, Any]:
        return self.activations[0](self.bound(op.add(wx, self.product(h, 0, 1)))), c

    def gru(self, wx: Any, h: Any, c: Any) -> tuple[Any, Any]:
        f, g = self.activations
        zr = self.bb.emit(op.add(self.part(wx, 0, 2), self.product(h, 0, 2)))
        z = self.bb.emit(f(self.bound(self.part(zr, 0))))
        r = self.bb.emit(f(self.bound(self.part(zr, 1))))
        if self.linear_before_reset:
            inner = op.multiply(r, self.product(h, 2, 1))
        else:
            inner = self.product(self.bb.emit(op.multiply(r, h)), 2, 1)
        new = self.bb.emit(g(self.bound(op.add(self.part(wx, 2), inner))))
        one = scalar_like(1, new)
        return op.add(op.multiply(op.subtract(one, z), new), op.multiply(z, h)), c

    def lstm(self, wx: Any, h: Any, c: Any) -> tuple[Any, Any]:
        f, g, e = self.activations
        gates = self.bb.emit(op.add(wx, self.product(h, 0, 4)))
        i, o, forget, new = (self.part(gates, k) for k in range(4))
        if self.peepholes:
            i = op.add(i, op.multiply(self.peepholes[0], c))
            forget = op.add(forget, op.multiply(self.peepholes[2], c))
        i = self.bb.emit(f(self.bound(i)))
        coupled = self.input_forget
        forget = op.subtract(scalar_like(1, i), i) if coupled else f(self.bound(forget))
        c = self.bb.emit(op.add(op.multiply(forget, c), op.multiply(i, g(self.bound(new)))))
        if self.peepholes:
            o = op.add(o, op.multiply(self.peepholes[1], c))
        return op.multiply(f(self.bound(o)), e(c)), c


def _converter(kind: str) -> Converter:
    def convert(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
        return _unroll(kind, bb, x, attrs)

    return convert


def _unroll(kind: str, bb: Any, x: Inputs, attrs: Attributes) -> list[Any]:
    gates, hidden = _GATES[kind], int(attrs["hidden_size"])
    direction = text_of(attrs.get("direction"), "forward")
    count = 2 if direction == "bidirectional" else 1
    batch_first = bool(attrs.get("layout", 0))
    data = op.permute_dims(x[0], [1, 0, 2]) if batch_first else x[0]
    data = bb.normalize(data)
    steps, batch = (_static(d) for d in list(data.ty.shape.values)[:2])
    if steps > MAX_STEPS:
        raise ValueError(f"{steps} steps are not unrolled, only up to {MAX_STEPS}")
    if x[4] is not None:
        lengths = array_of(x[4], "sequence_lens")
        if (lengths != steps).any():
            raise ValueError("sequences of unequal length are not supported")
    rows, lasts, cells = [], [], []
    for d in range(count):
        backward = direction == "reverse" or d == 1
        cell, wx = _cell(kind, bb, x, attrs, d, count, data, hidden, gates)
        h = _state(bb, x[5], d, batch, hidden, data, batch_first)
        c = _state(bb, x[6], d, batch, hidden, data, batch_first) if kind == "LSTM" else None
        step = {"RNN": cell.rnn, "GRU": cell.gru, "LSTM": cell.lstm}[kind]
        row: list[Any] = [None] * steps
        for t in range(steps)[:: -1 if backward else 1]:
            part = op.strided_slice(wx, [0], [t], [t + 1])
            part = bb.emit(op.reshape(part, [batch, gates * hidden]))
            h, c = step(part, h, c)
            h = row[t] = bb.emit(h)
        rows.append(bb.emit(op.stack(row, 0)))
        lasts.append(h)
        cells.append(c)
    every = op.stack(rows, 1)  # [steps, directions, batch, hidden]
    last = op.stack(lasts, 0)
    results = [every, last]
    if kind == "LSTM":
        results.append(op.stack(cells, 0))
    if batch_first:
        results = [
            op.permute_dims(bb.normalize(v), [2, 0, 1, 3] if i == 0 else [1, 0, 2])
            for i, v in enumerate(results)
        ]
    return results


def _cell(
    kind: str,
    bb: Any,
    x: Inputs,
    attrs: Attributes,
    d: int,
    count: int,
    data: Any,
    hidden: int,
    gates: int,
) -> tuple[_Cell, Any]:
    """Direction `d`, and the products of all steps with its W."""
    weight, recurrent = (_turned(bb, _pick(x[i], d)) for i in (1, 2))
    given = [text_of(a, "") for a in attrs.get("activations") or _DEFAULTS[kind] * count]
    alphas, betas = attrs.get("activation_alpha"), attrs.get("activation_beta")
    size = len(_DEFAULTS[kind])
    names = given[d * size : (d + 1) * size]
    unknown = [n for n in names if n.lower() not in _ACTIVATIONS]
    if unknown or alphas or betas:
        known = ", ".join(sorted(_ACTIVATIONS))
        raise ValueError(f"activations {given} with parameters; byoc unrolls {known} without")
    linear = bool(attrs.get("linear_before_reset", 0))
    wx = op.matmul(data, weight)
    bias = None
    if x[3] is not None:
        both = _pick(x[3], d)
        first, second = _half(bb, both, 0, gates * hidden), _half(bb, both, 1, gates * hidden)
        wx, bias = op.add(bb.normalize(wx), first), second
    peepholes = None
    if kind == "LSTM" and x[7] is not None:
        whole = _pick(x[7], d)
        peepholes = [_half(bb, whole, k, hidden) for k in range(3)]
    clip = attrs.get("clip")
    cell = _Cell(
        bb,
        kind,
        hidden,
        [_ACTIVATIONS[n.lower()] for n in names],
        recurrent,
        bias,
        peepholes,
        linear,
        bool(attrs.get("input_forget", 0)),
        None if clip is None else float(clip),
    )
    return cell, bb.emit(wx)


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


def _turned(bb: Any, value: Any) -> Any:
    if isinstance(value, GenericConst):
        return const(np.ascontiguousarray(to_numpy(value.value).T))
    return bb.emit(op.permute_dims(bb.normalize(value), [1, 0]))


def _half(bb: Any, value: Any, index: int, size: int) -> Any:
    """Part `index` of a vector, in parts of `size`."""
    if isinstance(value, GenericConst):
        return const(np.ascontiguousarray(to_numpy(value.value)[index * size : (index + 1) * size]))
    return bb.emit(op.strided_slice(bb.normalize(value), [0], [index * size], [(index + 1) * size]))


def _state(
    bb: Any, given: Any, d: int, batch: int, hidden: int, data: Any, batch_first: bool
) -> Any:
    """The initial state of direction `d`, [batch, hidden]."""
    if given is None:
        return const(np.zeros((batch, hidden)), str(data.ty.dtype))
    if batch_first:
        given = bb.normalize(op.permute_dims(given, [1, 0, 2]))
    return bb.emit(_pick(given, d))


RECURRENT: Mapping[tuple[str, str], Converter] = {
    ("", kind): _converter(kind) for kind in ("GRU", "LSTM", "RNN")
}
"""(domain, operator) → converter."""
