"""``byoc compile``: a model in, one .byoc file out."""

from __future__ import annotations

import time
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from byoc.cli.common import (
    Budget,
    Dims,
    Isolate,
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
    isolated,
    parse_dims,
    placement_options,
    print_json,
    progress,
    say,
    warn,
)
from byoc.cli.inputs.arrays import read_arrays
from byoc.cli.parsing import output_file

__all__ = ["compile_model"]


def compile_model(
    model: ModelPath,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT.byoc",
            help="File to write.",
            show_default=False,
            callback=output_file,
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
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="NAME",
            help="What vendors compute in: f32, bf16, f16, or auto (the fastest within "
            "--max-error, segment by segment). Default: f32.",
            show_default=False,
        ),
    ] = None,
    max_error: Annotated[
        float | None,
        typer.Option(
            "--max-error",
            metavar="E",
            help="Largest relative error of a narrower precision; segments beyond it stay in f32.",
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="X.npz",
            help="Inputs by name, to compare precisions on (default: random).",
            show_default=False,
        ),
    ] = None,
    isolate: Isolate = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            "--shapes",
            metavar="NAME=N,N",
            help="Sizes of a symbolic dimension to put a plan of their own for into the file "
            "(one option per dimension; all combinations).",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Compile MODEL for the host and the vendors, into one file that runs without the compiler."""
    chosen = placement_options(
        placement, policy, budget=budget, dims=parse_dims(dim), lock=lock, locked=locked
    )
    arguments = compile_options(vendors, options, locked)
    sizes = _combinations(shapes)

    import byoc
    from byoc.specialise import Specialise

    start = time.perf_counter()
    # Measuring shows a bar of its own.
    with nullcontext() if placement == "measured" else progress(f"compiling {model}"):
        executable = byoc.compile(
            model,
            params=params,
            **arguments,
            **chosen,
            precision=precision or "f32",
            max_error=max_error,
            calibration=None if calibration is None else [read_arrays(calibration)],
            isolate=isolated(isolate),
            specialise=Specialise(shapes=sizes) if sizes else False,
        )
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
                "shapes": sizes,
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
        f"{share} offloaded" + (f", plans for {len(sizes)} shapes" if sizes else "")
    )


def _combinations(shapes: list[str] | None) -> list[dict[str, int]]:
    """``["batch=1,8", "sequence=16"]`` as all their combinations, in order.

    Raises typer.BadParameter (usage, exit 2).
    """
    found: dict[str, list[int]] = {}
    for text in shapes or []:
        name, _, sizes = text.partition("=")
        parts = sizes.split(",")
        if not name or name in found or not all(p.isdecimal() and int(p) > 0 for p in parts):
            raise typer.BadParameter(
                f"--shapes takes NAME=N,N with N > 0, once per dimension, found {text!r}"
            )
        found[name] = list(dict.fromkeys(map(int, parts)))
    return [dict(zip(found, sizes, strict=True)) for sizes in product(*found.values()) if sizes]
