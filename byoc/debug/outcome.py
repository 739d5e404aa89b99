"""What became of one try: a piece of a segment, compiled, loaded and run by its vendor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from byoc.segment import Array

__all__ = ["State", "Step", "TrialOutcome"]

State = Literal["done", "error", "crash", "hang"]
Step = Literal["start", "build", "load", "run"]


@dataclass(frozen=True, eq=False)
class TrialOutcome:
    """How a try ended.

    Attributes:
        state: "done"; "error": the vendor refused or raised; "crash": its process died; "hang": it
            was not done in time.
        step: where: starting the process, the vendor's compile, its runtime's init, a call.
        outputs: what it computed; empty unless it is done.
        seconds: of the fastest call; None unless it is done.
        message: what went wrong; empty when it is done.
    """

    state: State
    step: Step
    outputs: tuple[Array, ...] = ()
    seconds: float | None = None
    message: str = ""
