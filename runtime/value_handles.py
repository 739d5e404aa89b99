"""Handles: how values that are no tensors travel through a plan of tensors.

In: a value that numpy has no tensor for (strings, a sequence, an optional value, a tensor whose
shape only the run tells). Out: its handle, an int64 scalar that the plan can move. The value itself
lies in a table of the process::

    ["a", "b"] ─handle_of─▶ 7 ──▶ segment of a Python-hosted vendor ──▶ 8 ─take_values─▶ result
                    table[7] ◀─value_of─┘             └─put_value─▶ table[8]

An input's entry lives as long as the array that holds its handle, a result's entry until it is
taken; of results that nobody takes (the request failed, or was cancelled) the oldest go first.
"""

from __future__ import annotations

import itertools
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from byoc.errors import ExecutionError
from byoc.segment import Array

__all__ = ["DTYPE", "MAX_UNTAKEN", "handle_of", "put_value", "take_values", "value_of"]

DTYPE = "int64"
"""Dtype of a handle, a scalar tensor."""

MAX_UNTAKEN = 1 << 14
"""Results kept for requests that never take them; far more than can be in flight."""

_lock = threading.Lock()
_handles = itertools.count(1)
_inputs: dict[int, Any] = {}
_results: OrderedDict[int, Any] = OrderedDict()


def handle_of(value: Any) -> Array:
    """Return a new handle of an input value, an int64 scalar to be given to a session.

    The value is kept for as long as the returned array lives.
    """
    array = np.array(next(_handles), DTYPE)
    handle = int(array)
    _inputs[handle] = value
    weakref.finalize(array, _inputs.pop, handle, None).atexit = False
    return array


def value_of(handle: Array) -> Any:
    """Return the value that a handle stands for.

    Args:
        handle: int64 scalar, as a segment reads it.

    Raises:
        ExecutionError: The value is not in this process (the vendor runs out of process).
    """
    number = int(handle)
    with _lock:
        for table in (_inputs, _results):
            if number in table:
                return table[number]
    raise ExecutionError(
        f"value {number} is not in this process: a vendor whose segments read or make strings, "
        f"sequences or optional values must run in the process that holds them, not isolated"
    )


def put_value(output: Array, value: Any) -> None:
    """Keep a result and write its handle to a segment's output.

    Args:
        output: int64 scalar that the segment writes.
        value: The result; kept until `take_values` asks for it.
    """
    handle = next(_handles)
    with _lock:
        _results[handle] = value
        while len(_results) > MAX_UNTAKEN:
            _results.popitem(last=False)
    output[...] = handle


def take_values(handles: Sequence[Array]) -> list[Any]:
    """Return the values of a request's results and forget them.

    Args:
        handles: int64 scalars that `put_value` wrote.

    Raises:
        ExecutionError: One of them is not in this process.
    """
    values = [value_of(handle) for handle in handles]
    with _lock:
        for handle in handles:
            _results.pop(int(handle), None)
    return values


_OLD_NAMES = {
    "MAX_UNCLAIMED": "MAX_UNTAKEN",
    "claim": "take_values",
    "give": "put_value",
    "hold": "handle_of",
    "look_up": "value_of",
}
"""Names that vendors outside of byoc may still use; remove them with 1.0."""


def __getattr__(name: str) -> Any:
    """Return what an old name stands for, with a DeprecationWarning."""
    new = _OLD_NAMES.get(name)
    if new is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{__name__}.{name} is called {new} now", DeprecationWarning, stacklevel=2)
    return globals()[new]
