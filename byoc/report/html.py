"""The report as one self-contained page: no network, no files beside it.

`page.html` holds the looks and a script that fills the tables from the JSON embedded in it.
"""

from __future__ import annotations

import os
import tempfile
from importlib import resources
from os import PathLike
from pathlib import Path

from byoc.errors import ArtifactError
from byoc.partition.report import PartitionReport
from byoc.report.json import render_json

__all__ = ["render_html", "write_html"]

_PLACE = "/*REPORT*/null"


def render_html(report: PartitionReport) -> str:
    """The page as text."""
    page = resources.files("byoc.report").joinpath("page.html").read_text(encoding="utf-8")
    before, after = page.split(_PLACE)
    # Inside <script>, "</" and "<!" could end or hide it; as escapes they are plain JSON.
    data = render_json(report, indent=None).replace("<", "\\u003c")
    data = data.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return before + data + after


def write_html(report: PartitionReport, path: str | PathLike[str]) -> None:
    """Write the page to `path`, whole or not at all.

    Raises ArtifactError when the file cannot be written.
    """
    target = Path(path)
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as aside:
            try:
                aside.write(render_html(report))
                aside.close()
                mask = os.umask(0)
                os.umask(mask)
                Path(aside.name).chmod(0o666 & ~mask)  # as open() would have made it
                Path(aside.name).replace(target)
            except BaseException:
                Path(aside.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ArtifactError(
            f"cannot write the report to {target}: {error.strerror or error}; "
            f"choose a path in a folder that exists and is writable"
        ) from error
