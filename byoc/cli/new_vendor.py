"""``byoc new-vendor``: the project of a new vendor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from byoc.cli.common import Json, print_json, show

__all__ = ["new_vendor"]


def new_vendor(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.", show_default=False)],
    template: Annotated[
        str, typer.Option("--template", help="python, c-source, native or tir.")
    ] = "python",
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="Default: byoc-NAME.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Write a project for a vendor: installable, tested, right; yours to change."""
    from byoc.kit.new_vendor import TEMPLATES, write_project

    files = write_project(name, template, folder)
    place = files[0].parent
    if json:
        print_json({"folder": str(place), "files": [str(path) for path in files]})
        return
    show(
        f"wrote {place}: {TEMPLATES[template]}",
        *(f"  {path.relative_to(place)}" for path in files),
        f"now: pip install --no-build-isolation --no-deps {place} && byoc conformance {name}",
    )
