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
    warn,
)
from byoc.errors import OptionError

if TYPE_CHECKING:
    from byoc.bench import BenchResult
    from byoc.segment import Array, TensorType

__all__ = ["bench", "is_artifact", "model_inputs"]


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
    given = [name for name, value in placed_by.items() if value is not None]
    if compiled and given:
        raise typer.BadParameter(f"{model} is compiled: {', '.join(given)} cannot change it")
    if others and compiled and reference is None:
        raise typer.BadParameter(f"--against needs the model of {model}: give --model MODEL.onnx")
    arguments: dict[str, Any] = {}
    if not compiled:
        arguments = placement_options(placement, policy, budget=budget, dims=dims, locked=locked)
        arguments |= compile_options(vendors, options, locked)

    import byoc
    from byoc.bench import byoc_engine, measure, open_engine

    count = set_threads(threads)
    source = reference if compiled else model
    engines = [open_engine(name, source, count) for name in others if source]
    with progress(f"{'loading' if compiled else 'compiling'} {model}"):
        executable = byoc.load(model) if compiled else byoc.compile(model, **arguments)
    if not compiled:
        warn(executable.report)
    inputs = model_inputs(source, executable, dims)
    with progress(f"measuring {model} on {count} threads"):
        result = measure(
            [byoc_engine(executable), *engines],
            inputs,
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


def is_artifact(path: Path) -> bool:
    """Return whether a file is a compiled model, by its name or else by its first bytes."""
    if path.suffix in (".byoc", ".onnx"):
        return path.suffix == ".byoc"
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False  # reading the model will say so


def model_inputs(
    source: Path | None, executable: Any, dims: dict[str, int], seed: int = 0
) -> dict[str, Array]:
    """Draw random inputs for a model.

    Args:
        source: The model file, None for a compiled model alone. An ONNX file tells how large the
            tables are that token ids look up; of other models ids are 0 or 1.
        executable: The compiled model.
        dims: Sizes of symbolic dimensions.
        seed: Of the generator.

    Raises:
        OptionError: `dims` names a dimension that no input has.
        InputError: A symbolic dimension has no size.
    """
    from byoc.bench import random_inputs

    known = None if source is None else _onnx_inputs(source)
    types, limits = known or ({port.name: port.type for port in executable.inputs}, {})
    legal = {d for type_ in types.values() for d in type_.shape if isinstance(d, str)}
    for name in dims:
        if name not in legal:
            from byoc.errors import choices

            raise OptionError(f"--dim: no symbolic dimension {name!r}: {choices(name, legal)}")
    return random_inputs(types, seed, dims=dims, limits=limits)


def _onnx_inputs(path: Path) -> tuple[dict[str, TensorType], dict[str, int]] | None:
    """Types of the inputs of an ONNX file and limits of its token ids; None for other formats."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from byoc.bench import onnx_inputs

    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError:
        return None
    return onnx_inputs(model) if model.graph.node else None


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
