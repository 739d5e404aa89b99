"""``byoc compile``: a model in, one .byoc file out."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from byoc.cli.common import (
    Budget,
    Dims,
    Json,
    LockedFile,
    LockFile,
    ModelPath,
    OptionsFile,
    ParamsFile,
    Placement,
    PolicyFile,
    Vendors,
    compile_options,
    parse_dims,
    placement_options,
    print_json,
    progress,
    say,
    warn,
)

__all__ = ["compile_model"]


def compile_model(
    model: ModelPath,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="OUT.byoc", help="File to write.", show_default=False
        ),
    ],
    vendors: Vendors = None,
    options: OptionsFile = None,
    params: ParamsFile = None,
    placement: Placement = None,
    policy: PolicyFile = None,
    budget: Budget = None,
    dim: Dims = None,
    lock: LockFile = None,
    locked: LockedFile = None,
    json: Json = False,
) -> None:
    """Compile MODEL for the host and the vendors, into one file that runs without the compiler."""
    if dim and placement != "measured":
        raise typer.BadParameter("--dim gives sizes to measure with: use --placement measured")
    chosen = placement_options(
        placement, policy, budget=budget, dims=parse_dims(dim), lock=lock, locked=locked
    )
    arguments = compile_options(vendors, options, locked)

    import byoc

    start = time.perf_counter()
    # Measuring shows a bar of its own.
    with nullcontext() if placement == "measured" else progress(f"compiling {model}"):
        executable = byoc.compile(model, params=params, **arguments, **chosen)
    compiled = time.perf_counter()
    with progress(f"saving {output}"):
        executable.save(output)
    saved = time.perf_counter()
    report = executable.report
    if lock is not None:
        say(f"wrote {lock}")
    warn(report)
    size = output.stat().st_size
    if json:
        print_json(
            {
                "output": str(output),
                "bytes": size,
                "placement": report.placement,
                "segments": len(report.segments),
                "coverage": {"flops": report.coverage.flops, "ops": report.coverage.ops},
                "compile_seconds": round(compiled - start, 3),
                "save_seconds": round(saved - compiled, 3),
            }
        )
        return
    coverage = report.coverage
    share = f"{coverage.ops:.1%} of ops"
    if coverage.flops is not None:
        share = f"{coverage.flops:.1%} of FLOPs, {share}"
    count = len(report.segments)
    print(
        f"{output}: {size / 1e6:.1f} MB, {count} segment{'' if count == 1 else 's'}, "
        f"{share} offloaded"
    )
