"""``byoc check``: will this compiled model run here, and if not, why?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from byoc.cli.common import Json, TrustedKey, print_json, progress

__all__ = ["check"]


def check(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.byoc", help="A compiled model.", show_default=False)
    ],
    require_signature: TrustedKey = None,
    json: Json = False,
) -> None:
    """Tell whether a compiled model runs on this machine: everything that is wrong, not the first.

    Every byte is compared with its hash; versions, CPU and vendors with what the file needs. No
    code of the file or of a vendor is loaded. Exit status 1 when it does not run here.
    """
    from byoc.plugins.discovery import vendors
    from byoc.runtime.io.checking import check_file

    known = {vendor.name: vendor for vendor in vendors()}
    with progress(f"checking {model}"):
        findings = check_file(model, known.get, require_signature=require_signature)
    runs = all(finding.level != "problem" for finding in findings)
    if json:
        print_json({"runs": runs, "findings": [asdict(finding) for finding in findings]})
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            print(f"{finding.level:<8} {finding.subject:<{width}}  {finding.text}")
        print(f"{model} {'runs here' if runs else 'does not run here'}")
    if not runs:
        raise typer.Exit(1)
