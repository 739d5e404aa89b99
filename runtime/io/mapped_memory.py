"""Memory of weights: mapped from model files, given back when copied.

    w.bin  |--- weight 0 ---|--- weight 1 ---|      map_file: nothing is read yet
                 │ packed, folded, …                pages come as they are read
                 ▼
           another array                            drop_pages(weight 0): they go again

Pages of a mapped file are read anew when someone wants them after all. The mappings are those of
the runtime, so that vendors give back what they have packed, one weight after the other.
"""

from __future__ import annotations

from mmap import PAGESIZE
from pathlib import Path
from typing import Any

import numpy as np

from byoc.segment import Array

__all__ = ["drop_pages", "map_file"]


def map_file(path: Path) -> memoryview:
    """The file's bytes, mapped, not read.

    Arrays over them count as writable, since DLPack refuses others; writing ends the process.
    Raises OSError when the file cannot be opened, ArtifactError when it cannot be mapped.
    """
    from byoc.runtime.native import function

    with path.open("rb") as file:
        size = path.stat().st_size
        if not size:
            return memoryview(b"")
        data: Any = np.from_dlpack(function("MapFile")(file.fileno(), 0, size))
        return memoryview(data)


def drop_pages(array: Array) -> None:
    """Give the pages of an array over a mapped file back; nothing for any other array.

    An array smaller than a page has none of its own.
    """
    from byoc.runtime.io.weights import release

    if array.nbytes >= PAGESIZE:
        release(array)
