"""Whole plans against each other, on this machine, with the model's own inputs.

In: plans that can be run. Out: their times, and the winner. Contenders take turns in rounds
(`byoc.timing.interleaved`); who is clearly beaten drops out, so that a slow plan does not eat the
time of the close ones::

    round     1        2        3        4
    host      ██████   ██████   ██████             dropped: far behind
    dnnl      ███      ███      ███      ███
    search 1  ██       ██       ██       ██        each round gives one ratio to the leader
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from statistics import median

import numpy as np

from byoc.segment import Array
from byoc.timing.interleaved import interleaved, timed_block
from byoc.timing.probes import spread
from byoc.timing.store import Timed

__all__ = ["Contender", "race", "winner"]

_PAUSE = 0.03  # seconds; longer than thread pools spin
_BLOCK_SECONDS = 0.03
_MOST_TURNS = 20  # of a block
_ROUNDS_TO_JUDGE = 3  # before anybody drops out
_LEAST_ROUNDS, _MOST_ROUNDS = 5, 25
_BEATEN = 1.25  # times the leader's median: no longer in the running
_CLOSE = 0.015  # no tie is wider than this


@dataclass
class Contender:
    """A plan that can be run, and its times so far.

    Attributes:
        name: For the report: "dnnl only", "search 2".
        run: Takes the model's inputs by name.
        segments: How many it has; on a tie fewer win.
        rounds: Median seconds of each round.
        samples: Seconds of every call that counts.

    """

    name: str
    run: Callable[[Mapping[str, Array]], object]
    segments: int
    rounds: list[float] = field(default_factory=list)
    samples: list[float] = field(default_factory=list)

    @property
    def timed(self) -> Timed:
        """Median and noise over all calls that count."""
        return Timed(median(self.samples), spread(self.samples), len(self.samples))


def race(
    contenders: Sequence[Contender],
    inputs: Mapping[str, Array],
    *,
    seconds: float,
    keep: Collection[int] = (),
    most: int = _MOST_ROUNDS,
    done: Callable[[int], None] = lambda count: None,
) -> None:
    """Time contenders against each other; called again, it adds to what was found.

    Args:
        contenders: Who runs; their `rounds` and `samples` grow.
        inputs: The model's inputs, by name.
        seconds: About how long it may take; there are a few rounds whatever it takes.
        keep: Positions of contenders that never drop out.
        most: Most rounds.
        done: Told 1 after each round, for a progress bar.

    """
    if not contenders:
        return
    calls = [partial(one.run, inputs) for one in contenders]
    # The first call pays for what is set up lazily.
    turns = [_turns_for(timed_block(call)[0]) for call in calls]
    racing = list(range(len(contenders)))
    end = time.perf_counter() + seconds
    rounds = interleaved(calls, turns, pause=_PAUSE, rotate=True, running=racing)
    for number, found in enumerate(islice(rounds, most), 1):
        for k, times in found.items():
            contenders[k].samples.extend(times)
            contenders[k].rounds.append(median(times))
        if number >= _ROUNDS_TO_JUDGE:
            best = _BEATEN * min(median(contenders[k].rounds) for k in racing)
            racing[:] = [k for k in racing if k in keep or min(contenders[k].rounds) <= best]
            if len(racing) == 1 and number >= _LEAST_ROUNDS:
                break
        done(1)
        if number >= _LEAST_ROUNDS and time.perf_counter() > end:
            break


def _turns_for(seconds: float) -> int:
    """How many calls of `seconds` each make a block."""
    return max(1, min(_MOST_TURNS, int(_BLOCK_SECONDS / max(seconds, 1e-6))))


def winner(contenders: Sequence[Contender]) -> Contender:
    """Return the fastest contender; among equals, the one with the fewest segments.

    Two plans are told apart by the median of their ratios round by round, which a drifting clock
    leaves alone, against its own uncertainty.
    """
    best = min(contenders, key=lambda one: median(one.rounds))
    tied = [one for one in contenders if one is best or _tied(one, best)]
    return min(tied, key=lambda one: (one.segments, one is not best))


def _tied(one: Contender, best: Contender) -> bool:
    count = min(len(one.rounds), len(best.rounds))
    ratios = np.array(one.rounds[:count]) / np.array(best.rounds[:count])
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    # The standard error of a median, from the quartiles: 1.25 · (IQR / 1.35) / √n.
    error = 0.93 * (high - low) / np.sqrt(count)
    return bool(middle <= 1 + min(error, _CLOSE))
