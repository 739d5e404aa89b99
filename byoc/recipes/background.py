"""Answer at once from host fallbacks, and build the engines meanwhile.

partition ──▶ host remainder + fallbacks of all segments ──▶ session ──▶ answers
threads ──▶ engines ──▶ take over
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from byoc.build.background import Builds
from byoc.build.child_process import check_spawnable
from byoc.build.program import compile_host_first
from byoc.build.readiness import Background
from byoc.recipes.options import CompileOptions
from byoc.recipes.partition import partition
from byoc.recipes.recipe import Built
from byoc.runners import BackgroundRunner
from byoc.runtime import Session

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.plugins.discovery import Requested

__all__ = ["compile_in_background"]


def compile_in_background(
    model: Model, requests: Sequence[Requested], options: CompileOptions
) -> Built:
    """Compile the host's share of a model, and begin to build its engines.

    Args:
        model: the model as it was imported.
        requests: the vendors that were asked for, in order.
        options: how to place, heal and isolate; `background` says how many engines at once.

    Returns:
        A runner that answers from host fallbacks until engines take over, and the report.

    Raises:
        OptionError: vendors are to compile in child processes that could not find one of them.
        ByocError: what partitioning and the host raise, and vendors of segments without a fallback.
    """
    how = options.background or Background()
    parts = partition(model, requests, options)
    if how.processes:
        check_spawnable(requests)
    program, report, late = compile_host_first(
        model, parts, requests, options.heal, options.isolation
    )
    begin = partial(
        Builds,
        segments=parts.segments,
        late=late,
        requests=requests,
        options=how,
        heal=options.heal is not False,
    )
    return Built(BackgroundRunner(Session(program, late=late), begin), report)
