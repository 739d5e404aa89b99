"""`byoc.compile(…, placement="measured")`: store, progress, inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from byoc.build.program import HealSpec, build_program, compile_segment
from byoc.executable import REPORT_MEMBER, Executable
from byoc.kit.foreign_op import check_placed
from byoc.measure.inputs import model_inputs, symbolic_dims
from byoc.measure.placement import Limits, measure_placement
from byoc.partition import PartitionReport, partition_module
from byoc.plugins.discovery import Requested
from byoc.runtime.program import Isolation, Program
from byoc.timing.budget import parse_budget
from byoc.timing.progress import Progress, show_progress
from byoc.timing.store import Store

if TYPE_CHECKING:
    from byoc.frontends import Model
    from byoc.partition.placing import Costs
    from byoc.partition.placing.policy import Policy

__all__ = ["compile_measured"]


def compile_measured(
    given: Any,
    model: Model,
    requests: Sequence[Requested],
    *,
    budget: float | str | None,
    dims: Mapping[str, int] | None,
    policy: Policy | None,
    costs: Costs | None,
    min_segment_ops: int | None,
    min_segment_flops: float | None,
    heal: HealSpec = None,
    isolation: Isolation | None = None,
) -> Executable:
    """Measure, and ship the fastest. given: the model as the user has it; the rest as
    `byoc.compile`. A model with symbolic dimensions and no sizes for them is placed by `model`,
    which is said.
    """
    seconds = parse_budget(budget)
    limits = Limits(min_segment_ops, min_segment_flops)
    with show_progress() as progress:
        missing = [d for d in symbolic_dims(model) if d not in (dims or {})]
        if missing:
            progress.say(
                f"model {model.name!r} has the symbolic dimension {missing[0]!r}: nothing can be "
                f"timed without its size; placed by predicted time instead. Give dims="
                f"{{{missing[0]!r}: N}} to measure"
            )
            program, report = _predicted(model, requests, policy, costs, limits, progress, heal)
            return _executable(program, report, isolation)
        inputs = model_inputs(given, model, dims)
        with Store(say=progress.say) as store:
            program, report = measure_placement(
                model,
                requests,
                inputs,
                store=store,
                progress=progress,
                budget=seconds,
                policy=policy,
                costs=costs,
                limits=limits,
                heal=heal,
            )
    return _executable(program, report, isolation)


def _predicted(
    model: Model,
    requests: Sequence[Requested],
    policy: Policy | None,
    costs: Costs | None,
    limits: Limits,
    progress: Progress,
    heal: HealSpec,
) -> tuple[Program, PartitionReport]:
    vendors = [request.vendor for request in requests]
    parts = partition_module(
        model.mod,
        vendors,
        placement="model",
        policy=policy,
        costs=costs,
        **limits.arguments(),  # type: ignore[arg-type]
    )
    check_placed(parts.mod, model.name, [vendor.name for vendor in vendors])
    artifacts = tuple(compile_segment(segment, requests) for segment in parts.segments)
    report = replace(parts.report, warnings=(*parts.report.warnings, *progress.notes))
    return build_program(model, parts, requests, artifacts, heal), report


def _executable(
    program: Program, report: PartitionReport, isolation: Isolation | None
) -> Executable:
    extras = {**program.extras, REPORT_MEMBER: report.to_json(indent=None).encode()}
    return Executable(replace(program, extras=extras, isolation=isolation), report)
