"""From what a tensor was seen to hold to a scale and a zero point.

Each method reads a histogram over [low, high] of everything seen::

    minmax       the whole range
    percentile   the range without the rarest values at both ends
    entropy      the range whose 256 steps lose least information (KL divergence)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["METHODS", "Method", "Observer", "QuantParams", "choose_params"]

Method: TypeAlias = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = ("minmax", "percentile", "entropy")

_BINS = 2048
_LEVELS = 256
_ENOUGH = 16  # values per bin, on average


@dataclass(frozen=True, slots=True)
class QuantParams:
    """How a tensor is stored: ``real = (q - zero) * scale``, q of `dtype` ("int8" or "uint8")."""

    scale: float
    zero: int
    dtype: str


class Observer:
    """Range and histogram of one tensor, over all samples.

    First `see_range` of every sample, then `see_values` of every sample.
    """

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.histogram: npt.NDArray[np.int64] = np.zeros(_BINS, np.int64)

    def see_range(self, values: npt.NDArray[np.float32]) -> None:
        """Widen the range by the values of one sample."""
        finite = values[np.isfinite(values)]
        if finite.size:
            self.low = min(self.low, float(finite.min()))
            self.high = max(self.high, float(finite.max()))

    def see_values(self, values: npt.NDArray[np.float32]) -> None:
        """Count the values of one sample; the range must be known."""
        if self.high > self.low:
            counts, _ = np.histogram(values, _BINS, (self.low, self.high))
            self.histogram += counts


def choose_params(observer: Observer, method: Method, percentile: float, dtype: str) -> QuantParams:
    """Choose the scale and zero point of a tensor.

    Zero is always representable: padding and ReLU need it.

    Args:
        observer: What was seen.
        method: One of `METHODS`.
        percentile: Share of values inside the range, for "percentile".
        dtype: "int8" or "uint8".

    """
    low, high = observer.low, observer.high
    if not np.isfinite(low) or not np.isfinite(high):
        low, high = 0.0, 0.0
    if method == "percentile":
        low, high = _percentile(observer, percentile)
    elif method == "entropy":
        low, high = _entropy(observer)
    low, high = min(low, 0.0), max(high, 0.0)
    bottom = 0 if dtype == "uint8" else -128
    scale = float(np.float32((high - low) / (_LEVELS - 1)))
    if scale < 1e-30:  # all zero: any scale will do
        return QuantParams(1.0, bottom if low == 0 else 0, dtype)
    zero = round(bottom - low / scale)
    return QuantParams(scale, int(np.clip(zero, bottom, bottom + 255)), dtype)


def _edges(observer: Observer) -> npt.NDArray[np.float64]:
    return np.linspace(observer.low, observer.high, _BINS + 1)


def _percentile(observer: Observer, percentile: float) -> tuple[float, float]:
    total = observer.histogram.sum()
    if total == 0:
        return observer.low, observer.high
    share = np.cumsum(observer.histogram) / total
    tail = (100.0 - percentile) / 200.0
    first = int(np.searchsorted(share, tail, side="right"))
    last = int(np.searchsorted(share, 1.0 - tail))
    edges = _edges(observer)
    return float(edges[min(first, _BINS - 1)]), float(edges[min(last, _BINS - 1) + 1])


def _entropy(observer: Observer) -> tuple[float, float]:
    """Clip from the end farther from zero while that keeps the histogram's shape best."""
    counts = observer.histogram.astype(np.float64)
    if counts.sum() < _ENOUGH * _BINS:  # too few values to tell a shape from noise
        return observer.low, observer.high
    edges = _edges(observer)
    # Zero is exact in every range: the many zeros behind a ReLU must not sway the choice.
    counts[(edges[:-1] <= 0) & (edges[1:] >= 0)] = 0
    best, chosen = np.inf, (observer.low, observer.high)
    reach = np.maximum(np.abs(edges[:-1]), np.abs(edges[1:]))
    for bound in np.linspace(reach.max() / 8, reach.max(), 64):
        kept = np.flatnonzero(reach <= bound)
        if kept.size < _LEVELS:
            continue
        first, last = kept[0], kept[-1] + 1
        part = counts[first:last].copy()
        if not part.any():
            continue
        clipped = part.copy()
        clipped[0] += counts[:first].sum()
        clipped[-1] += counts[last:].sum()
        loss = _divergence(clipped, part)
        if loss < best:
            best, chosen = loss, (float(edges[first]), float(edges[last]))
    return chosen


def _divergence(reference: npt.NDArray[np.float64], part: npt.NDArray[np.float64]) -> float:
    """KL divergence of the clipped histogram from its version in 256 levels."""
    group = np.arange(part.size) * _LEVELS // part.size
    full = part > 0
    sums = np.bincount(group, part, _LEVELS)
    filled = np.bincount(group, full.astype(np.float64), _LEVELS)
    levels = np.divide(sums, filled, out=np.zeros(_LEVELS), where=filled > 0)
    approximation = np.where(full, levels[group], 0.0)
    p = reference / reference.sum()
    q = approximation / max(approximation.sum(), 1e-30)
    seen = p > 0
    return float(np.sum(p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-12))))
