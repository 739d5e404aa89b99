"""Activations that exporters spell out: GELU, SiLU, hard-sigmoid, hard-swish, Mish, ELU and kin.

Each is an `Idiom`, read from its last op (see passes/idioms.py). Most have the form
``x * gate(x)``; `_gates` shows such a product from both sides, with the numbers multiplied in::

    0.5 * x * (1 + erf(x / sqrt(2)))   =   (p * x) * (u * gate + w)      p = 0.5, u = w = 1
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp
from byoc.vendor_templates.dnnl.ops.calls import call, constant, either, something
from byoc.vendor_templates.dnnl.ops.rule import Idiom, Spelling
from byoc.vendor_templates.dnnl.ops.spelling import (
    close,
    eltwise,
    function_of,
    peel_linear,
    polynomial,
    scaled,
)

__all__ = ["IDIOMS"]


class _Gate(NamedTuple):
    """A product read as ``(p * x) * (u * gate + w)``; x and gate are values."""

    x: int
    p: float
    gate: int
    u: float
    w: float


def _gates(graph: DnnlGraph, op: DnnlOp) -> Iterator[_Gate]:
    """A product, each operand once as ``p * x``."""
    for left, right in (op.inputs, op.inputs[::-1]):
        x, p, shift = peel_linear(graph, left)
        if shift == 0 and graph.shape(x) == graph.shape(op.out):
            yield _Gate(x, p, *peel_linear(graph, right))


# GELU


def _spell_gelu() -> Spelling:
    """0.5 * x * (1 + erf(x / sqrt(2))), with the half in front, behind, or on x"""
    x = something()
    inner = either(call("divide", x, constant()), call("multiply", x, constant()))
    gate = call("add", call("erf", inner), constant())
    half = call("multiply", x, constant())
    behind = call("multiply", call("multiply", x, gate), constant())
    return Spelling(either(call("multiply", half, gate), behind), {"data": x})


def _gelu_erf(graph: DnnlGraph, op: DnnlOp) -> bool:
    """x * (1 + erf(x / sqrt(2))) = 2 * gelu(x)"""
    for x, p, gate, u, w in _gates(graph, op):
        erf = function_of(graph, gate, "erf")
        if erf is None or not close(u, w):
            continue
        base, scale, shift = peel_linear(graph, erf.inputs[0])
        if base == x and shift == 0 and close(scale, math.sqrt(0.5)):
            return scaled(graph, op, x, 2 * p * u, "gelu_erf")
    return False


def _gelu_tanh(graph: DnnlGraph, op: DnnlOp) -> bool:
    """x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) = 2 * gelu_tanh(x)"""
    for x, p, gate, u, w in _gates(graph, op):
        tanh = function_of(graph, gate, "tanh")
        if tanh is None or not close(u, w):
            continue
        poly = polynomial(graph, tanh.inputs[0], x)
        c = math.sqrt(2 / math.pi)
        if poly is None or len(poly) != 4 or poly[0] or poly[2]:
            continue
        if close(poly[1], c) and close(poly[3], 0.044715 * c):
            return scaled(graph, op, x, 2 * p * u, "gelu_tanh")
    return False


# SiLU and its piecewise linear form


def _spell_silu() -> Spelling:
    """x * sigmoid(x)"""
    x = something()
    return Spelling(call("multiply", x, call("sigmoid", x)), {"data": x})


def _silu(graph: DnnlGraph, op: DnnlOp) -> bool:
    """x * sigmoid(a * x) = swish(x, a)"""
    for x, p, gate, u, w in _gates(graph, op):
        sigmoid = function_of(graph, gate, "logistic")
        if sigmoid is None or w != 0:
            continue
        base, scale, shift = peel_linear(graph, sigmoid.inputs[0])
        if base == x and shift == 0:
            return scaled(graph, op, x, p * u, "swish", scale)
    return False


def _spell_hard_swish() -> Spelling:
    """x * (clip(x + 3, 0, 6) / 6)"""
    x = something()
    gate = call("clip", call("add", x, constant()), something(), something())
    sixth = either(call("divide", gate, constant()), call("multiply", gate, constant()))
    return Spelling(call("multiply", x, sixth), {"data": x})


def _hard_swish(graph: DnnlGraph, op: DnnlOp) -> bool:
    """x * hardsigmoid(x) = hardswish(x); the gate may be an unscaled clip(a * x + b, 0, h)"""
    for x, p, gate, u, w in _gates(graph, op):
        function = function_of(graph, gate, "hardsigmoid", "clip")
        if function is None or w != 0:
            continue
        if function.attrs["alg"] == "hardsigmoid":
            base, a, b, h = function.inputs[0], function.attrs["alpha"], function.attrs["beta"], 1.0
        else:
            base, a, b = peel_linear(graph, function.inputs[0])
            h = function.attrs["beta"]
            if function.attrs["alpha"] != 0 or h <= 0:
                continue
        if base == x:
            return scaled(graph, op, x, p * u * h, "hardswish", a / h, b / h)
    return False


def _spell_hard_sigmoid() -> Spelling:
    """clip(a * x + b, 0, 1)"""
    x = something()
    inner = call("add", call("multiply", x, constant()), constant())
    return Spelling(call("clip", inner, something(), something()), {"data": x})


def _hard_sigmoid(graph: DnnlGraph, op: DnnlOp) -> bool:
    """clip(a * x + b, 0, 1), and clip(a * x + b, 0, h) / h"""
    clip, factor = op, 1.0
    if op.attrs["alg"] == "linear":
        inner = function_of(graph, op.inputs[0], "clip")
        if inner is None or op.attrs["beta"] != 0:
            return False
        clip, factor = inner, op.attrs["alpha"]
    if clip.attrs["alg"] != "clip" or clip.attrs["alpha"] != 0:
        return False
    h = clip.attrs["beta"]
    x, a, b = peel_linear(graph, clip.inputs[0])
    if h <= 0 or (a, b) == (1.0, 0.0) or not close(factor * h, 1.0):
        return False
    return eltwise(graph, op, x, "hardsigmoid", a / h, b / h)


# Of the ReLU family


def _elu(graph: DnnlGraph, op: DnnlOp) -> bool:
    """relu(x) - a * relu(1 - exp(x)) = elu(x, a)"""
    for left, right in (op.inputs, op.inputs[::-1]):
        positive, factor, shift = peel_linear(graph, left)
        negative, minus, offset = peel_linear(graph, right)
        top, bottom = function_of(graph, positive, "relu"), function_of(graph, negative, "relu")
        if top is None or bottom is None or shift or offset or top.attrs["alpha"]:
            continue
        inner, a, b = peel_linear(graph, bottom.inputs[0])
        exp = function_of(graph, inner, "exp")
        if exp is None or bottom.attrs["alpha"] or (a, b) != (-1.0, 1.0) or factor <= 0:
            continue
        if exp.inputs[0] == top.inputs[0] and minus < 0:
            return scaled(graph, op, exp.inputs[0], factor, "elu", -minus / factor)
    return False


def _leaky(graph: DnnlGraph, op: DnnlOp) -> bool:
    """max(x, a * x) = leaky_relu(x, a) for 0 < a < 1"""
    for x, other in (op.inputs, op.inputs[::-1]):
        base, a, b = peel_linear(graph, other)
        if base == x and b == 0 and 0 < a < 1:
            return eltwise(graph, op, x, "relu", a)
    return False


IDIOMS = (
    Idiom("hard_swish", _spell_hard_swish, "mul", _hard_swish),
    Idiom("hard_sigmoid", _spell_hard_sigmoid, "eltwise", _hard_sigmoid),
    Idiom("silu_spelled", _spell_silu, "mul", _silu),
    Idiom("gelu_spelled", _spell_gelu, "mul", _gelu_erf),
    Idiom("gelu_tanh_spelled", None, "mul", _gelu_tanh),
    Idiom("elu", None, "add", _elu),
    Idiom("leakyrelu_spelled", None, "max", _leaky),
)
