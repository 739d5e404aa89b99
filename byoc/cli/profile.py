"""``byoc profile``: where the time of a model goes, task by task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byoc.cli.common import (
    Dims,
    Json,
    ModelOrArtifact,
    OptionsFile,
    Threads,
    Vendors,
    compile_options,
    parse_dims,
    progress,
    say,
    set_threads,
)
from byoc.cli.inputs import Inputs, inputs_for, is_artifact, read_inputs, refuse_options
from byoc.cli.parsing import output_file
from byoc.errors import ArtifactError

if TYPE_CHECKING:
    from byoc.executable import Executable
    from byoc.partition import PartitionReport

__all__ = ["profile"]


def profile(
    model: ModelOrArtifact,
    vendors: Vendors = None,
    options: OptionsFile = None,
    inputs: Inputs = None,
    requests: Annotated[
        int, typer.Option("--requests", min=1, help="Requests, several on their way at a time.")
    ] = 10,
    warmup: Annotated[int, typer.Option("--warmup", min=0, help="Requests before.")] = 3,
    top: Annotated[
        int | None,
        typer.Option("--top", min=1, help="Show only the longest tasks.", show_default=False),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            metavar="T.json",
            help="Write a Chrome trace (open it at ui.perfetto.dev).",
            show_default=False,
            callback=output_file,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="R.html",
            help="Write a page with the timeline and the partition report.",
            show_default=False,
            callback=output_file,
        ),
    ] = None,
    threads: Threads = None,
    dim: Dims = None,
    json: Json = False,
) -> None:
    """Run a model and show when each task began and ended, where it ran, what it waited for."""
    dims = parse_dims(dim)
    compiled = is_artifact(model)
    if compiled:
        refuse_options(model, {"--vendors": vendors, "--options": options})
    arguments = {} if compiled else compile_options(vendors, options) | {"dims": dims or None}
    files = read_inputs(inputs or ())

    import byoc
    from byoc.support.files import write_text

    set_threads(threads)
    with progress(f"{'loading' if compiled else 'compiling'} {model}"):
        executable = byoc.load(model) if compiled else byoc.compile(model, **arguments)
    feeds = inputs_for(executable, files, None if compiled else model, dims)
    with progress(f"running {model}"):
        result = executable.profile(feeds, requests=requests, warmup=warmup)
    if trace:
        write_text(trace, result.to_chrome(), "the trace")
        say(f"trace written to {trace}; open it at ui.perfetto.dev")
    if html:
        result.to_html(html, _report(executable))
        say(f"timeline written to {html}")
    print(result.to_json() if json else result.table(top))


def _report(executable: Executable) -> PartitionReport | None:
    try:
        return executable.report
    except ArtifactError:
        return None  # a file saved without one: the page has the timeline alone
