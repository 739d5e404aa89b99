"""Reading arithmetic in a graph whatever order exporters wrote it in.

Of ``0.5 * x * (1 + erf(x / sqrt(2)))`` alone there are a dozen spellings. Once `simplify` has
turned arithmetic with numbers into ``linear``, two readers see through all of them::

    peel_linear      3 * (x * 2 + 1)      is  6 * x + 3      →  (x, 6, 3)
    polynomial       x + 0.04 * x * x * x                    →  (0, 1, 0, 0.04)

and `scaled` writes what was recognised, with the factor that is left over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp

__all__ = ["close", "eltwise", "function_of", "peel_linear", "polynomial", "scaled"]

_TOLERANCE = 1e-4
"""Relative; exporters write constants with four digits or more."""


def close(a: float, b: float) -> bool:
    """Tell whether two numbers are the same constant, as exactly as exporters write them.

    Args:
        a: One number.
        b: The other.
    """
    return math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=1e-9)


def function_of(graph: DnnlGraph, value: int, *algs: str) -> DnnlOp | None:
    """Return the eltwise op that makes a value nobody else reads, if its algorithm is listed.

    Args:
        graph: The graph.
        value: The value.
        *algs: Names of eltwise algorithms (``"erf"``).

    Returns:
        The op, which has no post-ops, or None.
    """
    op = graph.made_by(value, "eltwise")
    return op if op is not None and op.attrs["alg"] in algs and not op.post else None


def eltwise(
    graph: DnnlGraph, op: DnnlOp, value: int, alg: str, alpha: float = 0.0, beta: float = 0.0
) -> bool:
    """Make an op the eltwise ``alg(value)``.

    Args:
        graph: The graph.
        op: The op that is rewritten; it keeps its outputs.
        value: What it reads.
        alg: Name of the eltwise algorithm.
        alpha: First parameter of the algorithm.
        beta: Second parameter of the algorithm.

    Returns:
        True, so that a rewrite can end with it.
    """
    attrs = {"alg": alg, "alpha": float(alpha), "beta": float(beta)}
    graph.morph(op, "eltwise", [value], attrs)
    return True


def scaled(
    graph: DnnlGraph,
    op: DnnlOp,
    x: int,
    factor: float,
    alg: str,
    alpha: float = 0.0,
    beta: float = 0.0,
) -> bool:
    """Make an op the product of a number and ``alg(x)``.

    Args:
        graph: The graph.
        op: The op that is rewritten; it keeps its outputs.
        x: What the function is applied to.
        factor: The number; for 1 there is no product.
        alg: Name of the eltwise algorithm.
        alpha: First parameter of the algorithm.
        beta: Second parameter of the algorithm.

    Returns:
        True, so that a rewrite can end with it.
    """
    if close(factor, 1.0):
        return eltwise(graph, op, x, alg, alpha, beta)
    inner = graph.emit("eltwise", [x], graph.shape(op.out), alg=alg, alpha=alpha, beta=beta)
    return eltwise(graph, op, inner, "linear", factor)


def peel_linear(graph: DnnlGraph, value: int) -> tuple[int, float, float]:
    """Read a value as ``a * x + b``, through ops whose results nothing else reads.

    Args:
        graph: The graph.
        value: The value.

    Returns:
        ``(x, a, b)``; ``(value, 1, 0)`` when nothing linear makes it.
    """
    op = graph.made_by(value, "eltwise")
    if op is None or op.attrs["alg"] != "linear" or op.post:
        return value, 1.0, 0.0
    x, a, b = peel_linear(graph, op.inputs[0])
    alpha, beta = op.attrs["alpha"], op.attrs["beta"]
    return x, a * alpha, b * alpha + beta


def polynomial(graph: DnnlGraph, value: int, x: int, depth: int = 6) -> Sequence[float] | None:
    """Read a value as a polynomial in x of degree 3 at most.

    Args:
        graph: The graph.
        value: The value.
        x: The value that is the variable of the polynomial.
        depth: How many ops deep to look.

    Returns:
        The coefficients, constant first, or None when the value is no such polynomial.
    """
    if value == x:
        return (0.0, 1.0)
    op = graph.producer.get(value)
    if op is None or op.post or depth == 0 or graph.uses(value) != 1:
        return None
    alg = op.attrs.get("alg")
    if op.kind == "eltwise" and alg in ("linear", "square", "pow"):
        a = polynomial(graph, op.inputs[0], x, depth - 1)
        return None if a is None else _of_polynomial(op, a)
    if op.kind == "binary" and alg in ("add", "sub", "mul"):
        a, b = (polynomial(graph, v, x, depth - 1) for v in op.inputs)
        if a is None or b is None:
            return None
        return _times(a, b) if alg == "mul" else _plus(a, b, 1.0 if alg == "add" else -1.0)
    return None


def _of_polynomial(op: DnnlOp, a: Sequence[float]) -> Sequence[float] | None:
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
