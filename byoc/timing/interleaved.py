"""Timing several calls side by side, in turns, so that what disturbs one disturbs all.

In: the calls to compare. Out, round by round: the seconds of each of their turns. A machine's
clock drifts with its temperature and its load, and thread pools keep spinning after a call. So
calls take turns in blocks, and the first turns of a block pay for waking up and do not count::

    call a   x · · ·             x · · ·          x warm-up   · counts
    call b           x · · ·             x · · ·  (a pause between blocks, where asked for)
             └────── round ─────┘└────── round …

It is the one loop behind `byoc.bench` (engines), `byoc.timing.probes` (segments and kernels) and
`byoc.timing.tournament` (whole plans); they differ in when they stop and in what they count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count

__all__ = ["interleaved", "timed_block"]


def timed_block(
    call: Callable[[], object], turns: int = 1, *, warm: int = 1, pause: float = 0.0
) -> list[float]:
    """Time one call, several times in a row.

    Args:
        call: What to time.
        turns: How many turns count.
        warm: How many turns before them do not.
        pause: Seconds to wait first, longer than the thread pools of others spin.

    Returns:
        Seconds of each turn that counts.

    """
    if pause:
        time.sleep(pause)
    for _ in range(warm):
        call()
    found = []
    for _ in range(turns):
        begin = time.perf_counter_ns()
        call()
        found.append((time.perf_counter_ns() - begin) / 1e9)
    return found


def interleaved(
    calls: Sequence[Callable[[], object]],
    turns: Sequence[int],
    *,
    warm: int = 1,
    pause: float = 0.0,
    rotate: bool = False,
    running: list[int] | None = None,
) -> Iterator[dict[int, list[float]]]:
    """Time calls against each other, round after round until the caller stops.

    ::

        for found in interleaved([plan_a, plan_b], [10, 10]):
            ...  # {0: [ten times, in seconds], 1: [ten times]}
            if enough: break

    Args:
        calls: What to time.
        turns: For each call, how many turns of a block count.
        warm: Turns before them that do not.
        pause: Seconds between blocks.
        rotate: Begin each round with another call: who follows a slow one finds cold caches.
        running: Positions of the calls that take part, all by default. Whoever has dropped out is
            taken from this list between rounds; the rounds end when nobody is left.

    Yields:
        Position of a call → seconds of its turns in this round.

    """
    running = list(range(len(calls))) if running is None else running
    for number in count():
        if not running:
            return
        first = number % len(running) if rotate else 0
        yield {
            k: timed_block(calls[k], turns[k], warm=warm, pause=pause)
            for k in (*running[first:], *running[:first])
        }
