"""``byoc compile``: a model in, one .byoc file out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from byoc.cli.common import (
    Json,
    ModelPath,
    OptionsFile,
    Vendors,
    compile_options,
    print_json,
    progress,
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
    json: Json = False,
) -> None:
    """Compile MODEL for the host and the vendors, into one file that runs without the compiler."""
    arguments = compile_options(vendors, options)

    import byoc

    start = time.perf_counter()
    with progress(f"compiling {model}"):
        executable = byoc.compile(model, **arguments)
    compiled = time.perf_counter()
    with progress(f"saving {output}"):
        executable.save(output)
    saved = time.perf_counter()
    report = executable.report
    size = output.stat().st_size
    if json:
        print_json(
            {
                "output": str(output),
                "bytes": size,
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
