"""``byoc check``: will this compiled model run here, and if not, why?"""

from __future__ import annotations

import functools
import json as json_text
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byoc.cli.common import Json, TrustedKey, print_json, progress, show

if TYPE_CHECKING:
    from byoc.plugins.discovery import VendorInfo

__all__ = ["check"]

_ASK = """
import dataclasses, json, sys
from byoc.plugins.discovery import vendors
print(json.dumps([dataclasses.asdict(vendor) for vendor in vendors(only=sys.argv[1:])]))
"""
_ASK_EQUIPMENT = """
import json, sys
from byoc.plugins.discovery import find
from byoc.runtime.vendor_runtimes import told_equipment
print(json.dumps(told_equipment(sys.argv[1], find(sys.argv[1]).runtime)))
"""
_PATIENCE = 120.0  # seconds


def _answer(question: str, name: str) -> subprocess.CompletedProcess[str]:
    """What a process says that asks a vendor: it loads its libraries there, and may end there."""
    return subprocess.run(
        [sys.executable, "-c", question, name], capture_output=True, text=True, timeout=_PATIENCE
    )


@functools.cache
def _equipment_apart(name: str) -> list[Any] | None:
    """Devices and driver that a vendor finds here; None when it does not tell, or cannot be asked.

    Why it cannot is told by `_ask_apart`.
    """
    try:
        found = json_text.loads(_answer(_ASK_EQUIPMENT, name).stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return None
    return found if isinstance(found, list) else None


@functools.cache
def _ask_apart(name: str) -> VendorInfo | None:
    """What is installed of a vendor."""
    from byoc.plugins.discovery import VendorInfo

    problem = "asking it whether it can be used"
    try:
        answer = _answer(_ASK, name)
        infos = [VendorInfo(**info) for info in json_text.loads(answer.stdout.splitlines()[-1])]
        return infos[0] if infos else None
    except subprocess.TimeoutExpired:
        problem += f" took more than {_PATIENCE:g} s"
    except (ValueError, TypeError, IndexError):
        problem += f" ended the process with status {answer.returncode}"
    return VendorInfo(name, "", False, problem, "", "cpu")


def check(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.byoc", help="A compiled model.", show_default=False)
    ],
    require_signature: TrustedKey = None,
    json: Json = False,
) -> None:
    """Tell whether a compiled model runs on this machine: everything that is wrong, not the first.

    Every byte is compared with its hash; versions, CPU and vendors with what the file needs. No
    code of the file is loaded, and no vendor's library: each vendor that the file names is asked in
    a process of its own whether it can be used. Exit status 1 when it does not run here.
    """
    from byoc.runtime.io.checking import check_file

    with progress(f"checking {model}"):
        findings = check_file(
            model, _ask_apart, _equipment_apart, require_signature=require_signature
        )
    runs = all(finding.level != "problem" for finding in findings)
    if json:
        print_json({"runs": runs, "findings": [asdict(finding) for finding in findings]})
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            show(f"{finding.level:<8} {finding.subject:<{width}}  {finding.text}")
        show(f"{model} {'runs here' if runs else 'does not run here'}")
    if not runs:
        raise typer.Exit(1)
