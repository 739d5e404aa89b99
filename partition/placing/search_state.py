"""The states of the search: all that the rest of a scope can notice of the choices so far.

In: a step, and the values, segments and candidates after it. Out: the state, in a normal form:
what no later op can notice is dropped, and segments are numbered as they are met, so that equal
situations are equal states.

    value   a: host      b: in segment 0 of vendor 1      c: inside a candidate that is not finished
            │            │
            └── read by segment 0 (readers: 0b1)

States are named tuples throughout, because each is a key of a dict that millions of look-ups go
through: hashing and comparing them is what the search spends its time on.
"""

from __future__ import annotations

from typing import NamedTuple

from byoc.partition.placing.search_step import SearchStep, Unfinished

__all__ = [
    "INSIDE",
    "NO_SEGMENT",
    "ON_HOST",
    "OUTSIDE",
    "START",
    "LiveValue",
    "OpenSegment",
    "SearchState",
    "state_after",
]

# Backends are numbers in here: the host, then the vendors from 1. Two more stand for no backend.
ON_HOST = 0
UNFINISHED = -1  # made inside a candidate that is not finished yet
UNREAD = -2  # nobody in this scope reads it any more

NO_SEGMENT = -1  # made by no open segment


class LiveValue(NamedTuple):
    """What a later op can notice of a value.

    backend: where it was made. segment: the open segment that made it. leads: mask of the open
    segments that lead to it, its own included. readers: mask of those that read it. on_host:
    whether the host has it.
    """

    backend: int
    segment: int
    leads: int
    readers: int
    on_host: bool


class OpenSegment(NamedTuple):
    """A segment that an op to come may join. leads: mask of the open segments that lead to it."""

    backend: int
    leads: int


class SearchState(NamedTuple):
    """All that the rest of the scope can notice of the choices so far."""

    unfinished: tuple[Unfinished, ...]
    segments: tuple[OpenSegment, ...]
    live: tuple[LiveValue, ...]


INSIDE = LiveValue(UNFINISHED, NO_SEGMENT, 0, 0, False)
_GONE = LiveValue(UNREAD, NO_SEGMENT, 0, 0, False)
OUTSIDE = LiveValue(ON_HOST, NO_SEGMENT, 0, 0, True)
START = SearchState((), (), ())


def state_after(
    step: SearchStep,
    unfinished: tuple[Unfinished, ...],
    segments: tuple[OpenSegment, ...],
    values: list[LiveValue],
) -> SearchState:
    """The state after a step.

    Args:
        step: what is alive afterwards, and who may still read it.
        unfinished: candidates begun and not finished, as seen from this step.
        segments: those open so far, and the one just opened or joined.
        values: what is known of the live, fresh and made values, in the positions of `step.keep`.

    """
    kept: list[LiveValue] = []
    number: dict[int, int] = {}
    for at, future, waiting in step.keep:
        if waiting is not None and waiting.isdisjoint(unfinished):
            kept.append(_GONE)
            continue
        value = values[at]
        backend, segment, leads, readers, on_host = value
        if segment >= 0:
            if future >> backend & 1:
                number.setdefault(segment, len(number))
            else:
                segment = NO_SEGMENT
                value = LiveValue(backend, segment, leads, readers, on_host)
        if readers:
            open_readers = 0
            for k in range(len(segments)):
                if readers >> k & 1 and future >> segments[k].backend & 1:
                    open_readers |= 1 << k
                    number.setdefault(k, len(number))
            value = LiveValue(backend, segment, leads, open_readers, on_host)
        kept.append(value)
    if unfinished:  # their last ops are one step nearer
        unfinished = tuple(sorted([Unfinished(p.ahead - 1, p.number) for p in unfinished]))
    if not number:
        live = [LiveValue(v.backend, NO_SEGMENT, 0, 0, v.on_host) for v in kept]
        return SearchState(unfinished, (), tuple(live))
    memo: dict[int, int] = {0: 0}

    def renamed(mask: int) -> int:
        found = memo.get(mask)
        if found is None:
            found = 0
            for old, new in number.items():
                if mask >> old & 1:
                    found |= 1 << new
            memo[mask] = found
        return found

    table = [OpenSegment(segments[k].backend, renamed(segments[k].leads)) for k in number]
    live = [
        LiveValue(backend, number.get(segment, NO_SEGMENT), renamed(leads), renamed(readers), there)
        for backend, segment, leads, readers, there in kept
    ]
    return SearchState(unfinished, tuple(table), tuple(live))
