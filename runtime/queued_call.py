"""A call that a Python-hosted vendor ends later: the `byoc.vendor.Done` that its submit is given.

In: a control, the vendor's end of a call in C++ (runtime/src/core/pending_call.h). Out: an object
that says the same in Python. When the last reference to it goes before the call has ended, the call
fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import tvm_ffi

from byoc.errors import VendorError

__all__ = ["QueuedCall"]

_LOG = logging.getLogger("byoc.runtime")
_DONE, _FAIL, _CANCELLED, _ON_CANCEL, _DUE = range(5)  # details::CallControl of byoc/vendor.h
_NEVER = 2**63 - 1


class QueuedCall:
    """Ends a call and hears of its cancellation; see `byoc.vendor.Done`.

    Args:
        control: The vendor's end of the call, a function of tvm-ffi.
        who: The vendor and its segment, for messages.
    """

    __slots__ = ("_control", "_who")

    def __init__(self, control: Any, who: str) -> None:
        self._control = control
        self._who = who

    def __call__(self, error: BaseException | str | None = None) -> None:
        """End the call.

        Args:
            error: What went wrong; None: all outputs are written.

        Raises:
            VendorError: It had ended before.
        """
        if error is None:
            first = self._control(_DONE)
        else:
            text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
            first = self._control(_FAIL, text)
        if not first:
            raise VendorError(
                f"vendor author: done was called twice for one call of {self._who}; each call has "
                f"a done of its own, to be called once"
            )

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return bool(self._control(_CANCELLED))

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the answer is of no use any more; None where there is no deadline."""
        due = int(self._control(_DUE))
        return None if due == _NEVER else due / 1e9 - time.monotonic()

    def on_cancel(self, tell: Callable[[], object]) -> None:
        """Have ``tell()`` called when the call is cancelled; what it raises is logged."""
        who = self._who

        def guarded() -> None:
            try:
                tell()
            except Exception:
                _LOG.exception("vendor %s could not be told that a call is cancelled", who)

        self._control(_ON_CANCEL, tvm_ffi.convert(guarded))
