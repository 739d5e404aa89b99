"""``byoc run``: run a compiled model on inputs from a file.

In: a .byoc file and files of inputs. Out: an .npz file of outputs, and a line for each.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from byoc.cli.common import (
    Dims,
    Isolate,
    Json,
    Threads,
    TrustedKey,
    isolated,
    parse_dims,
    print_json,
    progress,
    say,
    set_threads,
)
from byoc.cli.inputs import Inputs, inputs_for, read_inputs
from byoc.cli.parsing import output_file
from byoc.errors import ByocError
from byoc.support.files import atomic_write

if TYPE_CHECKING:
    from byoc.segment import Array

__all__ = ["run", "write_arrays"]


def run(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.byoc", help="A compiled model.", show_default=False)
    ],
    inputs: Inputs = None,
    outputs: Annotated[
        Path | None,
        typer.Option(
            "--outputs",
            metavar="Y.npz",
            help="Where the outputs go.",
            show_default=False,
            callback=output_file,
        ),
    ] = None,
    print_top: Annotated[
        int | None,
        typer.Option(
            "--print-top",
            metavar="N",
            min=1,
            help="Show the N largest values along the last axis, with their places.",
            show_default=False,
        ),
    ] = None,
    dim: Dims = None,
    isolate: Isolate = None,
    require_signature: TrustedKey = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Run a compiled model on inputs from files, or on random ones."""
    import byoc

    files = read_inputs(inputs or ())
    dims = parse_dims(dim)
    set_threads(threads)
    with progress(f"loading {model}"):
        executable = byoc.load(
            model, isolate=isolated(isolate), require_signature=require_signature
        )
    feeds = inputs_for(executable, files, None, dims)
    if not files:
        say("no --inputs: they are random (seed 0)")
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
        if print_top:
            for entry, array in zip(described, results.values(), strict=True):
                entry["top"] = _top(array, print_top)
        print_json({"outputs": described, "first_run_ms": round(seconds * 1e3, 3)})
        return
    for name, array in results.items():
        shape = ", ".join(map(str, array.shape))
        line = f"{name}: {array.dtype}[{shape}]"
        if array.size and array.dtype.kind != "b":
            line += f"  min {array.min():.6g}  mean {array.mean():.6g}  max {array.max():.6g}"
        print(line)
        for number, row in enumerate(_top(array, print_top) if print_top else ()):
            values = "  ".join(f"{place}: {value:.6g}" for place, value in row)
            print(f"  row {number}: {values}")


def _top(array: Array, count: int) -> list[list[tuple[int, float]]]:
    """Of each row along the last axis, its largest values: (place, value)."""
    import numpy as np

    if not array.ndim or not array.size:
        return []
    rows = array.reshape(-1, array.shape[-1])
    order = np.argsort(-rows.astype("float64"), axis=-1, kind="stable")
    return [
        [(int(place), float(row[place])) for place in places[:count]]
        for row, places in zip(rows, order, strict=True)
    ]


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
