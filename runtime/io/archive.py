"""Writing the file format under an artifact: an uncompressed zip whose every byte is known.

::

    ┌ header │ manifest.json ┬ header │ plan.json ┬ … ┬ header, padding │ weights.bin ┐
    └ central directory │ end records │ comment: sha256 of the manifest ──────────────┘

The manifest lists every member with size, CRC-32 and sha256. Names and sizes alone fix where
everything lies; the one reader, runtime/src/artifact/archive.h, tells what that is good for. Any
zip tool can list and extract the file.
Format: PKWARE APPNOTE 6.3, every member with ZIP64 sizes, method 0 (stored).
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO

from byoc.errors import ArtifactError
from byoc.support.memory import ALIGNMENT

__all__ = [
    "CHUNK",
    "MANIFEST",
    "Member",
    "Signature",
    "add_signature",
    "check_name",
    "write_archive",
]

MANIFEST = "manifest.json"
CHUNK = 4 << 20
"""Members are hashed in chunks of this many bytes, so that threads share the work."""

_PAGE = 1 << 14  # a multiple of the page size of every supported system
_PAGE_ALIGNED = ("weights.bin",)

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_ZIP64_END = struct.Struct("<4sQHHIIQQQQ")
_ZIP64_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4sHHHHIIH")
_VERSION = 45  # ZIP64
_DATE = (1980 - 1980) << 9 | 1 << 5 | 1  # fixed: equal programs make equal files
_PADDING_ID = 0xD935  # the extra field other tools use for alignment, too
_COMMENT = b"byoc manifest sha256 "
_COMMENT_SIZE = len(_COMMENT) + 64
_SIGNED_SIZE = _COMMENT_SIZE + len(" ed25519 ") + 64 + 1 + 128
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive. sha256: one digest per started `CHUNK` (hex); at least one."""

    name: str
    size: int
    crc32: int
    sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """An ed25519 signature of the manifest: 32 bytes of public key, 64 of signature."""

    public_key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class _Placed:
    member: Member
    header: bytes
    header_at: int

    @property
    def data_at(self) -> int:
        return self.header_at + len(self.header)


def check_name(name: str) -> str:
    """Refuse a member's name that is not plain: letters, digits, `_ . -`, folders; no way out.

    Args:
        name: "segments/dnnl_0.bin".

    Returns:
        The name.

    Raises:
        ArtifactError: It leads elsewhere, or holds other characters.

    """
    if not _NAME.fullmatch(name) or len(name) > 1024:
        raise ArtifactError(f"{name!r} is no name for a member of an artifact")
    return name


def _layout(
    members: Sequence[Member],
) -> tuple[list[_Placed], bytes, int]:
    """Every header, the bytes after the last member, and the size of the file without comment."""
    placed: list[_Placed] = []
    position = 0
    for member in members:
        name = member.name.encode("ascii")
        alignment = _PAGE if member.name in _PAGE_ALIGNED else ALIGNMENT
        sizes = struct.pack("<HHQQ", 1, 16, member.size, member.size)
        bare = _LOCAL.size + len(name) + len(sizes) + 4
        padding = -(position + bare) % alignment
        extra = sizes + struct.pack("<HH", _PADDING_ID, padding) + bytes(padding)
        header = _LOCAL.pack(
            b"PK\3\4", _VERSION, 0, 0, 0, _DATE, member.crc32, 2**32 - 1, 2**32 - 1,
            len(name), len(extra),
        ) + name + extra  # fmt: skip
        placed.append(_Placed(member, header, position))
        position += len(header) + member.size
    start = position
    directory = b"".join(_directory_entry(p) for p in placed)
    count, size = len(placed), len(directory)
    end64 = _ZIP64_END.pack(
        b"PK\6\6", _ZIP64_END.size - 12, _VERSION, _VERSION, 0, 0, count, count, size, start
    )
    locator = _ZIP64_LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
    end = _END.pack(b"PK\5\6", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, _COMMENT_SIZE)
    return placed, directory + end64 + locator + end, start


def _directory_entry(p: _Placed) -> bytes:
    name = p.member.name.encode("ascii")
    extra = struct.pack("<HHQQQ", 1, 24, p.member.size, p.member.size, p.header_at)
    made_by = 3 << 8 | _VERSION  # Unix: the mode below counts
    mode = 0o100644 << 16
    return _CENTRAL.pack(
        b"PK\1\2", made_by, _VERSION, 0, 0, 0, _DATE, p.member.crc32, 2**32 - 1, 2**32 - 1,
        len(name), len(extra), 0, 0, 0, mode, 2**32 - 1,
    ) + name + extra  # fmt: skip


def _slices(chunks: Iterable[bytes | memoryview]) -> Iterator[memoryview]:
    """The same bytes, cut so that no piece crosses a multiple of CHUNK."""
    position = 0
    for chunk in chunks:
        view = memoryview(chunk)
        while len(view):
            take = min(len(view), CHUNK - position % CHUNK)
            yield view[:take]
            position += take
            view = view[take:]


def _write_member(file: IO[bytes], chunks: Iterable[bytes | memoryview]) -> tuple[int, list[str]]:
    """Write a member's bytes; their CRC-32 and sha256 by chunk."""
    crc, digests, position = 0, [], 0
    digest = hashlib.sha256()
    for piece in _slices(chunks):
        if position and position % CHUNK == 0:
            digests.append(digest.hexdigest())
            digest = hashlib.sha256()
        file.write(piece)
        digest.update(piece)
        crc = zlib.crc32(piece, crc)
        position += len(piece)
    return crc, [*digests, digest.hexdigest()]


def write_archive(
    file: IO[bytes],
    contents: Sequence[tuple[str, int, Iterable[bytes | memoryview]]],
    manifest: Callable[[Sequence[Member]], bytes],
) -> None:
    """Write an archive.

    Args:
        file: An empty, seekable file.
        contents: Name, size in bytes and bytes of every member but the manifest.
        manifest: Makes the manifest once the members are known; its length must not depend on
            their hashes.

    Raises:
        ArtifactError: A name is not plain, or a member has another size than it was said to have.

    """
    blank = [
        Member(check_name(name), size, 0, ("0" * 64,) * _chunk_count(size))
        for name, size, _ in contents
    ]
    length = len(manifest(blank))
    head = Member(MANIFEST, length, 0, ())
    placed, _, _ = _layout([head, *blank])
    members = []
    for place, (name, size, chunks) in zip(placed[1:], contents, strict=True):
        file.seek(place.data_at)
        crc, digests = _write_member(file, chunks)
        if file.tell() != place.data_at + size:
            raise ArtifactError(
                f"member {name!r} has {file.tell() - place.data_at} bytes, not {size}"
            )
        members.append(Member(name, size, crc, tuple(digests)))
    data = manifest(members)
    if len(data) != length:
        raise ArtifactError("the manifest changed its length while the artifact was written")
    placed, tail, start = _layout([replace(head, crc32=zlib.crc32(data)), *members])
    for place in placed:
        file.seek(place.header_at)
        file.write(place.header)
    file.seek(placed[0].data_at)
    file.write(data)
    file.seek(start)
    file.write(tail + _COMMENT + hashlib.sha256(data).hexdigest().encode())


def _chunk_count(size: int) -> int:
    return max(1, -(-size // CHUNK))


def add_signature(
    source: int, target: IO[bytes], digest: str, old: Signature | None, signature: Signature
) -> None:
    """Copy an archive into an empty file, signed.

    Args:
        source: Descriptor of an archive that has been verified.
        target: Where the signed one is written.
        digest: The sha256 of its manifest, in hex.
        old: The signature that it has, which is replaced.
        signature: The new one.

    """
    comment_size = _COMMENT_SIZE if old is None else _SIGNED_SIZE
    end = os.fstat(source).st_size - comment_size - 2  # the end record's last field: comment size
    position = 0
    while position < end:
        part = os.pread(source, min(CHUNK, end - position), position)
        if not part:
            raise ArtifactError("the file was cut short while it was signed")
        target.write(part)
        position += len(part)
    target.write(
        struct.pack("<H", _SIGNED_SIZE)
        + _COMMENT
        + f"{digest} ed25519 {signature.public_key.hex()} {signature.value.hex()}".encode()
    )
