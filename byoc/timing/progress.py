"""What measuring says while it works: a bar on terminals, one line for what matters.

In: stages, steps and remarks. Out: text on stderr, and the remarks kept for the report.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Progress", "note_said", "show_progress", "was_said"]

_SAID: set[str] = set()


def note_said(line: str) -> None:
    """Remember that a line was shown when it came up, so that it is not shown with a report."""
    _SAID.add(line)


def was_said(line: str) -> bool:
    """Return whether this process has shown a line when it came up: reports hold it too."""
    return line in _SAID


class Progress:
    """Says how far the work has come; without a terminal it counts in silence."""

    def __init__(self, bar: Any = None) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("measuring", total=None)
        self.notes: list[str] = []

    def stage(self, text: str, total: int) -> None:
        """Begin a new stage.

        Args:
            text: What is done in it.
            total: How many steps it has.

        """
        if self._bar is not None:
            self._bar.update(self._task, description=text, completed=0, total=total)

    def step(self, count: int = 1) -> None:
        """Note that `count` steps of the stage are done."""
        if self._bar is not None:
            self._bar.advance(self._task, count)

    def say(self, line: str) -> None:
        """Write one line on stderr and keep it for the report."""
        self.notes.append(line)
        note_said(line)
        text = f"byoc: {line}"
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr)


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Show a bar on stderr while the block runs, when stderr is a terminal.

    Yields:
        What the work reports to.

    """
    if not sys.stderr.isatty():
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Progress(bar)
