"""How far a vendor is from the host, and how far rounding may take it.

Two right programs round differently: sums run in another order, products are fused with them. So a
gap is measured against the size of the values, and compared with what the coarsest type that a
piece computes in can tell apart. Whole numbers that floats were rounded to may differ by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from byoc.bench.difference import difference
from byoc.segment import Array, Segment

__all__ = ["Gap", "gap_of", "tolerance_of", "worst"]

_TOLERANCES = {
    "float64": 1e-9,
    "float32": 1e-4,
    "float16": 1e-2,
    "bfloat16": 6e-2,
    "int8": 5e-2,
    "uint8": 5e-2,
    "int4": 0.3,
    "uint4": 0.3,
}
"""Type → what it can tell apart, relative to the largest value, with room for sums."""

_CANCELLED = 1e-3
"""Values this small beside the inputs are what a difference left over: rounding shows in them."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Distance of a vendor's results from the host's.

    Attributes:
        relative: the largest difference, as a share of the largest value; infinite where one of
            the two is no number.
        max_abs: the largest difference.
        not_finite: the vendor gives NaN or infinity where the host gives a number.
    """

    relative: float = 0.0
    max_abs: float = 0.0
    not_finite: bool = False


def gap_of(
    found: Sequence[Array], expected: Sequence[Array], inputs: Iterable[Array], *, rounded: bool
) -> Gap:
    """Measure how far results are from what is expected.

    Args:
        found: the vendor's.
        expected: the host's, of the same shapes.
        inputs: what both were computed from.
        rounded: whole numbers among the results may have been floats before.

    Returns:
        The largest gap of all results.
    """
    sizes = [_largest(array) for array in inputs if _is_float(array)]
    floor = _CANCELLED * max(sizes, default=0.0)
    return worst(_gap(f, e, floor, rounded) for f, e in zip(found, expected, strict=True))


def worst(gaps: Iterable[Gap]) -> Gap:
    """Give the largest of some gaps; none is no gap."""
    return max(gaps, key=lambda gap: (gap.not_finite, gap.relative), default=Gap())


def tolerance_of(segment: Segment) -> float:
    """Give the relative gap that rounding explains.

    Args:
        segment: what is computed.

    Returns:
        That of the coarsest type among its values; 0 where all are whole numbers of many bits.
    """
    used = {segment.type(v).dtype for node in segment.nodes for v in (*node.inputs, *node.outputs)}
    floats = any("float" in dtype for dtype in used)
    return max((_of(dtype) for dtype in used), default=0.0) if floats else 0.0


def _of(dtype: str) -> float:
    return 0.3 if dtype.startswith("float8") else _TOLERANCES.get(dtype, 0.0)


def _gap(found: Array, expected: Array, floor: float, rounded: bool) -> Gap:
    if found.shape != expected.shape:
        return Gap(float("inf"), float("inf"))
    apart = difference(found, expected)
    if not np.isfinite(apart.max_abs):
        with np.errstate(invalid="ignore"):
            wrong = ~np.isfinite(_plain(found)) & np.isfinite(_plain(expected))
        return Gap(float("inf"), float("inf"), bool(wrong.any()))
    one = 1.0 if rounded and expected.dtype.kind in "iu" else 0.0
    distance = max(0.0, apart.max_abs - one)
    size = max(_largest(expected), floor)
    if distance == 0.0:
        return Gap(0.0, apart.max_abs)
    return Gap(distance / size if size else float("inf"), apart.max_abs)


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f" or (array.dtype.kind == "V" and array.dtype.isbuiltin == 2)


def _plain(array: Array) -> Array:
    return array.astype(np.float64)


def _largest(array: Array) -> float:
    """The largest finite value, without its sign."""
    if not array.size:
        return 0.0
    values = np.abs(_plain(array))
    return float(np.max(values, where=np.isfinite(values), initial=0.0))
