"""A progress bar on stderr for whoever waits at a terminal until the engines are built."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from byoc.build.readiness import Readiness

__all__ = ["BuildProgress"]


class BuildProgress:
    """A bar of the engines that are built, drawn when there is a terminal to draw it on.

    Used as a context: the bar goes when the context ends.

    Args:
        total: how many segments the model has.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar: Progress | None = None

    def __enter__(self) -> BuildProgress:
        return self

    def show(self, now: Readiness) -> None:
        """Draw how far the engines are.

        Args:
            now: the state of every segment.
        """
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import Progress

        if self._bar is None:
            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.add_task("engines", total=self._total)
            self._bar.start()
        names = ", ".join(s.name for s in now.segments if s.state == "building")
        done = self._total - len(now.building)
        self._bar.update(self._bar.task_ids[0], completed=done, description=f"building {names}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
