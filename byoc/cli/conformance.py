"""``byoc conformance``: does a vendor do what it claims?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byoc.cli.common import OptionsFile, compile_options, progress, say
from byoc.cli.parsing import output_file
from byoc.support.files import write_text

__all__ = ["conformance"]


def conformance(
    vendor: Annotated[
        str,
        typer.Argument(metavar="VENDOR", help="Its name, or module:ATTRIBUTE.", show_default=False),
    ],
    options: OptionsFile = None,
    only: Annotated[
        str, typer.Option("--only", metavar="TEXT", help="Cases whose name contains this text.")
    ] = "",
    level: Annotated[
        str, typer.Option("--level", help="What to ask for: bronze, silver or gold.")
    ] = "bronze",
    timeout: Annotated[
        float, typer.Option("--timeout", min=1.0, help="Seconds after which a case hangs.")
    ] = 300.0,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json", metavar="F", help="Write JSON here; - for stdout.", show_default=False
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit",
            metavar="F",
            help="Write JUnit XML here.",
            show_default=False,
            callback=output_file,
        ),
    ] = None,
) -> None:
    """Try everything that VENDOR claims, in child processes, and tell its level.

    Exit status 1 where the level that is asked for is not reached.
    """
    from byoc.testing.conformance import LEVELS
    from byoc.testing.conformance import conformance as put_to_the_test

    if level not in LEVELS:
        raise typer.BadParameter(f"--level is one of {', '.join(LEVELS)}, found {level!r}")
    chosen = {}
    if options is not None:
        chosen = compile_options(vendor, options)["vendors"].get(vendor, {})
    with progress(f"trying {vendor}"):
        report = put_to_the_test(vendor, chosen, only=only, timeout=timeout)
    to_stdout = str(json) == "-"
    for path, text in ((None if to_stdout else json, report.to_json), (junit, report.to_junit)):
        if path is not None:
            write_text(path, text(), "the report")
            say(f"wrote {path}")
    print(report.to_json() if to_stdout else report.table(), end="")
    if not report.reaches(level):
        raise typer.Exit(1)
