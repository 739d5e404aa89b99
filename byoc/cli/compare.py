"""``byoc compare``: are the numbers right?"""

from __future__ import annotations

from collections.abc import Mapping
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
    ParamsFile,
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
    from byoc.bench import Comparison, Engine
    from byoc.segment import Array

__all__ = ["compare"]


HOST = "host"
"""The reference of models that no other engine here reads: byoc without any vendor."""


def compare(
    model: ModelOrArtifact,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="ENGINE|host|OTHER.byoc",
            help="Whose numbers are right (default: ONNX Runtime for ONNX, eager PyTorch for .pt2, "
            "else host: byoc without vendors).",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="MODEL", help="For OUT.byoc: the file it was compiled from."
        ),
    ] = None,
    vendors: Vendors = None,
    options: OptionsFile = None,
    placement: Placement = None,
    policy: PolicyFile = None,
    budget: Budget = None,
    locked: LockedFile = None,
    params: ParamsFile = None,
    inputs: Inputs = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many random inputs.")] = 5,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="Largest relative difference allowed.")
    ] = 1e-4,
    dim: Dims = None,
    json: Json = False,
) -> None:
    """Compare outputs with a reference's: max abs, relative (max|a-b| / max|b|), cosine.

    Exit status 1 when a relative difference is over the tolerance.
    """
    dims = parse_dims(dim)
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
    origin = source if compiled else model
    if origin is None and (against is None or not is_artifact(Path(against))):
        raise typer.BadParameter(
            f"{model} is compiled: give --model MODEL, the file it was compiled from, or "
            f"--against OTHER.byoc"
        )
    arguments: dict[str, Any] | None = None
    if not compiled:
        arguments = placement_options(placement, policy, budget=budget, dims=dims, locked=locked)
        arguments |= {"params": params, **compile_options(vendors, options, locked)}
    files = read_inputs(inputs or ())

    from byoc.bench import byoc_engine
    from byoc.bench import compare as compare_engines

    threads = set_threads(None)
    executable = open_model(model, arguments)
    reference = _reference(against, origin, params, threads, executable)
    with progress(f"running {model}"):
        result = compare_engines(
            byoc_engine(executable),
            reference,
            lambda seed: inputs_for(executable, files, origin, dims, seed),
            range(1 if files else seeds),
        )
    for remark in result.remarks:
        say(f"warning: {remark}")
    good = result.worst <= tolerance
    if json:
        told = {"reference": reference.name, "tolerance": tolerance, "ok": good}
        print_json({**result.to_dict(), **told})
    else:
        _show(result, tolerance, reference.name)
    if not good:
        say(f"{model}: relative difference {result.worst:.3g} is over the tolerance {tolerance:g}")
        raise typer.Exit(1)


def _reference(
    against: str | None, origin: Path | None, params: Path | None, threads: int, executable: Any
) -> Engine:
    """Open what the outputs are compared with."""
    import byoc
    from byoc.bench import EXPORTED, REFERENCES, Engine, byoc_engine, open_engine
    from byoc.frontends import format_of

    if against is not None and is_artifact(Path(against)):
        return byoc_engine(byoc.load(against), against)
    assert origin is not None
    if against is None:
        against = REFERENCES.get(format_of(origin), HOST)
    if against == HOST:
        with progress(f"compiling {origin} for the host"):
            return byoc_engine(byoc.compile(origin, vendors=[], params=params), HOST)
    engine = open_engine(against, origin, threads)
    if origin.suffix != EXPORTED:
        return engine
    names = [port.name for port in executable.outputs]

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(names, engine.run(feeds).values(), strict=True))

    return Engine(engine.name, engine.version, run)


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
