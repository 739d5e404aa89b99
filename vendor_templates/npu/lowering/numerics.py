"""Scales as the vector unit has them: float32, combined in the order ONNX Runtime combines them.

A result then rounds exactly where the ``QLinear`` kernels of ONNX Runtime round, so a whole model
gives the same integers, not only nearly the same: one step of difference in an early layer would
grow with every layer behind it. docs/npu.md section 3 has the formulas.
"""

from __future__ import annotations

import struct

import numpy as np

from byoc.errors import CompileError
from byoc.segment import Array

__all__ = ["average_scale", "float_bits", "pair_scale", "quantize_array", "sum_constant"]


def float_bits(value: float) -> int:
    """Return the IEEE 754 binary32 of a number, as an instruction holds it.

    Raises:
        CompileError: It is not finite as a float32.
    """
    single = np.float32(value)
    if not np.isfinite(single):
        raise CompileError(f"npu: a scale must be finite as a float32, found {value}")
    bits: int = struct.unpack("<I", struct.pack("<f", single))[0]
    return bits


def pair_scale(first: float, second: Array | float, out: float) -> Array:
    """Return first * second / out in float32: a product's steps in steps of the output.

    Args:
        first: Scale of one factor.
        second: Scale of the other, or one scale for each channel.
        out: Scale of the output.

    Raises:
        CompileError: A result is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.float32(first) * np.asarray(second, np.float32) / np.float32(out)
    if not np.isfinite(scale).all():
        raise CompileError(f"npu: scales {first} x {np.max(second)} / {out} exceed a float32")
    result: Array = np.asarray(scale, np.float32)
    return result


def average_scale(x: float, y: float, count: int) -> float:
    """Return the factor that turns a sum of values into their average: x / (y * count) in float32.

    Args:
        x: Scale of the input, the real value of one step.
        y: Scale of the output.
        count: How many values are averaged.
    """
    return float(np.float32(x) / (np.float32(y) * np.float32(count)))


def sum_constant(m1: float, zero1: int, m2: float, zero2: int, zero: int) -> float:
    """Return what the zero points of a sum come to: zero - m1 zero1 - m2 zero2.

    Three roundings: m2 * zero2, the first product with it (fused), the difference. What the second
    rounds is exact in float64: a product of 24 and 8 bits, a number of 24.

    Args:
        m1: Factor of the first operand: its scale, divided by the result's.
        zero1: Zero point of the first operand, in the numbers of the model.
        m2: Factor of the second operand.
        zero2: Zero point of the second operand, likewise.
        zero: Zero point of the result, likewise.
    """
    second = np.float32(m2) * np.float32(zero2)
    both = np.float32(float(np.float32(m1)) * zero1 + float(second))
    return float(np.float32(zero) - both)


def quantize_array(values: Array, scale: float, zero: int) -> Array:
    """Quantise real values to int8 as ONNX does: half to even, then saturate.

    Args:
        values: Real values, of any shape.
        scale: Real value of one step.
        zero: Zero point as the device counts.
    """
    quotient = np.rint(np.asarray(values, np.float32) / np.float32(scale))
    clipped: Array = np.clip(quotient + zero, -128, 127).astype(np.int8)
    return clipped
