"""How long idle OpenMP threads spin: briefly, so that byoc keeps its speed on a busy machine.

In: the environment. Out: the environment with `GOMP_SPINCOUNT` set, where nobody has chosen. At the
end of a parallel region libgomp's threads wait for the next one. By default they spin for about
3 ms first; where other programs want the cores as well, the thread that everybody waits for is off
its core meanwhile, and the ones that spin keep it off::

    core 0   work │ spin spin spin spin spin spin … │      others get the core only when the
    core 1   ──── another program ──── │ work │ …          system takes it away from the spinning
                                                           thread, some milliseconds later

libgomp reads the environment once, when it is loaded, so this happens when byoc is imported: before
TVM, which imports PyTorch where it is installed, whose libgomp serves the whole process.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

__all__ = ["SPINS", "spin_briefly"]

SPINS = "50000"
"""Rounds to spin, about half a millisecond: a sixth of libgomp's default.

Measured on two quiet cores against libgomp's 300 000 rounds: 50 000 keep the speed of small
networks (1.01), 10 000 are within noise of that (0.99 to 1.02), 1 000 cost 6 %.
"""

_CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def spin_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let the OpenMP threads of this process, and of those that it starts, spin only briefly.

    Does nothing where one of `GOMP_SPINCOUNT` and `OMP_WAIT_POLICY` is set, and cannot change
    a libgomp that is loaded already.

    Args:
        environment: What is looked at and changed.
    """
    if not any(name in environment for name in _CHOICES):
        environment["GOMP_SPINCOUNT"] = SPINS
