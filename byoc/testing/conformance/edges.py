"""Numbers at the edges of every dtype, and arrays that hold all of them.

In: a dtype. Out: the numbers at which engines that compute in another dtype, saturate, flush or
drop NaN give themselves away: the least and the greatest, neighbours of 2²⁴, 2³¹, 2³² and 2⁵³, NaN,
infinities, zeros of both signs, halves. Denormals of float32 are left out: engines may flush them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from byoc.segment import Array
from byoc.support.dtypes import numpy_dtype

__all__ = ["FLOATS", "WHOLE", "edge_values", "filled", "small_values"]

FLOATS = ("float32", "float16", "float64", "bfloat16")
WHOLE = ("int64", "int32", "int8", "uint8")

_POWERS = (7, 8, 15, 16, 24, 31, 32, 53, 62)


def edge_values(dtype: str) -> Array:
    """Return the numbers at the edges of a dtype, each once.

    Args:
        dtype: As numpy spells it ("float32", "bool").

    """
    kind = numpy_dtype(dtype)
    if dtype == "bool":
        return np.array([False, True])
    if dtype in FLOATS:
        values = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 2.5, -2.5, 3.0, -7.25, 100.0, -1000.0]
        values += [np.nan, np.inf, -np.inf]
        if dtype != "float16":
            values += [1e-30, -1e-30, 1.5e10, -3e9, 2.0**24 + 2, 2.0**31, 2.0**63, 1e38, -3e38]
        else:
            values += [6.2e-5, -6.2e-5, 65504.0, -65504.0, 2048.0]
        if dtype == "float64":
            values += [1 + 1e-12, 2.0**53 + 2, 1e300, -1e300]
        return np.array(values).astype(kind)
    limits = np.iinfo(kind)
    whole = {0, 1, 2, 3, 7, 100, limits.max, limits.max - 1, limits.min, limits.min + 1}
    whole |= {-1, -2, -3, -100, 1_000_003, -1_000_003}
    for power in _POWERS:
        whole |= {sign * (2**power + off) for sign in (1, -1) for off in (-1, 0, 1)}
    return np.array(sorted(v for v in whole if limits.min <= v <= limits.max), dtype=kind)


def small_values(dtype: str) -> Array:
    """Return finite numbers of small magnitude, for what edges would only overflow.

    Args:
        dtype: As numpy spells it.

    """
    if dtype == "bool":
        return edge_values(dtype)
    values = [0, 1, 2, 3, 5, 7, 4, 6] if dtype.startswith("u") else [0, 1, -1, 2, -3, 4, 5, -2]
    array = np.array(values, np.float64)
    return (array + 0.25 if dtype in FLOATS else array).astype(numpy_dtype(dtype))


def filled(
    dtype: str, shape: Sequence[int], seed: int, *, special: Sequence[float] = (), share: float = 0
) -> Array:
    """Return an array of random numbers between -3 and 3, some of them special.

    Args:
        dtype: As numpy spells it.
        shape: Its shape.
        seed: Of the random numbers.
        special: Numbers that replace some.
        share: How many of them, 0 to 1.

    """
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    low = 0 if dtype.startswith("u") else -3
    array = rng.uniform(low, 3, shape)
    if special:
        where = rng.random(shape) < share
        array = np.where(where, rng.choice(np.array(special), size=shape), array)
    if dtype not in FLOATS:
        array = np.trunc(array)
    return np.asarray(array.astype(numpy_dtype(dtype)))
