"""One user of TVM's compiler at a time: it keeps its block builders in one list for all threads."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["COMPILING", "one_at_a_time"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

COMPILING = threading.RLock()
"""Held by whoever uses TVM's compiler."""


def one_at_a_time(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Make calls of a function hold `COMPILING`, so that they never overlap.

    Args:
        function: what uses TVM's compiler; it may call other such functions.

    Returns:
        The function, with the same signature.
    """

    @functools.wraps(function)
    def alone(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with COMPILING:
            return function(*args, **kwargs)

    return alone
