"""Values that are no tensors, on their way through a plan of tensors.

A tensor of strings, a sequence, an optional value, or a tensor whose shape only the run tells, lies
in a table of the process. What the plan moves is its handle, an int64 scalar::

    ["a", "b"] ─hold─▶ 7 ──▶ segment of a Python-hosted vendor ──▶ 8 ─claim─▶ result
                  table[7] ◀─look_up─┘                    └─give─▶ table[8]

An input's entry lives as long as the array that holds its handle, a result's entry until it is
claimed; of results that nobody claims (the request failed, or was cancelled) the oldest go first.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from byoc.errors import ExecutionError
from byoc.segment import Array

__all__ = ["DTYPE", "MAX_UNCLAIMED", "claim", "give", "hold", "look_up"]

DTYPE = "int64"
"""Handles travel as scalars of this type."""

MAX_UNCLAIMED = 1 << 14
"""Results kept for requests that never come for them; far more than can be in flight."""

_lock = threading.Lock()
_handles = itertools.count(1)
_held: dict[int, Any] = {}
_given: OrderedDict[int, Any] = OrderedDict()


def hold(value: Any) -> Array:
    """The handle of an input, to be given to a session."""
    array = np.array(next(_handles), DTYPE)
    handle = int(array)
    _held[handle] = value
    weakref.finalize(array, _held.pop, handle, None).atexit = False
    return array


def look_up(handle: Array) -> Any:
    """The value of a handle. Raises ExecutionError for a handle of another process."""
    number = int(handle)
    with _lock:
        for table in (_held, _given):
            if number in table:
                return table[number]
    raise ExecutionError(
        f"value {number} is not in this process: a vendor whose segments read or make strings, "
        f"sequences or optional values must run in the process that holds them, not isolated"
    )


def give(place: Array, value: Any) -> None:
    """Write the handle of a result to `place`, the int64 scalar of a segment's output."""
    handle = next(_handles)
    with _lock:
        _given[handle] = value
        while len(_given) > MAX_UNCLAIMED:
            _given.popitem(last=False)
    place[...] = handle


def claim(handles: Sequence[Array]) -> list[Any]:
    """The values of a request's results; they leave the table."""
    values = [look_up(handle) for handle in handles]
    with _lock:
        for handle in handles:
            _given.pop(int(handle), None)
    return values
