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


_new = tuple.__new__
"""`_new(LiveValue, fields)` takes 0.2 µs, `LiveValue(*fields)` 0.5 µs; a search makes millions."""


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
    number: dict[int, int] = {}  # open segment → its number in the new state
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
                value = _new(LiveValue, (backend, segment, leads, readers, on_host))
        if readers:
            open_readers = 0
            for k in range(len(segments)):
                if readers >> k & 1 and future >> segments[k].backend & 1:
                    open_readers |= 1 << k
                    number.setdefault(k, len(number))
            if open_readers != readers:
                value = _new(LiveValue, (backend, segment, leads, open_readers, on_host))
        kept.append(value)
    if unfinished:  # their last ops are one step nearer
        unfinished = tuple(sorted([Unfinished(p.ahead - 1, p.number) for p in unfinished]))
    if not number:
        live = [
            value
            if not (value.leads or value.readers)
            else _new(LiveValue, (value.backend, NO_SEGMENT, 0, 0, value.on_host))
            for value in kept
        ]
        return SearchState(unfinished, (), tuple(live))
    masks: dict[int, int] = {0: 0}  # of the old numbers → of the new numbers

    def renamed(mask: int) -> int:
        found = 0
        for old, new in pairs:
            if mask >> old & 1:
                found |= 1 << new
        masks[mask] = found
        return found

    pairs = list(number.items())
    table = []
    for k in number:
        backend, leads = segments[k]
        table.append(
            _new(OpenSegment, (backend, masks[leads] if leads in masks else renamed(leads)))
        )
    number[NO_SEGMENT] = NO_SEGMENT
    live = []
    for value in kept:
        backend, segment, leads, readers, on_host = value
        new_segment = number[segment]
        new_leads = masks[leads] if leads in masks else renamed(leads)
        new_readers = masks[readers] if readers in masks else renamed(readers)
        if new_segment != segment or new_leads != leads or new_readers != readers:
            value = _new(LiveValue, (backend, new_segment, new_leads, new_readers, on_host))
        live.append(value)
    return SearchState(unfinished, tuple(table), tuple(live))
