"""Files that are safe to open and safe to replace.

In: paths that users give. Out: descriptors of regular files only (`opened`), and files that are
written whole or not at all (`atomic_write`): whoever reads one meanwhile, even after a crash or a
full disk, finds the old content or the new, never a part of it::

    model.byoc                 old ─────────────────────────┐ replaced in one step
    .model.byoc.5f1c….part     written, flushed to the disk ┘ (removed when anything fails)
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from byoc.errors import ArtifactError

__all__ = ["atomic_write", "opened", "write_text"]

_KEPT_OF_NAME = 100  # characters; a file name is at most 255 bytes on most file systems


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a regular file for reading; a pipe or a device is refused and not waited for.

    Args:
        path: The file.

    Yields:
        Its descriptor, closed at the end of the block.

    Raises:
        ArtifactError: It cannot be opened, or is no regular file.

    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ArtifactError(f"{path}: this is no regular file")
        yield fd
    finally:
        os.close(fd)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for writing so that it appears whole, or stays as it was.

    ::

        with atomic_write("model.onnx") as file:
            file.write(model.SerializeToString())

    Any number of threads and processes may write one path: the last to finish wins. An existing
    file keeps its permissions, a new one gets those that `open` would give it. Through a symbolic
    link the file that it points to is replaced, and a device or a pipe is written as it is.

    Args:
        path: Where the file belongs; its folder must exist.

    Yields:
        A binary file. When the block ends without an error, its content is on the disk under
        `path`; when it ends with one, nothing is left of it.

    Raises:
        OSError: The file cannot be written; callers say what it was for.

    """
    target = Path(os.path.realpath(path))
    mode = _mode(target)
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        with target.open("wb") as file:
            yield file
        return
    aside = target.with_name(f".{target.name[:_KEPT_OF_NAME]}.{secrets.token_hex(8)}.part")
    # Readable by the owner only until it has the mode of the file that it replaces.
    fd = os.open(
        aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if mode is None else 0o600
    )
    try:
        with os.fdopen(fd, "wb") as file:
            if mode is not None:
                os.fchmod(fd, stat.S_IMODE(mode))
            yield file
            file.flush()
            os.fsync(fd)
        aside.replace(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _mode(path: Path) -> int | None:
    """Type and permissions of a file; None when there is none."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _sync_folder(folder: Path) -> None:
    """See to it that the folder's entries outlive a crash too."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return  # it can be written and not read: the system writes it when it sees fit
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_text(path: str | os.PathLike[str], text: str, what: str) -> None:
    """Write a text file (UTF-8) whole or not at all, see `atomic_write`.

    Args:
        path: Where the file belongs.
        text: Its content.
        what: What it is, for messages: "the report".

    Raises:
        ArtifactError: The file cannot be written.

    """
    try:
        with atomic_write(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise ArtifactError(
            f"cannot write {what} to {path}: {error.strerror or error}; "
            f"choose a path in a folder that exists and is writable"
        ) from error
