"""Fourier transforms, and the windows that go with them.

A transform of known length is a product with a constant matrix: real and imaginary parts are the
last dimension, so that one matmul does both::

    [..., t, re|im] ──reshape──▶ [..., 2t] @ cos|sin [2t, 2k] ──reshape──▶ [..., k, re|im]

Long transforms are two short ones with a twist between (Cooley and Tukey 1965), n = a · b::

    x[b·s + t] ──a over s──▶ · w^(t·k) ──b over t──▶ X[k + a·l]

All of it is computed in float64: where sums cancel, the rest is rounding of the input, not ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import axes_of, const, dtype_of, is_int
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import array_of, number_of
from byoc.segment import Array

__all__ = ["SPECTRAL"]

op = relax.op

_SHORT = 4 << 20
"""Bytes of a matrix from which on two smaller ones are tried."""

_LONG = 64 << 20
"""Bytes of a matrix beyond which a transform is not expressed so."""


_MOST = 1 << 20
"""Elements of the longest transform."""


def dft(c: OnnxContext) -> Any:
    """DFT 17 (axis as attribute), 20 (as input), of every length that is known."""
    data, rank = c[0], c[0].ty.ndim
    given = c.attrs.get("axis", 1) if c.opset < 20 else number_of(c[2], "axis")
    (axis,) = axes_of([-2 if given is None else given], rank)
    if axis == rank - 1:
        raise RefusedError("its axis is the last one, which holds real and imaginary parts")
    parts = _parts(data)
    inverse, onesided = bool(c.attrs.get("inverse", 0)), bool(c.attrs.get("onesided", 0))
    back = inverse and onesided  # half a spectrum to a real signal
    if onesided and not inverse and parts == 2:
        raise RefusedError("onesided=1 of a complex signal; its spectrum has two sides")
    size = _known(data.ty.shape.values[axis], f"dimension {axis} of its input")
    length = number_of(c[1], "dft_length")
    n = (2 * (size - 1) if back else size) if length is None else int(length)
    if n < 1:
        raise RefusedError(f"its length is {n}")
    if n > _MOST:
        raise ValueError(f"a transform of {n:,} elements is too long, byoc has up to {_MOST:,}")
    order = [d for d in range(rank) if d not in (axis, rank - 1)] + [axis, rank - 1]
    wide = c.typed(_permuted(op.astype(data, "float64"), order))
    wide = c.typed(_fitted(wide, size, n // 2 + 1 if back else n, parts))
    if back:
        result = _real(c, wide, n, parts)
    else:
        result = _complex(c, wide, n, parts, 1 if inverse else -1)
        if onesided:
            result = op.strided_slice(result, [-2], [0], [n // 2 + 1])
        if inverse:
            result = op.multiply(result, const(1 / n, np.float64))
    inverted = [order.index(d) for d in range(rank)]
    return op.astype(_permuted(c.typed(result), inverted), dtype_of(data))


def stft(c: OnnxContext) -> Any:
    """STFT 17: frames of the signal, times the window, each transformed."""
    data, window = c[0], c[2]
    parts = _parts(data)
    onesided = bool(c.attrs.get("onesided", 1)) and parts == 1
    if c.attrs.get("onesided", 1) and parts == 2:
        raise RefusedError("onesided=1 of a complex signal; its spectrum has two sides")
    size = _known(data.ty.shape.values[1], "the length of its signal")
    step, length = number_of(c[1], "frame_step"), number_of(c[3], "frame_length")
    whole = size if window is None else _known(window.ty.shape.values[0], "its window's length")
    n, step = int(whole if length is None else length), int(step or 0)
    if step < 1 or not 1 <= n <= size or (window is not None and n != whole):
        raise RefusedError(f"frames of {n} of {size} elements by {step}, a window of {whole}")
    if n * ((size - n) // step + 1) > 32 * _MOST or n > _MOST:
        raise ValueError(f"its frames, {n} of {size} elements by {step}, are too many")
    starts = np.arange(0, size - n + 1, step)
    frames = op.take(data, const(starts[:, None] + np.arange(n), np.int64), axis=1)
    wide = c.typed(op.astype(frames, "float64"))
    if window is not None:
        wide = op.multiply(wide, op.reshape(op.astype(window, "float64"), [n, 1]))
    result = c.typed(_complex(c, c.typed(wide), n, parts, -1))
    if onesided:
        result = op.strided_slice(result, [-2], [0], [n // 2 + 1])
    return op.astype(result, dtype_of(data))


def _parts(data: Any) -> int:
    parts = _known(data.ty.shape.values[-1], "the last dimension of its input")
    if parts not in (1, 2):
        raise RefusedError(f"its input has {parts} parts; expected 1, real, or 2, complex")
    return parts


def _known(dim: Any, what: str) -> int:
    if not is_int(dim):
        raise ValueError(f"{what} is known only at run time")
    return int(dim)


def _permuted(data: Any, order: list[int]) -> Any:
    return data if order == sorted(order) else op.permute_dims(data, order)


def _fitted(data: Any, size: int, wanted: int, parts: int) -> Any:
    """[..., size, parts] cut, or filled up with zeros, to `wanted`."""
    if wanted < size:
        return op.strided_slice(data, [-2], [0], [wanted])
    if wanted == size:
        return data
    zeros = [*data.ty.shape.values[:-2], wanted - size, parts]
    return op.concat([data, op.zeros(zeros, "float64")], axis=-2)


def _angles(a: int, b: int, n: int) -> Array:
    """2π·i·j / n for i < a, j < b, reduced while they are whole numbers."""
    turns: Array = np.outer(np.arange(a), np.arange(b)) % n
    return turns * (2 * np.pi / n)


def _matrix(n: int, parts: int, sign: int) -> Array:
    """[n · parts, n · 2]: sums of x · e^(sign · 2πi · t · k / n)."""
    angles = _angles(n, n, n)
    table = np.empty((n, parts, n, 2))
    table[:, 0, :, 0], table[:, 0, :, 1] = np.cos(angles), sign * np.sin(angles)
    if parts == 2:
        table[:, 1, :, 0], table[:, 1, :, 1] = -table[:, 0, :, 1], table[:, 0, :, 0]
    return table.reshape(n * parts, n * 2)


def _complex(c: OnnxContext, data: Any, n: int, parts: int, sign: int) -> Any:
    """[..., n, parts] → [..., n, 2], not scaled."""
    outer = list(data.ty.shape.values[:-2])
    if 16 * n * n * parts > _SHORT:
        a = max(d for d in range(1, math.isqrt(n) + 1) if not n % d)
        if a > 1:
            return _in_two(c, data, a, n // a, parts, sign)
    if 16 * n * n * parts > _LONG:
        raise ValueError(f"a transform of {n} elements, a prime, needs too large a matrix")
    flat = op.reshape(data, [*outer, n * parts])
    return op.reshape(op.matmul(flat, const(_matrix(n, parts, sign))), [*outer, n, 2])


def _in_two(c: OnnxContext, data: Any, a: int, b: int, parts: int, sign: int) -> Any:
    outer = list(data.ty.shape.values[:-2])
    depth = len(outer)
    swap = [*range(depth), depth + 1, depth, depth + 2]
    split = op.reshape(data, [*outer, a, b, parts])
    inner = c.typed(op.permute_dims(split, swap))  # [..., t, s, parts]
    inner = c.typed(_complex(c, inner, a, parts, sign))  # [..., t, k, 2]
    angles = _angles(b, a, a * b)[:, :, None]
    cosine, sine = const(np.cos(angles)), const(sign * np.sin(angles))
    real = op.strided_slice(inner, [-1], [0], [1])
    other = op.strided_slice(inner, [-1], [1], [2])
    twisted = op.concat(
        [
            op.subtract(op.multiply(real, cosine), op.multiply(other, sine)),
            op.add(op.multiply(real, sine), op.multiply(other, cosine)),
        ],
        axis=-1,
    )
    turned = c.typed(op.permute_dims(c.typed(twisted), swap))  # [..., k, t, 2]
    result = c.typed(_complex(c, turned, b, 2, sign))  # [..., k, l, 2]
    return op.reshape(op.permute_dims(result, swap), [*outer, a * b, 2])


def _real(c: OnnxContext, data: Any, n: int, parts: int) -> Any:
    """[..., n // 2 + 1, parts], half a spectrum → [..., n, 1], the real signal, scaled.

    The other half is the conjugate of this one; the imaginary parts of the first element and,
    for an even n, of the last one are no part of a real signal and fall away.
    """
    rest = (n - 1) // 2
    whole = data
    if rest:
        other = op.flip(op.strided_slice(data, [-2], [1], [rest + 1]), data.ty.ndim - 2)
        signs = const(np.array([1.0, -1.0][:parts]))
        whole = op.concat([data, op.multiply(other, signs)], axis=-2)
    result = c.typed(_complex(c, c.typed(whole), n, parts, 1))
    real = op.strided_slice(result, [-1], [0], [1])
    return op.multiply(real, const(1 / n, np.float64))


# -- windows


def window(shape: Callable[[Array], Array]) -> Converter:
    """HannWindow, HammingWindow, BlackmanWindow 17 of a known size: a constant.

    Args:
        shape: The window over angles of 0 to 2π.
    """

    def convert(c: OnnxContext) -> Any:
        size = int(array_of(c[0], "size").item())
        if not 0 <= size <= 1 << 24:
            raise RefusedError(f"a window of {size} elements")
        around = size if c.attrs.get("periodic", 1) else size - 1
        angles = np.arange(size) * (2 * np.pi / max(1, around))
        dtype = onnx.helper.tensor_dtype_to_np_dtype(c.attrs.get("output_datatype", 1))
        return const(shape(angles), dtype)

    return convert


def _hann(angle: Array) -> Array:
    return 0.5 - 0.5 * np.cos(angle)


def _hamming(angle: Array) -> Array:
    return 25 / 46 - 21 / 46 * np.cos(angle)


def _blackman(angle: Array) -> Array:
    window: Array = 0.42 - 0.5 * np.cos(angle) + 0.08 * np.cos(2 * angle)
    return window


SPECTRAL: Mapping[tuple[str, str], Converter] = {
    ("", "BlackmanWindow"): window(_blackman),
    ("", "DFT"): dft,
    ("", "HammingWindow"): window(_hamming),
    ("", "HannWindow"): window(_hann),
    ("", "STFT"): stft,
}
"""(domain, operator) → converter."""
