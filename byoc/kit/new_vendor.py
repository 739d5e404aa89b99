"""A new vendor's project: installable, tested, and right from its first minute.

In: a name and a template. Out: a folder with the template's files, in which ``acme`` has become the
name. The templates lie in `projects/`, as files that byoc's own checks read.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from byoc.errors import VendorError, choices
from byoc.vendor import RESERVED_NAMES

__all__ = ["TEMPLATES", "write_project"]

TEMPLATES = {
    "python": "a library with an interface for Python: numpy stands for it",
    "c-source": "a compiler of C: each segment becomes a source file",
    "native": "a library with an interface for C or C++",
    "tir": "TVM compiles: each composite becomes a kernel in tensor expressions",
}
"""Template → what it is for."""

_PROJECTS = Path(__file__).with_name("projects")


def write_project(name: str, template: str, folder: Path | None = None) -> list[Path]:
    """Write the project of a new vendor.

    Args:
        name: The vendor's: a-z, 0-9 and _.
        template: One of `TEMPLATES`.
        folder: Where to; it must not exist. None: ``byoc-NAME`` here.

    Returns:
        The files that were written.

    Raises:
        VendorError: The name or the template is not legal, or the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise VendorError(f"a vendor's name has a-z, 0-9 and _, found {name!r}")
    if name in RESERVED_NAMES or keyword.iskeyword(name):
        raise VendorError(f"the name {name!r} means something else; take that of your SDK or chip")
    if template not in TEMPLATES:
        raise VendorError(f"unknown template {template!r}: {choices(template, TEMPLATES)}")
    distribution = f"byoc-{name.replace('_', '-')}"
    target = folder or Path(distribution)
    if target.exists():
        raise VendorError(f"{target} exists already; give another folder, or remove it")
    written = []
    for source in (_PROJECTS / "common", _PROJECTS / template.replace("-", "_")):
        for path in sorted(source.rglob("*")):
            if not path.is_file() or "__pycache__" in path.parts:
                continue
            output = target / str(path.relative_to(source)).replace("acme", name)
            text = path.read_text(encoding="utf-8").replace("byoc-acme", distribution)
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(text.replace("acme", name), encoding="utf-8")
            output.chmod(path.stat().st_mode)
            written.append(output)
    return written
