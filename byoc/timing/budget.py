"""Time that measuring may take: ``60``, ``"60s"``, ``"2m"``, or None for as long as it needs.

In: what users write. Out: seconds, and a clock that counts them down.
"""

from __future__ import annotations

import re
import time

from byoc.errors import OptionError

__all__ = ["Budget", "parse_budget"]

_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|sec|m|min|h)?\s*")
_SECONDS = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_budget(budget: str | float | None) -> float | None:
    """Read a length of time as users write it.

    Args:
        budget: Seconds, or a number with a unit ("60s", "2m", "1.5h"), or None for no limit.

    Returns:
        Seconds; None for no limit.

    Raises:
        OptionError: It is no time; the message lists the units.

    """
    if budget is None:
        return None
    if isinstance(budget, str):
        found = _FORM.fullmatch(budget)
        if found is not None:
            return float(found[1]) * _SECONDS[found[2] or "s"]
    elif not isinstance(budget, bool) and isinstance(budget, (int, float)) and budget >= 0:
        return float(budget)
    raise OptionError(
        f"budget {budget!r} is no time; write seconds (60), or a number with a unit "
        f"('60s', '2m'; units: {', '.join(_SECONDS)})"
    )


class Budget:
    """A clock that runs from its making, against a number of seconds (None: no limit)."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._start = time.perf_counter()

    @property
    def used(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self._start

    def left(self, share: float = 1.0) -> float:
        """Return the seconds until a share of the budget is used, never below 0.

        Args:
            share: 0.5 for the time until half of it is gone.

        Returns:
            Infinity where there is no limit.

        """
        if self.seconds is None:
            return float("inf")
        return max(0.0, self.seconds * share - self.used)
