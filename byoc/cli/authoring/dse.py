"""``byoc dse``: models and what a chip may take in, the configuration of an accelerator out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byoc.cli.common import (
    Json,
    OptionsFile,
    compile_options,
    names,
    print_json,
    progress,
    say,
    show,
)
from byoc.cli.parsing import output_file
from byoc.errors import ModelError, VendorError, choices

if TYPE_CHECKING:
    from byoc.segment import Segment
    from byoc.vendor import Vendor

__all__ = ["dse"]


def dse(
    models: Annotated[
        str,
        typer.Option(
            "--models",
            metavar="A,B",
            help="Model files, as of `byoc compile`; the machine is to be good at all of them.",
            show_default=False,
        ),
    ],
    space: Annotated[
        Path,
        typer.Option(
            "--space",
            metavar="SPACE.yaml",
            help="YAML: `parameters: {name: [values]}`, where, weights.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="BEST.yaml",
            help="File to write: the best machine, for the vendor's option `config`.",
            show_default=False,
            callback=output_file,
        ),
    ],
    vendor: Annotated[
        str | None,
        typer.Option(
            "--vendor",
            metavar="V",
            help="Whose machine (default: the vendor that has a design space).",
            show_default=False,
        ),
    ] = None,
    limits: Annotated[
        str | None,
        typer.Option(
            "--limits",
            metavar="A=N,B=N",
            help="What the machine may take: lut=200k,dsp=900 (default: what the default machine "
            "takes).",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="How long the search may take: 60s, 10m (default: until nothing promises more).",
            show_default=False,
        ),
    ] = None,
    evaluations: Annotated[
        int | None,
        typer.Option(
            "--evaluations",
            min=1,
            help="How many machines may be compiled (default: any number).",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write a page with the picture of speed against area.",
            show_default=False,
            callback=output_file,
        ),
    ] = None,
    options: OptionsFile = None,
    json: Json = False,
) -> None:
    """Find the accelerator within limits that runs the models in the fewest cycles.

    Ctrl-C ends the search; the best machine so far is written.
    """  # fmt: skip
    import yaml

    from byoc.dse import describe_step, explore, page, parse_limits, read_space, table, to_dict
    from byoc.plugins.discovery import resolve
    from byoc.support.files import write_text
    from byoc.timing.budget import parse_budget

    seconds = parse_budget(budget)
    chosen = vendor or _designing_vendor()
    vendors = compile_options(chosen, options)["vendors"]
    (request,) = resolve(vendors)
    if request.vendor.design is None:
        raise VendorError(f"vendor {chosen!r} is one machine: it has no design space")
    segments = {}
    for path in map(Path, names(models)):
        if path.stem in segments:
            raise ModelError(f"--models names two models {path.stem!r}; rename a file")
        with progress(f"partitioning {path}"):
            segments[path.stem] = _segments(path, vendors)
    if not segments:
        raise typer.BadParameter("--models names no model")
    with progress("lowering the segments"):
        design = request.vendor.design(segments, request.options)
    found = explore(
        design,
        read_space(space, design.knobs),
        parse_limits(limits or "", design.resources),
        seconds=seconds,
        evaluations=evaluations,
        on_step=lambda step: say(describe_step(step)),
    )
    configuration = dict(design.configuration(found.best.values))
    write_text(output, yaml.safe_dump(configuration, sort_keys=False), "the configuration")
    if html is not None:
        write_text(html, page(found), "the page")
        say(f"wrote {html}")
    if json:
        print_json({"output": str(output), "configuration": configuration, **to_dict(found)})
        return
    compiled = ", ".join(f"{count} {level}" for level, count in found.counts.items())
    show(
        f"{output}: {1 / found.best.score:.2f}x the default machine, "
        f"of {found.size} points ({compiled}) in {found.seconds:.1f} s: {found.stopped}",
        *table(found).splitlines(),
        "the way to the best:",
        *(f"  {describe_step(step)}" for step in found.steps),
    )


def _designing_vendor() -> str:
    """The one installed vendor that has a design space."""
    from byoc.plugins.discovery import find, vendors

    have = [v.name for v in vendors() if v.version and find(v.name).design is not None]
    if len(have) != 1:
        raise VendorError(f"several vendors have a design space, or none: give --vendor; "
                          f"{choices('', have)}")  # fmt: skip
    return have[0]


def _segments(path: Path, vendors: dict[str | Vendor, Any]) -> tuple[Segment, ...]:
    import byoc

    parts = byoc.partition_model(path, vendors=vendors)
    if not parts.segments:
        (vendor,) = vendors
        raise ModelError(
            f"{path}: vendor {vendor!r} takes no op of it; `byoc partition {path} --vendors "
            f"{vendor}` tells why"
        )
    return parts.segments
