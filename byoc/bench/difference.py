"""How far apart two outputs are.

In: an array and its reference. Out: the distance in three measures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from byoc.segment import Array

__all__ = ["Difference", "difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Distance of an output from its reference.

    A value that is finite on one side only makes `max_abs` and `relative` infinite.

    Attributes:
        max_abs: ``max|a - b|``.
        relative: ``max|a - b| / max|b|``.
        cosine: Of the flattened arrays.

    """

    max_abs: float
    relative: float
    cosine: float


def difference(found: Array, reference: Array) -> Difference:
    """Compare an array with its reference.

    Args:
        found: Any shape, any dtype of numbers.
        reference: Of the same shape.

    Raises:
        ValueError: The shapes differ.

    """
    if found.shape != reference.shape:
        raise ValueError(f"shapes differ: found {found.shape}, reference {reference.shape}")
    a, b = (x.astype(np.float64).ravel() for x in (found, reference))
    if not a.size or np.array_equal(a, b, equal_nan=True):
        return Difference(0.0, 0.0, 1.0)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if not np.isfinite(a[~same]).all() or not np.isfinite(b[~same]).all():
        return Difference(float("inf"), float("inf"), float("nan"))
    a, b = (np.where(same & ~np.isfinite(b), 0.0, x) for x in (a, b))
    max_abs = float(np.abs(a - b).max())
    scale = float(np.abs(b).max())
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return Difference(
        max_abs,
        max_abs / scale if scale else float("inf"),
        float(a @ b) / norms if norms else 0.0,
    )
