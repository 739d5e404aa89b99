"""Files of arrays, which may come from anybody.

In: the path of an .npz or .npy file. Out: its arrays. The file's claims about sizes are checked
before anything is unpacked, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from byoc.errors import InputError

if TYPE_CHECKING:
    from byoc.segment import Array

__all__ = ["read_arrays", "read_npy", "read_npz"]

_ALWAYS = 256 << 20
"""Bytes that any file may unpack to."""

_RATIO = 100
"""Larger files may unpack to so many times their size: zeros compress a thousandfold, a few
kilobytes would fill the memory."""


def read_npz(path: Path) -> dict[str, Array]:
    """Return the arrays of an .npz file by name.

    Raises:
        InputError: It unpacks to far more than it holds, an array claims more elements than fit, or
            it holds one array without a name.
        OSError, ValueError, EOFError, zipfile.BadZipFile: It cannot be read, as numpy says it.
    """
    import numpy as np

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        packed = path.stat().st_size
        if unpacked > max(_ALWAYS, _RATIO * packed):
            raise InputError(
                f"{path} would unpack to {unpacked:,} bytes, from {packed:,}; byoc unpacks up to "
                f"{_RATIO} times the file. Write it with numpy.savez, which does not compress"
            )
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise InputError(
                f"{path} holds one unnamed array; name the file .npy, or write it with names: "
                f"numpy.savez({str(path.with_suffix('.npz'))!r}, name=array)"
            )
        with file:
            return {name: file[name] for name in file.files}
    except (MemoryError, OverflowError) as error:
        raise InputError(f"{path}: an array in it claims too many elements: {error}") from None


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the inputs in an .npz file by name.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return read_npz(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read the inputs {path}: {error}") from error


def read_npy(path: Path) -> Array:
    """Return the array of an .npy file.

    Raises:
        InputError: It claims more elements than fit, or is an archive.
        OSError, ValueError, EOFError: It cannot be read, as numpy says it.
    """
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (MemoryError, OverflowError) as error:
        raise InputError(f"{path}: it claims too many elements: {error}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path} is an archive of arrays; name it .npz")
    return array
