"""`Recipe`: the one signature of every way of compiling, and `Built`, what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from byoc.recipes.options import CompileOptions
from byoc.runners import Runner

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.plugins.discovery import Requested
    from byoc.report.partition_report import PartitionReport

__all__ = ["Built", "Recipe"]


class Built(NamedTuple):
    """The parts of an executable.

    Attributes:
        runner: answers its calls.
        report: where every op went and why.
    """

    runner: Runner
    report: PartitionReport


Recipe = Callable[["Model", "Sequence[Requested]", CompileOptions], Built]
"""From an imported model, the vendors and the options to the parts of an executable."""
