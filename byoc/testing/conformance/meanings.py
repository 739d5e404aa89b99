"""What windows, products and norms mean, in numpy: short, slow, in double precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from byoc.segment import Array

__all__ = ["attention", "convolve", "convolve_transposed", "normalised", "pool", "softmax"]


def _windows(
    x: Array, kernel: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> Array:
    """[N, C, *out, *kernel] of [N, C, *space]."""
    dims = len(kernel)
    axes = tuple(range(2, 2 + dims))
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    view = sliding_window_view(x, reach, axes)
    steps = tuple(slice(None, None, s) for s in strides)
    taps = tuple(slice(None, None, d) for d in dilation)
    return view[(slice(None), slice(None), *steps, *taps)]


def _padded(x: Array, padding: Sequence[int], value: float) -> Array:
    if not any(padding):
        return x
    dims = len(padding) // 2
    width = [(0, 0), (0, 0), *zip(padding[:dims], padding[dims:], strict=True)]
    return np.pad(x, width, constant_values=value)


def convolve(
    x: Array,
    w: Array,
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Array:
    """Return the convolution of [N, C, *space] with [O, C / groups, *kernel].

    Args:
        x: Data.
        w: Weights.
        strides: Of each spatial axis.
        padding: At the starts, then at the ends.
        dilation: Of each spatial axis.
        groups: Number of groups.

    """
    dims = w.ndim - 2
    windows = _windows(_padded(x, padding, 0), w.shape[2:], strides, dilation)
    parts = []
    for part, weight in zip(np.split(windows, groups, 1), np.split(w, groups), strict=True):
        taps = tuple(range(2 + dims, 2 + 2 * dims))
        weight_taps = tuple(range(2, 2 + dims))
        y = np.tensordot(part, weight, ((1, *taps), (1, *weight_taps)))
        parts.append(np.moveaxis(y, -1, 1))
    return np.concatenate(parts, 1)


def convolve_transposed(
    x: Array, w: Array, strides: Sequence[int], padding: Sequence[int], more: Sequence[int]
) -> Array:
    """Return the transposed convolution of [N, C, *space] with [C, O, *kernel].

    Args:
        x: Data.
        w: Weights.
        strides: Of each spatial axis.
        padding: At the starts, then at the ends.
        more: What the output is longer at its ends.

    """
    dims = w.ndim - 2
    space, kernel = x.shape[2:], w.shape[2:]
    full = [(n - 1) * s + k + m for n, s, k, m in zip(space, strides, kernel, more, strict=True)]
    y = np.zeros((x.shape[0], w.shape[1], *full), x.dtype)
    for tap in product(*map(range, kernel)):
        weight = w.reshape(*w.shape[:2], -1)[:, :, np.ravel_multi_index(tap, kernel)]
        made = np.moveaxis(np.tensordot(x, weight, (1, 0)), -1, 1)
        spots = [
            slice(t, t + (n - 1) * s + 1, s) for t, n, s in zip(tap, space, strides, strict=True)
        ]
        y[(slice(None), slice(None), *spots)] += made
    ends = [n - p for n, p in zip(full, padding[dims:], strict=True)]
    kept = [slice(a, b) for a, b in zip(padding[:dims], ends, strict=True)]
    return np.asarray(y[(slice(None), slice(None), *kept)])


def pool(
    x: Array,
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    how: Callable[..., Array],
    *,
    count_padding: bool = True,
) -> Array:
    """Return the pool of [N, C, *space].

    Args:
        x: Data.
        kernel: Size of a window.
        strides: Of each spatial axis.
        padding: At the starts, then at the ends.
        how: `np.max` or `np.mean`.
        count_padding: Whether means count what is padded.

    """
    dims = len(kernel)
    ones = [1] * dims
    axes = tuple(range(2 + dims, 2 + 2 * dims))
    value = -np.inf if how is np.max else 0.0
    windows = _windows(_padded(x, padding, value), kernel, strides, ones)
    if how is np.max or count_padding:
        return np.asarray(how(windows, axis=axes))
    there = _windows(_padded(np.ones_like(x), padding, 0.0), kernel, strides, ones)
    return np.asarray(windows.sum(axes) / there.sum(axes))


def softmax(x: Array, axis: int) -> Array:
    """Return the softmax over an axis."""
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def normalised(x: Array, axes: tuple[int, ...], epsilon: float, *, centred: bool = True) -> Array:
    """Return numbers over their spread.

    Args:
        x: Data.
        axes: What is normalised together.
        epsilon: Added to the square of the spread.
        centred: Whether the mean is taken off first.

    """
    away = x - x.mean(axes, keepdims=True) if centred else x
    return np.asarray(away / np.sqrt((away**2).mean(axes, keepdims=True) + epsilon))


def attention(q: Array, k: Array, v: Array, bias: Array | float = 0.0) -> Array:
    """Return softmax(q·kᵀ/√d + bias)·v of [B, S, H, D] operands."""
    scores = np.einsum("bshd,bthd->bhst", q, k) / np.sqrt(q.shape[-1]) + bias
    return np.asarray(np.einsum("bhst,bthd->bshd", softmax(scores, -1), v))
