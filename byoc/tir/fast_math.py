"""exp, log, tanh, erf, sigmoid and pow of float32 as arithmetic, so that they vectorise.

In: a scheduled kernel. Out: the same kernel without calls of libm for these functions. Seen in
what TVM 0.27 compiles: a vector of `expf` is one call of libm per lane. The expressions here are a
dozen multiply-adds on whole vectors, right to a few units in the last place over the full range,
infinities and NaN included::

    exp    2^n · p(r), x = n ln 2 + r, |r| ≤ ln 2 / 2        Taylor of degree 7
    log    e ln 2 + 2 artanh(s), x = m 2^e, s = (m-1)/(m+1)  series to s^9
    tanh   1 - 2 / (e^2x + 1); a series near 0
    erf    1 - q(t) e^-x² (Abramowitz & Stegun 7.1.26, |error| < 1.5e-7); a series near 0
    pow    exp(b log a) for a constant b; products for small whole b
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial, log, pi, sqrt
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import Call

from byoc.tir.series import horner

__all__ = ["vectorizable"]

_LN2 = log(2.0)
_LN2_HIGH = 0.693359375  # eight bits: n * _LN2_HIGH is exact
_LN2_LOW = _LN2 - _LN2_HIGH


def _f(value: float) -> Any:
    return tirx.const(value, "float32")


def _i(value: int) -> Any:
    return tirx.const(value, "int32")


def _let(value: Any, body: Callable[[Any], Any]) -> Any:
    """``body(value)`` with the value computed once: expressions are trees, and trees explode."""
    name = tirx.Var("t", str(value.ty.dtype))
    return tirx.Let(name, value, body(name))


def _power_of_two(n: Any) -> Any:
    return tirx.reinterpret("float32", (n + _i(127)) << _i(23))


def _exp(x: Any) -> Any:
    def scaled(r: Any, whole: Any) -> Any:
        value = horner(r, [1 / factorial(k) for k in range(8)])
        half = whole >> _i(1)  # two factors: 2^n alone may overflow where the product does not
        return value * _power_of_two(half) * _power_of_two(whole - half)

    def reduced(x: Any, n: Any) -> Any:
        r = (x - n * _f(_LN2_HIGH)) - n * _f(_LN2_LOW)
        return _let(n.astype("int32"), lambda whole: _let(r, lambda r: scaled(r, whole)))

    def bounded(x: Any) -> Any:
        n = tirx.floor(x * _f(1 / _LN2) + _f(0.5))
        return _let(n, lambda n: reduced(x, n))

    # Beyond these the result is 0 or infinity; comparisons let NaN through.
    above = _let(x, lambda x: tirx.Select(x < _f(-105.0), _f(-105.0), x))
    return _let(_let(above, lambda x: tirx.Select(x > _f(89.0), _f(89.0), x)), bounded)


def _log(x: Any) -> Any:
    infinity, nan = _f(float("inf")), _f(float("nan"))

    def series(mantissa: Any, e: Any) -> Any:
        s = (mantissa - _f(1.0)) / (mantissa + _f(1.0))
        odd = _let(s, lambda s: s * horner(s * s, [2 / (2 * k + 1) for k in range(5)]))
        return e * _f(_LN2_HIGH) + (odd + e * _f(_LN2_LOW))

    def split(bits: Any, tiny: Any) -> Any:
        # Exponent counted so that the mantissa lies in [sqrt(1/2), sqrt(2)).
        def parts(exponent: Any) -> Any:
            mantissa = tirx.reinterpret("float32", bits - (exponent << _i(23)))
            e = exponent.astype("float32") - tirx.Select(tiny, _f(23.0), _f(0.0))
            return _let(mantissa, lambda m: _let(e, lambda e: series(m, e)))

        return _let((bits - _i(0x3F3504F3)) >> _i(23), parts)

    def whole(x: Any) -> Any:
        tiny = x < _f(1.17549435e-38)  # denormal: scale it up by 2^23
        scaled = tirx.Select(tiny, x * _f(8388608.0), x)
        value = _let(tirx.reinterpret("int32", scaled), lambda bits: split(bits, tiny))
        value = tirx.Select(x == infinity, infinity, value)
        value = tirx.Select(x == _f(0.0), -infinity, value)
        return tirx.Select(x >= _f(0.0), value, nan)

    return _let(x, whole)


def _tanh(x: Any) -> Any:
    def whole(x: Any) -> Any:
        terms = [1.0, -1 / 3, 2 / 15, -17 / 315, 62 / 2835, -1382 / 155925]
        near = x * _let(x * x, lambda square: horner(square, terms))
        far = _f(1.0) - _f(2.0) / (_exp(x + x) + _f(1.0))
        return tirx.Select(tirx.abs(x) < _f(0.4), near, far)

    return _let(x, whole)


def _erf(x: Any) -> Any:
    terms = [(-1) ** k * 2 / (sqrt(pi) * factorial(k) * (2 * k + 1)) for k in range(7)]
    q = [0.0, 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429]

    def whole(x: Any, square: Any) -> Any:
        size = tirx.abs(x)
        t = _f(1.0) / (_f(1.0) + _f(0.3275911) * size)
        rest = _let(t, lambda t: horner(t, q)) * _exp(-square)
        far = _let(rest, lambda r: tirx.Select(x < _f(0.0), r - _f(1.0), _f(1.0) - r))
        return tirx.Select(size < _f(0.6), x * horner(square, terms), far)

    return _let(x, lambda x: _let(x * x, lambda square: whole(x, square)))


def _sigmoid(x: Any) -> Any:
    return _f(1.0) / (_f(1.0) + _exp(-x))


def _pow(base: Any, exponent: Any) -> Any | None:
    if not isinstance(exponent, tirx.FloatImm):
        return None
    b = float(exponent.value)
    if b == 0.5:
        return tirx.sqrt(base)
    if b == int(b):
        return _let(base, lambda base: _product(base, int(b))) if 1 <= abs(b) <= 8 else None
    return _exp(_f(b) * _log(base)) if abs(b) <= 8 else None


def _product(base: Any, count: int) -> Any:
    product = base
    for _ in range(abs(count) - 1):
        product = product * base
    return product if count > 0 else _f(1.0) / product


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "tirx.erf": _erf,
    "tirx.exp": _exp,
    "tirx.log": _log,
    "tirx.pow": _pow,
    "tirx.sigmoid": _sigmoid,
    "tirx.tanh": _tanh,
}


def _is_spelled(expr: Any) -> bool:
    """True for an expression with a function in it that is spelled out already.

    TVM's analyzer puts the value of a let in place of its name wherever it simplifies: functions
    inside functions grow exponentially (tanh of tanh of tanh compiled for minutes). The outer ones
    stay calls of libm.
    """
    found: list[Any] = []

    def note(let: Any) -> Any:
        found.append(let)
        return let

    tvm_ffi.structural_map(expr, (tirx.Let, note))
    return bool(found)


def vectorizable(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Replace a kernel's float32 calls of libm by arithmetic, where that is as exact.

    Args:
        func: The kernel.

    Returns:
        The kernel with `exp`, `log`, `tanh`, `erf`, `sigmoid` and `pow` spelled out. Calls inside
        the arguments of others stay, and so does `pow` of an exponent that is not constant.

    """

    def spell(call: Call) -> Any:
        name = getattr(call.op, "name", "")
        function = _FUNCTIONS.get(name)
        if function is None or str(call.ty.dtype) != "float32":
            return call
        if any(map(_is_spelled, call.args)):
            return call
        spelled = function(*call.args)
        return call if spelled is None else spelled

    return func.with_body(tvm_ffi.structural_map(func.body, (Call, spell)))
