"""Put a build of the runtime's libraries where Python finds them before the installed ones.

Usage: ``overlay.py BUILD FOLDER``; then run with FOLDER in front of PYTHONPATH. Libraries are found
by the record of the distribution (see `byoc.runtime.native.find_library`), so FOLDER gets one, of
the same version, that lists those libraries.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from pathlib import Path

NAME = "tvm-byoc"
LIBRARIES = ("libbyoc_runtime.so", "libbyoc_threads.so")


def main() -> None:
    """Copy the libraries, write the record."""
    build, folder = map(Path, sys.argv[1:])
    installed = importlib.metadata.distribution(NAME)
    place = folder / "byoc_overlay"
    place.mkdir(parents=True, exist_ok=True)
    for name in LIBRARIES:
        (library,) = build.rglob(name)
        shutil.copy(library, place / name)
    info = folder / f"{NAME.replace('-', '_')}-{installed.version}.dist-info"
    info.mkdir(exist_ok=True)
    for file in ("METADATA", "entry_points.txt"):
        text = installed.read_text(file)
        if text is not None:
            (info / file).write_text(text, encoding="utf-8")
    others = [
        str(Path(str(installed.locate_file(line.split(",", 1)[0]))).resolve())
        for line in (installed.read_text("RECORD") or "").splitlines()
        if line.split(",", 1)[0].endswith(".so") and not line.split(",", 1)[0].endswith(LIBRARIES)
    ]
    lines = [*(f"byoc_overlay/{name},," for name in LIBRARIES), *(f"{path},," for path in others)]
    (info / "RECORD").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
