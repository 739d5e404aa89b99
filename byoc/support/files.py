"""Opening files that may be anything, and writing a text file whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from byoc.errors import ArtifactError

__all__ = ["opened", "write_text"]


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """The descriptor of a regular file, to read; a pipe is not waited for. Raises ArtifactError."""
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


def write_text(path: str | os.PathLike[str], text: str, what: str) -> None:
    """Write `text` (UTF-8) aside, then rename it to `path`.

    what: for messages, "the report". Raises ArtifactError when the file cannot be written.
    """
    target = Path(path)
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as aside:
            try:
                aside.write(text)
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
            f"cannot write {what} to {target}: {error.strerror or error}; "
            f"choose a path in a folder that exists and is writable"
        ) from error
