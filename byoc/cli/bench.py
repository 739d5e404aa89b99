"""``byoc bench``: how fast is a model, beside the engines people use?

In: a model or a compiled model. Out: latencies of byoc and of other engines on the same inputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byoc.cli.common import (
    Budget,
    Dims,
    Json,
    LockedFile,
    ModelOrArtifact,
    OptionsFile,
    Placement,
    PolicyFile,
    Threads,
    Vendors,
    compile_options,
    names,
    parse_dims,
    placement_options,
    print_json,
    print_table,
    progress,
    say,
    set_threads,
)
from byoc.cli.inputs import (
    Inputs,
    inputs_for,
    is_artifact,
    open_model,
    read_inputs,
    refuse_options,
)

if TYPE_CHECKING:
    from byoc.bench import BenchResult

__all__ = ["bench"]


def bench(
    model: ModelOrArtifact,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="A,B",
            help="Engines to measure beside: onnxruntime, openvino, torch.",
        ),
    ] = "",
    vendors: Vendors = None,
    options: OptionsFile = None,
    placement: Placement = None,
    policy: PolicyFile = None,
    budget: Budget = None,
    locked: LockedFile = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="MODEL", help="For OUT.byoc: the ONNX file for the other engines."
        ),
    ] = None,
    inputs: Inputs = None,
    threads: Threads = None,
    runs: Annotated[
        int | None,
        typer.Option("--runs", min=1, help="Calls that count, per engine (default: 5 s worth)."),
    ] = None,
    dim: Dims = None,
    json: Json = False,
) -> None:
    """Measure latency, in blocks that alternate with other engines on the same inputs.

    Medians in milliseconds; a ratio below 1 means that byoc is faster.
    """
    dims = parse_dims(dim)
    others = names(against)
    compiled = is_artifact(model)
    placed_by = {
        "--vendors": vendors,
        "--options": options,
        "--placement": placement,
        "--policy": policy,
        "--budget": budget,
        "--locked": locked,
    }
    if compiled:
        refuse_options(model, placed_by)
    if others and compiled and reference is None:
        raise typer.BadParameter(f"--against needs the model of {model}: give --model MODEL.onnx")
    arguments: dict[str, Any] | None = None
    if not compiled:
        arguments = placement_options(placement, policy, budget=budget, dims=dims, locked=locked)
        arguments |= compile_options(vendors, options, locked)

    from byoc.bench import byoc_engine, measure, open_engine

    files = read_inputs(inputs or ())
    count = set_threads(threads)
    source = reference if compiled else model
    engines = [open_engine(name, source, count) for name in others if source]
    executable = open_model(model, arguments)
    feeds = inputs_for(executable, files, source, dims)
    with progress(f"measuring {model} on {count} threads"):
        result = measure(
            [byoc_engine(executable), *engines],
            feeds,
            model=str(model),
            threads=count,
            runs=runs,
        )
    for remark in result.remarks:
        say(f"warning: {remark}")
    if json:
        print_json(result.to_dict())
    else:
        _show(result)


def _show(result: BenchResult) -> None:
    from rich.table import Table

    table = Table("engine", "version", box=None, pad_edge=False)
    for heading in ("median", "p10", "p90", "min", "runs", "byoc / it"):
        table.add_column(heading, justify="right")
    ratios = result.ratios
    for timing in result.timings:
        ratio = ratios.get(timing.engine)
        table.add_row(
            timing.engine,
            timing.version,
            *(f"{t:.3f}" for t in (timing.median, timing.percentile(10), timing.percentile(90))),
            f"{min(timing.samples):.3f}",
            str(len(timing.samples)),
            f"{ratio:.2f}" if ratio else "",
        )
    print(f"{result.model}, {result.threads} threads, milliseconds")
    print_table(table)
