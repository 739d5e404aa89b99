"""``byoc compare``: are the numbers right?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from byoc.cli.bench import model_inputs
from byoc.cli.common import (
    Budget,
    Dims,
    Json,
    LockedFile,
    OnnxPath,
    OptionsFile,
    Placement,
    PolicyFile,
    Vendors,
    compile_options,
    parse_dims,
    placement_options,
    print_json,
    print_table,
    progress,
    say,
    set_threads,
    warn,
)

if TYPE_CHECKING:
    from byoc.bench import Comparison

__all__ = ["compare"]


def compare(
    model: OnnxPath,
    vendors: Vendors = None,
    options: OptionsFile = None,
    placement: Placement = None,
    policy: PolicyFile = None,
    budget: Budget = None,
    locked: LockedFile = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many random inputs.")] = 5,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="Largest relative difference allowed.")
    ] = 1e-4,
    dim: Dims = None,
    json: Json = False,
) -> None:
    """Compare outputs with ONNX Runtime's: max abs, relative (max|a-b| / max|b|), cosine.

    Exit status 1 when a relative difference is over the tolerance.
    """
    dims = parse_dims(dim)
    chosen = placement_options(placement, policy, budget=budget, dims=dims, locked=locked)
    arguments = compile_options(vendors, options, locked)

    import byoc
    from byoc.bench import REFERENCE, byoc_engine, open_engine
    from byoc.bench import compare as compare_engines

    threads = set_threads(None)
    reference = open_engine(REFERENCE, model, threads)
    with progress(f"compiling {model}"):
        executable = byoc.compile(model, **arguments, **chosen)
    warn(executable.report)
    with progress(f"running {seeds} seeds"):
        result = compare_engines(
            byoc_engine(executable),
            reference,
            lambda seed: model_inputs(model, executable, dims, seed),
            range(seeds),
        )
    for remark in result.remarks:
        say(f"warning: {remark}")
    good = result.worst <= tolerance
    if json:
        print_json({**result.to_dict(), "tolerance": tolerance, "ok": good})
    else:
        _show(result, tolerance, reference.name)
    if not good:
        say(f"{model}: relative difference {result.worst:.3g} is over the tolerance {tolerance:g}")
        raise typer.Exit(1)


def _show(result: Comparison, tolerance: float, reference: str) -> None:
    from rich.table import Table

    table = Table("seed", "output", box=None, pad_edge=False)
    for heading in ("max abs", "relative", "cosine", ""):
        table.add_column(heading, justify="right")
    for seed, name, d in result.rows:
        verdict = "" if d.relative <= tolerance else "over"
        numbers = (f"{d.max_abs:.3g}", f"{d.relative:.3g}", f"{d.cosine:.7f}")
        table.add_row(str(seed), name, *numbers, verdict)
    print_table(table)
    print(f"worst relative difference to {reference}: {result.worst:.3g}, tolerance {tolerance:g}")
