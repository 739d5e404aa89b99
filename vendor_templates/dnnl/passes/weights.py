"""What can be computed at compile time goes into weights, biases and padding.

::

    y = conv(x, w) * s + t    =    conv(x, w * s) + t        s, t per output channel
    y = batch_norm(conv(x, w))     is of that form
    y = conv(pad(x, 0), w)    =    conv(x, w) with that much more padding
"""

from __future__ import annotations

import numpy as np

from byoc.segment import Array
from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp

__all__ = ["fold_into_weights"]

_LARGEST_BIAS = float(np.finfo(np.float32).eps) ** -0.5
"""Adding more costs over half the digits of values around one: such a number is there to round."""

_KINDS = ("convolution", "deconvolution", "matmul", "qconvolution", "qmatmul")


def fold_into_weights(graph: DnnlGraph) -> None:
    """Fold padding, per-channel scales and shifts, and batch norms; each in one walk."""
    for op in graph.walk():
        if op.kind == "convolution":
            _absorb_pad(graph, op)
        elif op.kind == "binary" and not op.post:
            _absorb_binary(graph, op)
        elif op.kind == "batch_norm" and not op.post:
            _absorb_batch_norm(graph, op)


def _absorb_pad(graph: DnnlGraph, op: DnnlOp) -> None:
    pad = graph.made_by(op.inputs[0], "pad")
    if pad is None or pad.attrs["mode"] != "constant" or pad.attrs["value"] != 0:
        return
    begin, end = pad.attrs["pads_begin"], pad.attrs["pads_end"]
    if any((*begin[:2], *end[:2])):
        return
    attrs = dict(op.attrs)
    attrs["pads_begin"] = [a + b for a, b in zip(attrs["pads_begin"], begin[2:], strict=True)]
    attrs["pads_end"] = [a + b for a, b in zip(attrs["pads_end"], end[2:], strict=True)]
    graph.morph(op, op.kind, [pad.inputs[0], *op.inputs[1:]], attrs, op.post, [pad])


def _anchor(graph: DnnlGraph, value: int) -> DnnlOp | None:
    """The weighted op that makes a value nobody else reads."""
    for kind in _KINDS:
        op = graph.made_by(value, kind)
        if op is not None:
            return None if op.post else op
    return None


def _channels(graph: DnnlGraph, anchor: DnnlOp) -> tuple[int, int] | None:
    """Axis and number of the channels an anchor makes; None when it is symbolic."""
    axis = graph.rank(anchor.out) - 1 if anchor.kind.endswith("matmul") else 1
    count = graph.shape(anchor.out)[axis]
    return (axis, count) if isinstance(count, int) else None


def _per_channel(graph: DnnlGraph, anchor: DnnlOp, value: int) -> Array | None:
    """A constant that varies along the anchor's channels only, as a float32 vector."""
    array, channels = graph.constants.get(value), _channels(graph, anchor)
    if array is None or channels is None or array.dtype != np.float32:
        return None
    axis, count = channels
    rank = graph.rank(anchor.out)
    if array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(d != 1 for a, d in enumerate(shape) if a != axis):
        return None
    return array.reshape(-1) if array.size == count else np.full(count, array.item(), np.float32)


def _absorb_binary(graph: DnnlGraph, op: DnnlOp) -> None:
    """conv * s, conv / s, conv + t, conv - t and their mirror images"""
    alg = op.attrs["alg"]
    if alg not in ("add", "sub", "mul", "div"):
        return
    sides = [tuple(op.inputs)]
    if alg in ("add", "mul"):
        sides.append(tuple(op.inputs[::-1]))
    for value, other in sides:
        anchor = _anchor(graph, value)
        if anchor is None or graph.shape(value) != graph.shape(op.out):
            continue
        vector = _per_channel(graph, anchor, other)
        if vector is None:
            continue
        if alg in ("add", "sub"):
            if (np.abs(vector) <= _LARGEST_BIAS).all():
                _shift(graph, op, anchor, vector if alg == "add" else -vector)
            return
        if graph.constants.get(anchor.inputs[1]) is not None and not anchor.kind.startswith("q"):
            if alg == "mul":
                _scale(graph, op, anchor, vector, None)
                return
            if (vector != 0).all():
                with np.errstate(all="ignore"):
                    _scale(graph, op, anchor, 1 / vector, None)
                return


def _absorb_batch_norm(graph: DnnlGraph, op: DnnlOp) -> None:
    anchor = _anchor(graph, op.inputs[0])
    if anchor is None or anchor.kind.startswith("q"):
        return  # scaled integers would be another rounding
    if anchor.kind == "matmul" and graph.rank(anchor.out) != 2:
        return  # channels of a batch norm lie on axis 1
    arrays = [graph.constants.get(v) for v in (*op.inputs[1:], anchor.inputs[1])]
    channels = _channels(graph, anchor)
    if any(a is None for a in arrays) or channels is None:
        return
    gamma, beta, mean, var = (np.asarray(a, np.float64) for a in arrays[:4])
    scale = gamma / np.sqrt(var + op.attrs["eps"])
    shift = beta - mean * scale
    _scale(graph, op, anchor, scale.astype(np.float32), shift.astype(np.float32))


def _bias(graph: DnnlGraph, anchor: DnnlOp) -> Array | None:
    """The anchor's constant bias as a vector; None when it has none that is constant."""
    place = _operands(anchor)
    array = graph.constants.get(anchor.inputs[place]) if len(anchor.inputs) > place else None
    return None if array is None else array.reshape(-1)


def _operands(anchor: DnnlOp) -> int:
    """Inputs before the bias: those of integers have scales of their own."""
    return 3 if anchor.kind.startswith("q") else 2


def _bias_value(graph: DnnlGraph, anchor: DnnlOp, vector: Array) -> int:
    """A bias as program.md wants it: [O] of a convolution, of y's rank for a matrix product."""
    if anchor.kind == "matmul":
        vector = vector.reshape((1,) * (graph.rank(anchor.out) - 1) + (-1,))
    return graph.constant(vector)


def _shift(graph: DnnlGraph, op: DnnlOp, anchor: DnnlOp, vector: Array) -> None:
    if len(anchor.inputs) > _operands(anchor):
        bias = _bias(graph, anchor)
        if bias is None:
            return
        vector = bias + vector
    inputs = [*anchor.inputs[: _operands(anchor)], _bias_value(graph, anchor, vector)]
    graph.morph(op, anchor.kind, inputs, anchor.attrs, absorbed=[anchor])


def _scale(
    graph: DnnlGraph, op: DnnlOp, anchor: DnnlOp, vector: Array, shift: Array | None
) -> None:
    """Scale the weights (and the bias) per output channel; then shift."""
    weight = graph.constants[anchor.inputs[1]]
    bias = _bias(graph, anchor)
    if bias is None and len(anchor.inputs) > 2:
        return
    if anchor.kind == "convolution":
        scaled = weight * vector.reshape(-1, *[1] * (weight.ndim - 1))
    elif anchor.kind == "deconvolution":
        grouped = weight.reshape(anchor.attrs["groups"], -1, *weight.shape[1:])
        factor = vector.reshape(anchor.attrs["groups"], 1, -1, *[1] * (weight.ndim - 2))
        scaled = (grouped * factor).reshape(weight.shape)
    else:
        factor = vector.reshape(-1, 1) if anchor.attrs["transpose_b"] else vector
        scaled = weight * factor
    if not np.isfinite(scaled).all():
        return
    total = None if bias is None else bias * vector
    if shift is not None:
        total = shift if total is None else total + shift
    inputs = [anchor.inputs[0], graph.constant(np.ascontiguousarray(scaled, np.float32))]
    if total is not None:
        inputs.append(_bias_value(graph, anchor, np.ascontiguousarray(total, np.float32)))
    graph.morph(op, anchor.kind, inputs, anchor.attrs, absorbed=[anchor])
