"""Which of a vendor's ops are slow, where no two ops take the same time to begin with.

What an op may take is told by the vendor's others: each call costs what the quickest one does, and
beyond that the vendor is some factor faster or slower than the host, the median of all, weighted by
the host's seconds. A vendor that is slow throughout has no culprit; an op far beyond that is one.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["FLOOR", "expected_seconds", "is_slow"]

FLOOR = 10e-3
"""Seconds that an op may take longer in any case: processes share a machine."""


def expected_seconds(number: int, seconds: Sequence[float], host: Sequence[float]) -> float:
    """Tell how long an op would take if the vendor did it like its others.

    Args:
        number: of the op in question.
        seconds: of the vendor, one per op.
        host: of the host, likewise.

    Returns:
        Seconds; never fewer than the host takes.
    """
    others = [n for n in range(len(seconds)) if n != number]
    start = min((seconds[n] for n in others), default=0.0)
    ratios = sorted((max(0.0, seconds[n] - start) / host[n], host[n]) for n in others if host[n])
    half = sum(weight for _, weight in ratios) / 2
    factor = 1.0
    for ratio, weight in ratios:
        half -= weight
        if half <= 0:
            factor = max(1.0, ratio)
            break
    return start + factor * host[number]


def is_slow(seconds: float, expected: float, factor: float) -> bool:
    """Tell whether an op takes far longer than expected.

    Args:
        seconds: that it takes.
        expected: see `expected_seconds`.
        factor: how many times as long is too long.
    """
    return seconds > factor * expected + FLOOR
