"""``byoc run``: run a compiled model on inputs from a file.

In: a .byoc file and an .npz file of inputs. Out: an .npz file of outputs, and a line for each.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byoc.cli.common import (
    Isolate,
    Json,
    Threads,
    TrustedKey,
    isolated,
    print_json,
    progress,
    set_threads,
)
from byoc.cli.npz import read_npz
from byoc.errors import ByocError, InputError
from byoc.support.files import atomic_write

if TYPE_CHECKING:
    from byoc.segment import Array

__all__ = ["read_arrays", "run", "write_arrays"]


def run(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.byoc", help="A compiled model.", show_default=False)
    ],
    inputs: Annotated[
        Path,
        typer.Option(
            "--inputs", metavar="X.npz", help="Inputs by name (numpy.savez).", show_default=False
        ),
    ],
    outputs: Annotated[
        Path | None,
        typer.Option(
            "--outputs", metavar="Y.npz", help="Where the outputs go.", show_default=False
        ),
    ] = None,
    isolate: Isolate = None,
    require_signature: TrustedKey = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Run a compiled model on inputs from a file."""
    import byoc

    feeds = read_arrays(inputs)
    set_threads(threads)
    with progress(f"loading {model}"):
        executable = byoc.load(
            model, isolate=isolated(isolate), require_signature=require_signature
        )
    start = time.perf_counter()
    with progress(f"running {model}"):
        results = executable.run(feeds)
    seconds = time.perf_counter() - start
    if outputs:
        write_arrays(outputs, results)
    if json:
        described = [
            {"name": name, "shape": list(array.shape), "dtype": array.dtype.name}
            for name, array in results.items()
        ]
        print_json({"outputs": described, "first_run_ms": round(seconds * 1e3, 3)})
        return
    for name, array in results.items():
        shape = ", ".join(map(str, array.shape))
        line = f"{name}: {array.dtype}[{shape}]"
        if array.size and array.dtype.kind != "b":
            line += f"  min {array.min():.6g}  mean {array.mean():.6g}  max {array.max():.6g}"
        print(line)


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of an .npz file by name.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return read_npz(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read the inputs {path}: {error}") from error


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays to an .npz file; the file appears complete or not at all.

    Args:
        path: The file to write.
        arrays: Name → array.

    Raises:
        ByocError: The file cannot be written.
    """
    import numpy as np

    try:
        with atomic_write(path) as file:
            np.savez(file, **dict(arrays))  # type: ignore[arg-type]
    except OSError as error:
        raise ByocError(f"cannot write the outputs {path}: {error}") from error
