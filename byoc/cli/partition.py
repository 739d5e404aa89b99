"""``byoc partition``: where would each op go, and why? Nothing is built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byoc.cli.common import Json, ModelPath, OptionsFile, Vendors, compile_options, progress, say

__all__ = ["partition"]


def partition(
    model: ModelPath,
    vendors: Vendors = None,
    options: OptionsFile = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Also write the report as HTML.", show_default=False
        ),
    ] = None,
    ops: Annotated[bool, typer.Option("--ops", help="Also list every op.")] = False,
    json: Json = False,
) -> None:
    """Split MODEL and show the segments, the coverage and each vendor's reasons; build nothing."""
    arguments = compile_options(vendors, options)

    import byoc

    with progress(f"partitioning {model}"):
        report = byoc.partition_model(model, **arguments).report
    if html:
        report.to_html(html)
        say(f"wrote {html}")
    print(report.to_json() if json else report.table(ops=ops))
