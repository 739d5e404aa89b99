"""``byoc debug``: which op does a vendor not do right?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byoc.cli.common import (
    MODEL_HELP,
    Dims,
    Json,
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
    show,
)
from byoc.cli.inputs import Inputs, given_inputs, read_inputs
from byoc.cli.parsing import output_file

if TYPE_CHECKING:
    from byoc.debug import Diagnosis
    from byoc.debug.diagnosis import Row
    from byoc.debug.replaying import Replay
    from byoc.segment import Array, PortType

__all__ = ["debug"]

_SHOWN = 10
"""Rows of ops, unless all are asked for: those with the largest gaps."""


def debug(
    model: Annotated[
        Path | None, typer.Argument(metavar="[MODEL]", help=MODEL_HELP, show_default=False)
    ] = None,
    vendors: Vendors = None,
    options: OptionsFile = None,
    placement: Placement = None,
    policy: PolicyFile = None,
    inputs: Inputs = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of random inputs.")] = 0,
    dim: Dims = None,
    limit: Annotated[
        float, typer.Option("--limit", min=0.01, help="Seconds a call may take.")
    ] = 30.0,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            min=0.0,
            help="Largest relative gap allowed (default: what rounding explains, by dtype).",
            show_default=False,
        ),
    ] = None,
    slow: Annotated[
        float,
        typer.Option("--slow", min=1.01, help="How many times as long as expected is slow."),
    ] = 4.0,
    ops: Annotated[
        bool,
        typer.Option("--ops/--segments", help="Look into segments that are fine as a whole, too."),
    ] = True,
    every: Annotated[
        bool, typer.Option("--all", help="Show every op, not those with the largest gaps.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="OUT.byocbug",
            help="Keep the culprits in one file that another machine can replay.",
            show_default=False,
            callback=output_file,
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            metavar="IN.byocbug",
            help="Try the culprits of such a file again, instead of a model.",
            show_default=False,
        ),
    ] = None,
    params: ParamsFile = None,
    json: Json = False,
) -> None:
    """Find the ops that a vendor gets wrong, or that crash, hang or are slow.

    Vendors run in processes of their own. Exit status 1 when something is found, or shows again.
    """
    if (model is None) == (replay is None):
        raise typer.BadParameter("give a MODEL, or a bundle by --replay")
    if replay is not None:
        _replay(replay, limit, json)
        return
    chosen = placement_options(placement, policy)
    arguments = compile_options(vendors, options)
    arguments.pop("min_segment_flops", None)
    files = read_inputs(inputs or ())

    from byoc.debug import find, write_bundle

    def feeds(ports: Sequence[PortType]) -> Mapping[str, Array]:
        return given_inputs(files, {port.name: port.type for port in ports})

    with progress(f"debugging {model}"):
        found = find(
            model,
            inputs=feeds if files else None,
            dims=parse_dims(dim) or None,
            seed=seed,
            ops=ops,
            limit=limit,
            tolerance=tolerance,
            slow=slow,
            params=params,
            **arguments,
            **chosen,
        )
    for remark in found.remarks:
        say(remark)
    if json:
        print_json(found.to_dict())
    else:
        _show(found, every)
    if bundle is not None and found:
        write_bundle(bundle, found)
        say(f"the culprits are in {bundle}; another machine runs: byoc debug --replay {bundle}")
    if found:
        raise typer.Exit(1)


def _show(found: Diagnosis, every: bool) -> None:
    _table(found.segments, "segment")
    rows = list(found.ops)
    if not every and len(rows) > _SHOWN:
        rows.sort(key=lambda row: (not row.found, -(row.gap or 0.0)))
        print(f"\nof {len(rows)} pieces, the {_SHOWN} with the largest gaps (--all shows all):")
        rows = rows[:_SHOWN]
    elif rows:
        print()
    if rows:
        _table(rows, "in segment")
    for name, gap in found.outputs.items():
        show(f"output {name}: {gap:.2g} between the host and ONNX Runtime")
    print()
    if not found:
        show(f"nothing found; compared with {found.reference}")
    for culprit in found.culprits:
        show(
            f"{culprit.kind.upper()}: {culprit.vendor}, segment {culprit.segment}, {culprit.step}",
            *(f"  {op}" for op in culprit.ops),
            f"  {culprit.message}",
        )


def _table(rows: Sequence[Row], heading: str) -> None:
    from rich.table import Table

    table = Table(heading, "ops", box=None, pad_edge=False)
    for column in ("gap", "host to ORT", "time", "host", ""):
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        first, more = row.ops[0], len(row.ops) - 1
        table.add_row(
            row.segment,
            f"{first}{f' and {more} more' if more else ''}",
            "-" if row.gap is None else f"{row.gap:.2g}",
            "-" if row.against is None else f"{row.against:.2g}",
            _ms(row.seconds),
            _ms(row.host_seconds),
            row.found or row.note,
        )
    print_table(table)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.3g} ms"


def _replay(path: Path, limit: float, json: bool) -> None:
    from byoc.debug import replay

    with progress(f"replaying {path}"):
        result = replay(path, limit=limit)
    if json:
        print_json(_as_dict(result))
    else:
        for name, (then, now) in result.changed.items():
            show(f"{name}: {then} then, {now} here")
        for case in result.cases:
            told = "again" if case.again else "not here"
            show(f"{case.kind.upper()} of {case.vendor}: {told} ({case.message})")
            show(*(f"  {op}" for op in case.ops))
    if result:
        raise typer.Exit(1)


def _as_dict(result: Replay) -> dict[str, object]:
    return {
        "model": result.model,
        "changed": {name: {"then": a, "here": b} for name, (a, b) in result.changed.items()},
        "cases": [
            {
                "vendor": case.vendor,
                "kind": case.kind,
                "ops": [{"name": op.name, "kind": op.kind} for op in case.ops],
                "again": case.again,
                "message": case.message,
            }
            for case in result.cases
        ],
    }
