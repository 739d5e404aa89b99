"""A .byoc file opened for use: the C++ reader of the format, with Python's types.

::

    path ─▶ ArtifactFile ─▶ manifest, members as bytes, arrays over the mapped file
            (runtime/src/artifact: zip, hashes, signature, versions and CPU, mapping)

Python looks at no byte of a file that was not checked there. Writing files stays in Python: see
`byoc.runtime.io.archive`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from byoc.errors import ArtifactError
from byoc.runtime.io.archive import Signature
from byoc.runtime.io.manifest import Manifest, decode, installed
from byoc.runtime.native import function, is_mapped
from byoc.segment import Array, Blob
from byoc.support.dtypes import numpy_dtype
from byoc.support.files import opened

__all__ = ["ArtifactFile", "open_artifact", "read_public_key"]


class ArtifactFile:
    """An artifact whose manifest matched its hash; see `open_artifact`.

    Every method raises ArtifactError when the file is not what it should be.
    """

    def __init__(self, fd: int) -> None:
        """Read the manifest of an open file.

        Args:
            fd: File descriptor of a regular file; it may be closed afterwards.

        """
        self._calls: Any = function("OpenArtifact")(fd)

    @property
    def text(self) -> bytes:
        """The bytes of manifest.json, which a signature covers."""
        return bytes(self._calls["text"]())

    @property
    def digest(self) -> str:
        """The sha256 of `text` in hex; equal ones mean equal files."""
        return str(self._calls["digest"]())

    @property
    def signature(self) -> Signature | None:
        """Who signed the file, not checked; None when nobody did."""
        found = self._calls["signature"]()
        return None if found is None else Signature(*map(bytes, found))

    def check_signature(self, key: bytes) -> None:
        """Refuse the file unless it was signed with a key.

        Args:
            key: The public key, 32 bytes; see `read_public_key`.

        """
        self._calls["check_signature"](key)

    def manifest(self) -> Manifest:
        """Read the manifest; its format version is looked at before anything else."""
        return decode(bytes(self._calls["manifest"]()))

    def fits(self) -> list[tuple[str, str, str]]:
        """Compare versions and CPU with what the file needs.

        Returns:
            One (subject, what is wanted, problem) each, in the order it matters; the problem is
            empty where the file fits this machine.

        """
        rows = self._calls["fits"](installed("apache-tvm"))
        return [(str(subject), str(wanted), str(problem)) for subject, wanted, problem in rows]

    def verify(self) -> None:
        """Compare every byte of the file with its hash; before `take` and `array`."""
        self._calls["verify"]()

    def take(self, name: str) -> bytes:
        """Take a member out of the file: the very bytes that were verified, once.

        Args:
            name: Of the member, "plan.json".

        """
        return np.from_dlpack(self._calls["take"](name)).tobytes()

    def blob(self, name: str) -> Blob:
        """Take a member that a vendor wrote: a copy, or a view of the mapped file if it is large.

        Args:
            name: Of the member, "segments/dnnl_0.bin".

        """
        data: Array = np.from_dlpack(self._calls["take"](name))
        return data.data if is_mapped(data) else data.tobytes()

    def array(self, number: int, dtype: str) -> Array:
        """View an array of the file, which stays mapped as long as the array lives.

        Args:
            number: Its place in `Manifest.arrays`.
            dtype: Its dtype there, by name.

        Returns:
            A read-only array, dense and 64-byte aligned.

        """
        kind = numpy_dtype(dtype)
        array: Array = np.from_dlpack(self._calls["array"](number))
        if array.dtype != kind:
            array = array.view(kind)
        array.flags.writeable = False
        return array


@contextmanager
def open_artifact(path: Path) -> Iterator[tuple[ArtifactFile, int]]:
    """Open an artifact and check its manifest's hash; nothing else of the file is read yet.

    Args:
        path: Where it lies; the messages of all ArtifactErrors within the block begin with it.

    Returns:
        The artifact, and the file's descriptor, for copying.

    Raises:
        ArtifactError: The file cannot be read, is no artifact, or its manifest is damaged.

    """
    with opened(path) as fd:
        try:
            yield ArtifactFile(fd), fd
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from error
        except OSError as error:
            raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error


def read_public_key(path: Path) -> bytes:
    """Read the public key that a file must be signed with.

    Args:
        path: A PEM file (``openssl pkey -in key.pem -pubout``).

    Returns:
        The 32 bytes of an ed25519 key.

    Raises:
        OptionError: The file cannot be read or holds anything else.

    """
    return bytes(function("read_public_key")(os.fsencode(path)))
