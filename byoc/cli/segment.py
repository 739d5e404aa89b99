"""``byoc segment``: what a vendor is given of a model, to be read and run again alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byoc.cli.common import (
    MODEL_HELP,
    Json,
    OptionsFile,
    compile_options,
    print_json,
    progress,
    show,
)

__all__ = ["segment"]


def segment(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL|DIR/SEGMENT",
            help=f"{MODEL_HELP} Or a folder that --dump wrote, to be run.",
            show_default=False,
        ),
    ],
    vendor: Annotated[
        str | None,
        typer.Option("--vendor", metavar="V", help="The vendor.", show_default=False),
    ] = None,
    dump: Annotated[
        Path | None,
        typer.Option(
            "--dump",
            metavar="DIR",
            help="Write each segment into a folder: text, module, inputs.",
            show_default=False,
        ),
    ] = None,
    options: OptionsFile = None,
    json: Json = False,
) -> None:
    """Show the segments that a vendor takes of MODEL; --dump writes them; a written one is run.

    Exit status 1 where a written segment that is run gives other numbers than the host.
    """
    import byoc
    from byoc.testing.replay import describe_segment, dump_segments, replay_segment

    if model.is_dir():
        if dump is not None:
            raise typer.BadParameter("--dump belongs to a MODEL; this is a segment to be run")
        with progress(f"running {model}"):
            found = replay_segment(model, vendor)
        if json:
            print_json({"wrong": found.wrong, "largest": found.largest})
        else:
            taken = ", ".join(found.segments) or "nothing: all of it runs on the host"
            right = found.wrong or "as on the host"
            show(f"taken: {taken}", f"{right}; largest difference {found.largest:.1e}")
        if found.wrong:
            raise typer.Exit(1)
        return
    if vendor is None:
        raise typer.BadParameter("give --vendor, whose segments are to be shown")
    chosen = compile_options(vendor, options)["vendors"]
    if dump is None:
        segments = byoc.partition_model(model, chosen).segments
        if json:
            print_json([{"name": s.name, "text": describe_segment(s)} for s in segments])
        else:
            show(*"\n".join(describe_segment(s) for s in segments).splitlines())
        return
    with progress(f"partitioning {model}"):
        folders = dump_segments(model, vendor, dump, chosen[vendor])
    if json:
        print_json([str(folder) for folder in folders])
    else:
        show(*(f"wrote {folder}; run it with: byoc segment {folder}" for folder in folders))
        if not folders:
            show(f"{vendor} takes nothing of {model}; see byoc partition --ops")
