"""Functions of one value that become tables: 256 answers, one for each int8.

Each takes and gives float64; a table is the function between a dequantisation and a quantisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from byoc.segment import Array, Attr
from byoc.vendor_templates.npu.lowering.numerics import quantize_array

__all__ = ["FUNCTIONS", "make_table"]

Real = npt.NDArray[np.float64]
Attrs = Mapping[str, Attr]


def _sigmoid(x: Real) -> Real:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _erf(x: Real) -> Real:
    result: Real = np.vectorize(math.erf, otypes=[np.float64])(x)
    return result


def _clip(x: Real, a: Attrs) -> Real:
    return np.clip(x, float(a["min"]), float(a["max"]))


FUNCTIONS: Mapping[str, Callable[[Real, Attrs], Real]] = {
    "abs": lambda x, a: np.abs(x),
    "ceil": lambda x, a: np.ceil(x),
    "clip": _clip,
    "erf": lambda x, a: _erf(x),
    "exp": lambda x, a: np.exp(x),
    "floor": lambda x, a: np.floor(x),
    "negative": lambda x, a: -x,
    "nn.gelu": lambda x, a: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))),
    "nn.gelu_tanh": lambda x, a: (
        0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "nn.leakyrelu": lambda x, a: np.where(x >= 0, x, x * float(a["alpha"])),
    "nn.relu": lambda x, a: np.maximum(x, 0.0),
    "nn.silu": lambda x, a: x * _sigmoid(x),
    "nn.softplus": lambda x, a: np.logaddexp(0.0, x),
    "sigmoid": lambda x, a: _sigmoid(x),
    "square": lambda x, a: x * x,
    "tanh": lambda x, a: np.tanh(x),
}
"""Relax name -> (values, attributes of the op) -> values."""


def make_table(
    function: Callable[[Real], Real], scale: float, zero: int, out_scale: float, out_zero: int
) -> Array:
    """Return int8[256] with quantize(function(dequantize(q))) at index q + 128.

    Args:
        function: From real values to real values.
        scale: Of the input.
        zero: Zero point of the input as the device counts.
        out_scale: Of the output.
        out_zero: Zero point of the output.
    """
    steps = np.arange(-128, 128, dtype=np.float64) - zero
    real = (steps.astype(np.float32) * np.float32(scale)).astype(np.float64)
    with np.errstate(over="ignore"):
        return quantize_array(function(real), out_scale, out_zero)
