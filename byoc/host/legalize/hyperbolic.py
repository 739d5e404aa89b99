"""Functions LLVM has no intrinsic for, spelled out in terms of exp and log.

In: calls of Relax. Out: TE that computes them; exp and log in it are those that
`byoc.tir.fast_math` turns into arithmetic later, once a kernel is scheduled::

    sinh(x)  = (e^x - e^-x) / 2, a series near 0      asinh(x) = sign(x) log(|x| + sqrt(x^2 + 1))
    cosh(x)  = (e^x + e^-x) / 2                        acosh(x) = log(x + sqrt(x^2 - 1))
    atanh(x) = log((1 + x) / (1 - x)) / 2
    softplus(x) = max(x, 0) + log(1 + t), t = e^-|x|, the logarithm as 2 artanh(t / (2 + t)): it is
        next to nothing where 1 + t rounds to 1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import factorial
from typing import Any

from tvm import te, tirx

from byoc.tir.series import horner

__all__ = ["HYPERBOLIC"]

_Number = Callable[[float], Any]
"""A constant of the dtype at hand."""


def _sinh(x: Any, number: _Number) -> Any:
    # e^x - e^-x cancels near 0; the series is exact to float32 below 0.3.
    series = x * horner(x * x, [1 / factorial(k) for k in (1, 3, 5, 7)])
    exact = (tirx.exp(x) - tirx.exp(-x)) * number(0.5)
    return tirx.Select(tirx.abs(x) < number(0.3), series, exact)


def _cosh(x: Any, number: _Number) -> Any:
    return (tirx.exp(x) + tirx.exp(-x)) * number(0.5)


def _asinh(x: Any, number: _Number) -> Any:
    size = tirx.abs(x)
    one = number(1.0)
    # log1p by hand: log(1 + t) with t = |x| + x^2 / (1 + sqrt(x^2 + 1)) keeps small x.
    t = size + size * size / (one + tirx.sqrt(size * size + one))
    series = size * horner(size * size, [1.0, -1 / 6])
    value = tirx.Select(size < number(0.02), series, tirx.log(one + t))
    return tirx.Select(x < number(0.0), -value, value)


def _acosh(x: Any, number: _Number) -> Any:
    one = number(1.0)
    return tirx.log(x + tirx.sqrt(x * x - one))


def _atanh(x: Any, number: _Number) -> Any:
    one = number(1.0)
    series = x * horner(x * x, [1.0, 1 / 3])
    exact = tirx.log((one + x) / (one - x)) * number(0.5)
    return tirx.Select(tirx.abs(x) < number(0.02), series, exact)


def _softplus(builder: Any, call: Any) -> Any:
    beta, threshold = float(call.attrs.beta), float(call.attrs.threshold)

    def element(x: Any, number: _Number, terms: int) -> Any:
        y = x * number(beta) if beta != 1 else x
        t, s = tirx.Var("t", str(x.ty.dtype)), tirx.Var("s", str(x.ty.dtype))
        series = s * horner(s * s, [2 / (2 * k + 1) for k in range(terms)])
        tail = tirx.Let(s, t / (number(2.0) + t), series)
        tail = tirx.Let(t, tirx.exp(-tirx.abs(y)), tail)
        soft = tirx.Select(y > number(0.0), y, number(0.0)) + tail
        return tirx.Select(y > number(threshold), x, soft * number(1 / beta) if beta != 1 else soft)

    def compute(x: Any) -> Any:
        dtype = str(x.dtype)
        wide = "float64" if dtype == "float64" else "float32"
        terms = 18 if dtype == "float64" else 8  # s ≤ 1/3

        def at(*i: Any) -> Any:
            number = lambda value: tirx.const(value, wide)  # noqa: E731
            return element(x(*i).astype(wide), number, terms).astype(dtype)

        return te.compute(x.shape, at, name="softplus")

    return builder.call_te(compute, call.args[0], primfunc_name_hint="softplus")


def _legalizer(name: str, function: Callable[[Any, _Number], Any]) -> Callable[[Any, Any], Any]:
    def legalize(builder: Any, call: Any) -> Any:
        def compute(x: Any) -> Any:
            def number(value: float) -> Any:
                return tirx.const(value, x.dtype)

            return te.compute(x.shape, lambda *i: function(x(*i), number), name=name)

        return builder.call_te(compute, call.args[0], primfunc_name_hint=name)

    return legalize


HYPERBOLIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "relax.nn.softplus": _softplus,
} | {
    f"relax.{name}": _legalizer(name, function)
    for name, function in {
        "acosh": _acosh,
        "asinh": _asinh,
        "atanh": _atanh,
        "cosh": _cosh,
        "sinh": _sinh,
    }.items()
}
