"""Compile everything, then answer: partition, build, one session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from byoc.build.program import compile_program
from byoc.recipes.options import CompileOptions
from byoc.recipes.partition import partition
from byoc.recipes.recipe import Built
from byoc.runners import PlainRunner
from byoc.runtime import Session

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.plugins.discovery import Requested

__all__ = ["compile_plain"]


def compile_plain(model: Model, requests: Sequence[Requested], options: CompileOptions) -> Built:
    """Compile a model whole before its first call.

    Args:
        model: the model as it was imported.
        requests: the vendors that were asked for, in order.
        options: how to place, heal and isolate.

    Returns:
        A runner over one session, and the report.

    Raises:
        ByocError: what partitioning, vendors and the host raise.
    """
    parts = partition(model, requests, options)
    program, report = compile_program(model, parts, requests, options.heal, options.isolation)
    return Built(PlainRunner(Session(program)), report)
