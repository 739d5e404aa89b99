"""Build and time several placements, then answer by the fastest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from byoc.build.program import with_report
from byoc.recipes.options import CompileOptions
from byoc.recipes.recipe import Built
from byoc.runners import PlainRunner
from byoc.runtime import Session

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.plugins.discovery import Requested

__all__ = ["compile_measured"]


def compile_measured(model: Model, requests: Sequence[Requested], options: CompileOptions) -> Built:
    """Compile a model by the placement that is measured to be the fastest on this machine.

    Args:
        model: the model as it was imported.
        requests: the vendors that were asked for, in order.
        options: what placements have to obey; `budget` and `dims` say how to measure.

    Returns:
        A runner over one session, and the report with measured seconds.

    Raises:
        CompileError: no placement can be built.
        OptionError: `budget` is no time, or `dims` names a dimension that there is not.
    """
    from byoc.measure.strategy import measured_program

    program, report = measured_program(
        model,
        requests,
        options.constraints,
        budget=options.budget,
        dims=options.dims,
        heal=options.heal,
        isolation=options.isolation,
    )
    if options.told:
        report = replace(report, warnings=(*options.told, *report.warnings))
        program = with_report(program, report)
    return Built(PlainRunner(Session(program)), report)
