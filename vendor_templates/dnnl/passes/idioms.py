"""Functions that exporters spell out, read back as one op.

Every idiom is found from its last op, after `simplify` has turned arithmetic with numbers into
``linear``. `peel_linear` and `_polynomial` look through the orders exporters choose: of
``0.5 * x * (1 + erf(x / sqrt(2)))`` alone there are a dozen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from byoc.vendor_templates.dnnl.graph import Graph, Op
from byoc.vendor_templates.dnnl.passes.simplify import eltwise, peel_linear

__all__ = ["recognise_idioms"]

_TOLERANCE = 1e-4
"""Relative; exporters write constants with four digits or more."""


def recognise_idioms(graph: Graph) -> None:
    """GELU (both kinds), SiLU, hard-sigmoid and -swish, softplus, Mish, ELU, leaky ReLU, LRN."""
    for op in graph.walk():
        if op.post or op.kind not in ("binary", "eltwise"):
            continue
        for idiom in _IDIOMS.get(op.attrs["alg"], ()) if op.kind == "binary" else _FUNCTIONS:
            if idiom(graph, op):
                break


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=1e-9)


def _function(graph: Graph, value: int, *algs: str) -> Op | None:
    """The eltwise op that makes a value nobody else reads, when its alg is one of these."""
    op = graph.made_by(value, "eltwise")
    return op if op is not None and op.attrs["alg"] in algs and not op.post else None


def _scaled(
    graph: Graph, op: Op, x: int, factor: float, alg: str, alpha: float = 0.0, beta: float = 0.0
) -> bool:
    """Make `op` the product of a number and ``alg(x)``."""
    if _close(factor, 1.0):
        return eltwise(graph, op, x, alg, alpha, beta)
    inner = graph.emit("eltwise", [x], graph.shape(op.out), alg=alg, alpha=alpha, beta=beta)
    return eltwise(graph, op, inner, "linear", factor)


def _product(graph: Graph, op: Op) -> bool:
    """x * gate(x): GELU, SiLU, hard-swish, Mish"""
    for left, right in (op.inputs, op.inputs[::-1]):
        x, p, shift = peel_linear(graph, left)
        gate, u, w = peel_linear(graph, right)
        if shift == 0 and graph.shape(x) == graph.shape(op.out):
            for found in (_gelu_erf, _gelu_tanh, _silu, _hard_swish, _mish):
                if found(graph, op, x, p, gate, u, w):
                    return True
    return False


# Each gate: `op` is (p * x) * (u * gate + w).


def _gelu_erf(graph: Graph, op: Op, x: int, p: float, gate: int, u: float, w: float) -> bool:
    """x * (1 + erf(x / sqrt(2))) = 2 * gelu(x)"""
    erf = _function(graph, gate, "erf")
    if erf is None or not _close(u, w):
        return False
    base, scale, shift = peel_linear(graph, erf.inputs[0])
    if base != x or shift != 0 or not _close(scale, math.sqrt(0.5)):
        return False
    return _scaled(graph, op, x, 2 * p * u, "gelu_erf")


def _gelu_tanh(graph: Graph, op: Op, x: int, p: float, gate: int, u: float, w: float) -> bool:
    """x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) = 2 * gelu_tanh(x)"""
    tanh = _function(graph, gate, "tanh")
    if tanh is None or not _close(u, w):
        return False
    poly = _polynomial(graph, tanh.inputs[0], x)
    c = math.sqrt(2 / math.pi)
    if poly is None or len(poly) != 4 or poly[0] or poly[2]:
        return False
    if not (_close(poly[1], c) and _close(poly[3], 0.044715 * c)):
        return False
    return _scaled(graph, op, x, 2 * p * u, "gelu_tanh")


def _silu(graph: Graph, op: Op, x: int, p: float, gate: int, u: float, w: float) -> bool:
    """x * sigmoid(a * x) = swish(x, a)"""
    sigmoid = _function(graph, gate, "logistic")
    if sigmoid is None or w != 0:
        return False
    base, scale, shift = peel_linear(graph, sigmoid.inputs[0])
    return base == x and shift == 0 and _scaled(graph, op, x, p * u, "swish", scale)


def _hard_swish(graph: Graph, op: Op, x: int, p: float, gate: int, u: float, w: float) -> bool:
    """x * hardsigmoid(x) = hardswish(x); the gate may be an unscaled clip(a * x + b, 0, h)"""
    function = _function(graph, gate, "hardsigmoid", "clip")
    if function is None or w != 0:
        return False
    if function.attrs["alg"] == "hardsigmoid":
        base, a, b, h = function.inputs[0], function.attrs["alpha"], function.attrs["beta"], 1.0
    else:
        base, a, b = peel_linear(graph, function.inputs[0])
        h = function.attrs["beta"]
        if function.attrs["alpha"] != 0 or h <= 0:
            return False
    return base == x and _scaled(graph, op, x, p * u * h, "hardswish", a / h, b / h)


def _mish(graph: Graph, op: Op, x: int, p: float, gate: int, u: float, w: float) -> bool:
    """x * tanh(softplus(x)) = mish(x)"""
    tanh = _function(graph, gate, "tanh")
    if tanh is None or w != 0:
        return False
    soft = _function(graph, tanh.inputs[0], "soft_relu")
    if soft is None or soft.inputs[0] != x or soft.attrs["alpha"] != 1:
        return False
    return _scaled(graph, op, x, p * u, "mish")


def _polynomial(graph: Graph, value: int, x: int, depth: int = 6) -> Sequence[float] | None:
    """Coefficients, constant first, when `value` is a polynomial in x of degree 3 at most."""
    if value == x:
        return (0.0, 1.0)
    op = graph.producer.get(value)
    if op is None or op.post or depth == 0 or graph.uses(value) != 1:
        return None
    alg = op.attrs.get("alg")
    if op.kind == "eltwise" and alg in ("linear", "square", "pow"):
        a = _polynomial(graph, op.inputs[0], x, depth - 1)
        return None if a is None else _of_polynomial(op, a)
    if op.kind == "binary" and alg in ("add", "sub", "mul"):
        a, b = (_polynomial(graph, v, x, depth - 1) for v in op.inputs)
        if a is None or b is None:
            return None
        return _times(a, b) if alg == "mul" else _plus(a, b, 1.0 if alg == "add" else -1.0)
    return None


def _of_polynomial(op: Op, a: Sequence[float]) -> Sequence[float] | None:
    """An eltwise op applied to a polynomial."""
    alpha, beta = op.attrs["alpha"], op.attrs["beta"]
    if op.attrs["alg"] == "linear":
        return (a[0] * alpha + beta, *(c * alpha for c in a[1:]))
    square = _times(a, a)
    if op.attrs["alg"] == "square" or square is None:
        return square
    cube = _times(square, a) if beta == 3 else None
    return None if cube is None else [c * alpha for c in cube]


def _plus(a: Sequence[float], b: Sequence[float], sign: float) -> Sequence[float]:
    length = max(len(a), len(b))
    a, b = ([*p, *[0.0] * (length - len(p))] for p in (a, b))
    return [u + sign * v for u, v in zip(a, b, strict=True)]


def _times(a: Sequence[float], b: Sequence[float]) -> Sequence[float] | None:
    product = [0.0] * (len(a) + len(b) - 1)
    for i, u in enumerate(a):
        for j, v in enumerate(b):
            product[i + j] += u * v
    return product if len(product) <= 4 else None


# Sums, maxima, functions


def _elu(graph: Graph, op: Op) -> bool:
    """relu(x) - a * relu(1 - exp(x)) = elu(x, a)"""
    for left, right in (op.inputs, op.inputs[::-1]):
        positive, factor, shift = peel_linear(graph, left)
        negative, minus, offset = peel_linear(graph, right)
        top, bottom = _function(graph, positive, "relu"), _function(graph, negative, "relu")
        if top is None or bottom is None or shift or offset or top.attrs["alpha"]:
            continue
        inner, a, b = peel_linear(graph, bottom.inputs[0])
        exp = _function(graph, inner, "exp")
        if exp is None or bottom.attrs["alpha"] or (a, b) != (-1.0, 1.0) or factor <= 0:
            continue
        if exp.inputs[0] == top.inputs[0] and minus < 0:
            return _scaled(graph, op, exp.inputs[0], factor, "elu", -minus / factor)
    return False


def _leaky(graph: Graph, op: Op) -> bool:
    """max(x, a * x) = leaky_relu(x, a) for 0 < a < 1"""
    for x, other in (op.inputs, op.inputs[::-1]):
        base, a, b = peel_linear(graph, other)
        if base == x and b == 0 and 0 < a < 1:
            return eltwise(graph, op, x, "relu", a)
    return False


def _lrn(graph: Graph, op: Op) -> bool:
    """x / (k + alpha * avg_pool_over_channels(x * x)) ** beta = lrn(x)

    The pool sees channels as a spatial dim: [N, C, H, W] → [N, 1, C, H, W].
    """
    x, below = op.inputs
    power = _function(graph, below, "pow", "sqrt")
    if power is None or graph.rank(x) < 3:
        return False
    beta = 0.5 if power.attrs["alg"] == "sqrt" else power.attrs["beta"]
    mean, alpha, k = peel_linear(graph, power.inputs[0])
    flat = graph.made_by(mean, "reshape")
    pool = graph.made_by(flat.inputs[0], "pooling") if flat is not None else None
    wide = graph.made_by(pool.inputs[0], "reshape") if pool is not None else None
    square = _function(graph, wide.inputs[0], "square") if wide is not None else None
    if pool is None or wide is None or square is None or square.inputs[0] != x:
        return False
    if power.attrs["alg"] == "pow" and power.attrs["alpha"] != 1:
        return False
    n, c, *spatial = graph.shape(x)
    size, *rest = pool.attrs["kernel"]
    ones = [1] * len(rest)
    if graph.shape(wide.out) != (n, 1, c, *spatial) or rest != ones or size % 2 == 0:
        return False
    if pool.attrs["alg"] != "avg_include_pad" or pool.attrs["strides"] != [1, *ones]:
        return False
    pads = [size // 2, *([0] * len(rest))]
    if pool.attrs["pads_begin"] != pads or pool.attrs["pads_end"] != pads:
        return False
    attrs = {"size": size, "alpha": alpha, "beta": beta, "k": k}
    graph.morph(op, "lrn", [x], attrs)
    return True


def _hard_sigmoid(graph: Graph, op: Op) -> bool:
    """clip(a * x + b, 0, 1), and clip(a * x + b, 0, h) / h"""
    clip, factor = op, 1.0
    if op.attrs["alg"] == "linear":
        inner = _function(graph, op.inputs[0], "clip")
        if inner is None or op.attrs["beta"] != 0:
            return False
        clip, factor = inner, op.attrs["alpha"]
    if clip.attrs["alg"] != "clip" or clip.attrs["alpha"] != 0:
        return False
    h = clip.attrs["beta"]
    x, a, b = peel_linear(graph, clip.inputs[0])
    if h <= 0 or (a, b) == (1.0, 0.0) or not _close(factor * h, 1.0):
        return False
    return eltwise(graph, op, x, "hardsigmoid", a / h, b / h)


def _softplus(graph: Graph, op: Op) -> bool:
    """log(1 + exp(x)) = soft_relu(x)"""
    if op.attrs["alg"] != "log":
        return False
    inner, a, b = peel_linear(graph, op.inputs[0])
    exp = _function(graph, inner, "exp")
    return (
        exp is not None
        and (a, b) == (1.0, 1.0)
        and eltwise(graph, op, exp.inputs[0], "soft_relu", 1.0)
    )


Idiom = Callable[[Graph, Op], bool]

_IDIOMS: dict[str, Sequence[Idiom]] = {
    "mul": (_product,),
    "add": (_elu,),
    "max": (_leaky,),
    "div": (_lrn,),
}
_FUNCTIONS: Sequence[Idiom] = (_hard_sigmoid, _softplus)
