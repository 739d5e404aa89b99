"""Compile each segment in the precision that stays within a bound of error, then answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from byoc.plugins.precision import NARROW, in_precision
from byoc.recipes.options import AUTO, CompileOptions
from byoc.recipes.partition import partition
from byoc.recipes.recipe import Built
from byoc.runners import PlainRunner
from byoc.runtime import Session

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.plugins.discovery import Requested

__all__ = ["compile_compared"]


def compile_compared(model: Model, requests: Sequence[Requested], options: CompileOptions) -> Built:
    """Compile a model in precisions that are compared, segment by segment, with float32.

    Args:
        model: the model as it was imported.
        requests: the vendors that were asked for, in order, computing in float32.
        options: `precision`, `max_error` and `calibration` say what to compare.

    Returns:
        A runner over one session, and the report with the segments that stay in float32.

    Raises:
        OptionError: sizes to compare at are missing.
        InputError: an input to compare on does not fit.
        ByocError: what partitioning, vendors and the host raise.
    """
    from byoc.measure.inputs import samples_of
    from byoc.measure.precision import DEFAULT_ERROR, compare_precisions

    fastest = options.precision == AUTO
    words = NARROW if fastest else (options.precision,)
    program, report = compare_precisions(
        model,
        partition(model, requests, options),
        requests,
        {word: in_precision(requests, word)[0] for word in words},
        samples_of(model, options.calibration),
        max_error=DEFAULT_ERROR if options.max_error is None else options.max_error,
        fastest=fastest,
        heal=options.heal,
        isolation=options.isolation,
    )
    return Built(PlainRunner(Session(program)), report)
