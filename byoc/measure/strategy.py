"""`byoc.compile(…, placement="measured")`: budget, store, progress and inputs around the search.

In: an imported model and what its placement has to obey. Out: the program that was fastest, and
the report of how it was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from byoc.build.program import compile_program
from byoc.build.segments import HealSpec
from byoc.ir.ports import port_types
from byoc.measure.inputs import sample_inputs
from byoc.measure.placement import measure_placement
from byoc.placement.constraints import PlacementConstraints
from byoc.plugins.discovery import Requested
from byoc.report.partition_report import PartitionReport
from byoc.runtime.program import Isolation, Program
from byoc.timing.budget import parse_budget
from byoc.timing.progress import show_progress
from byoc.timing.store import Store

if TYPE_CHECKING:
    from byoc.frontends import Model

__all__ = ["measured_program"]


def measured_program(
    model: Model,
    requests: Sequence[Requested],
    constraints: PlacementConstraints,
    *,
    budget: float | str | None = None,
    dims: Mapping[str, int] | None = None,
    heal: HealSpec = None,
    isolation: Isolation | None = None,
) -> tuple[Program, PartitionReport]:
    """Build and time placements of a model, and keep the fastest.

    A model with symbolic dimensions and no sizes for them is placed by predicted time, which is
    said.

    Args:
        model: the model as it was imported.
        requests: the vendors that were asked for.
        constraints: what every placement has to obey.
        budget: how long measuring may take, in seconds or as text ("60s", "2m"); None: until no
            better plan turns up.
        dims: symbolic dimension → the size to measure with.
        heal: which segments of the winner get a host fallback.
        isolation: vendors that run out of process; None: none.

    Returns:
        The program, and the report with measured seconds.

    Raises:
        OptionError: `budget` is no time, `dims` names no dimension of the model, or no placement
            obeys the constraints.
        CompileError: no placement can be built.
    """
    seconds = parse_budget(budget)
    with show_progress() as progress:
        ports, _ = port_types(model.mod["main"], model.inputs, model.outputs)
        sample = sample_inputs(model, ports, dims)
        if sample.missing:
            name = sample.missing[0]
            progress.say(
                f"model {model.name!r} has the symbolic dimension {name!r}: nothing can be "
                f"timed without its size; placed by predicted time instead. Give dims="
                f"{{{name!r}: N}} to measure"
            )
            vendors = [request.vendor for request in requests]
            parts = constraints.partition(model.mod, vendors, "model")
            notes = (*parts.report.warnings, *progress.notes)
            parts = replace(parts, report=replace(parts.report, warnings=notes))
            return compile_program(model, parts, requests, heal, isolation)
        with Store(say=progress.say) as store:
            return measure_placement(
                model,
                requests,
                sample.arrays,
                constraints,
                store=store,
                progress=progress,
                budget=seconds,
                heal=heal,
                isolation=isolation,
            )
