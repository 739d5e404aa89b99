"""The file format under an artifact: an uncompressed zip whose every byte is known.

::

    ┌ header │ manifest.json ┬ header │ plan.json ┬ … ┬ header, padding │ weights.bin ┐
    └ central directory │ end records │ comment: sha256 of the manifest ──────────────┘

The manifest lists every member with size, CRC-32 and sha256. Names and sizes alone fix where
everything lies, so a reader writes down all headers as they must be and compares: a bit that
differs anywhere, padding included, is found, and nothing in the file can lead a reader astray
(no names to follow, no offsets to believe). Any zip tool can list and extract the file.
Format: PKWARE APPNOTE 6.3, every member with ZIP64 sizes, method 0 (stored).
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

from byoc.errors import ArtifactError
from byoc.support.memory import ALIGNMENT

__all__ = [
    "CHUNK",
    "MANIFEST",
    "Member",
    "Signature",
    "add_signature",
    "check_name",
    "read_manifest",
    "read_signature",
    "verify",
    "write_archive",
]

MANIFEST = "manifest.json"
CHUNK = 4 << 20
"""Members are hashed in chunks of this many bytes, so that threads share the work."""

_PIECE = 256 << 10
"""Bytes read at a time."""

_MAX_MANIFEST = 64 << 20  # terabytes of weights; JSON takes twenty times as much when it is read
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
_SIGNED = re.compile(rb"%s[0-9a-f]{64} ed25519 ([0-9a-f]{64}) ([0-9a-f]{128})" % _COMMENT)
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
    """Return a member's name if it is plain: letters, digits, `_ . -`, folders; no way out.

    Raises ArtifactError otherwise.
    """
    if not _NAME.fullmatch(name) or len(name) > 1024:
        raise ArtifactError(f"{name!r} is no name for a member of an artifact")
    return name


def _layout(
    members: Sequence[Member], comment_size: int = _COMMENT_SIZE
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
    end = _END.pack(b"PK\5\6", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, comment_size)
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
    """Write an archive into an empty, seekable file.

    contents: name, size and bytes of every member but the manifest. manifest: makes the manifest
    once the members are known; its length must not depend on their hashes.
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


def _read(fd: int, size: int, offset: int) -> bytes:
    parts = []
    while size > 0:
        part = os.pread(fd, size, offset)
        if not part:
            break
        parts.append(part)
        size -= len(part)
        offset += len(part)
    return b"".join(parts)


def read_manifest(fd: int) -> bytes:
    """The manifest of an open archive, its hash checked; nothing else is looked at.

    Raises ArtifactError when the file is no artifact, is cut short, or the manifest is damaged.
    """
    total = os.fstat(fd).st_size
    start = _read(fd, 4096, 0)
    if start[:4] != b"PK\3\4" or start[_LOCAL.size :][: len(MANIFEST)] != MANIFEST.encode():
        raise ArtifactError(
            f"this is not a .byoc file ({total} bytes, it does not begin with {MANIFEST})"
        )
    tail = _comment(fd, total)
    if not tail.startswith(_COMMENT):
        raise ArtifactError(
            "the file is cut short, or was written by another tool: its end record is missing"
        )
    extra_at = _LOCAL.size + len(MANIFEST)
    (size,) = struct.unpack_from("<Q", start, extra_at + 4)
    (extra,) = struct.unpack_from("<H", start, _LOCAL.size - 2)
    data_at = extra_at + extra
    if size > min(_MAX_MANIFEST, total - data_at):
        raise ArtifactError(f"member {MANIFEST!r} is damaged: it claims {size} bytes")
    data = _read(fd, size, data_at)
    if hashlib.sha256(data).hexdigest().encode() != tail[len(_COMMENT) : _COMMENT_SIZE]:
        raise ArtifactError(f"member {MANIFEST!r} is damaged: its sha256 differs")
    return data


def _comment(fd: int, total: int) -> bytes:
    """The comment at the end: of a signed file, else the last bytes, whatever they are."""
    for size in (_SIGNED_SIZE, _COMMENT_SIZE):
        comment = _read(fd, size, total - size) if total > size else b""
        if size == _COMMENT_SIZE or _SIGNED.fullmatch(comment):
            return comment
    raise AssertionError("unreachable")


def read_signature(fd: int) -> Signature | None:
    """The signature of an open archive, not checked; None when there is none."""
    match = _SIGNED.fullmatch(_comment(fd, os.fstat(fd).st_size))
    if match is None:
        return None
    return Signature(bytes.fromhex(match[1].decode()), bytes.fromhex(match[2].decode()))


def add_signature(source: int, target: IO[bytes], manifest: bytes, signature: Signature) -> None:
    """Copy an archive into an empty file, signed; an older signature is replaced."""
    total = os.fstat(source).st_size
    end = total - len(_comment(source, total)) - 2  # the end record's last field: comment size
    position = 0
    while position < end:
        part = _read(source, min(CHUNK, end - position), position)
        target.write(part)
        position += len(part)
    digest = hashlib.sha256(manifest).hexdigest()
    target.write(
        struct.pack("<H", _SIGNED_SIZE)
        + _COMMENT
        + f"{digest} ed25519 {signature.public_key.hex()} {signature.value.hex()}".encode()
    )


def verify(fd: int, manifest: bytes, members: Sequence[Member], threads: int = 2) -> dict[str, int]:
    """Check every byte of the archive but the manifest; name → offset of its data.

    Raises ArtifactError naming the first member that is damaged.
    """
    if len({m.name for m in members} | {MANIFEST}) != len(members) + 1:
        raise ArtifactError("the manifest lists a member twice")
    for member in members:
        check_name(member.name)
        fits = member.size >= 0 and 0 <= member.crc32 < 1 << 32
        if not fits or len(member.sha256) != _chunk_count(member.size):
            raise ArtifactError(f"member {member.name!r} is not described rightly in the manifest")
    total = os.fstat(fd).st_size
    head = Member(MANIFEST, len(manifest), zlib.crc32(manifest), ())
    if sum(m.size for m in members) > total:
        raise ArtifactError(f"the file is cut short: {total} bytes")
    comment_size = len(_comment(fd, total))
    placed, tail, start = _layout([head, *members], comment_size)
    if total != start + len(tail) + comment_size:
        raise ArtifactError(
            f"the file has {total} bytes, expected {start + len(tail) + comment_size}: "
            f"it is cut short or was changed"
        )
    for place in placed:
        if _read(fd, len(place.header), place.header_at) != place.header:
            raise ArtifactError(f"member {place.member.name!r} is damaged: its header differs")
    if _read(fd, len(tail), start) != tail:
        raise ArtifactError("the zip directory at the end of the file is damaged")
    _verify_data(fd, placed[1:], threads)
    return {p.member.name: p.data_at for p in placed}


def _verify_data(fd: int, placed: Sequence[_Placed], threads: int) -> None:
    work = iter(
        [
            (p.member.name, p.data_at + at, min(CHUNK, p.member.size - at), digest)
            for p in placed
            for at, digest in zip(
                range(0, max(1, p.member.size), CHUNK), p.member.sha256, strict=True
            )
        ]
    )
    lock = threading.Lock()
    failures: list[ArtifactError] = []

    def run() -> None:
        buffer = bytearray(_PIECE)  # small: what allocators were given once, they hardly give back
        while not failures:
            with lock:
                item: Any = next(work, None)
            if item is None:
                return
            name, offset, size, digest = item
            hashed = hashlib.sha256()
            try:
                for at in range(0, size, _PIECE):
                    view = memoryview(buffer)[: min(_PIECE, size - at)]
                    if os.preadv(fd, [view], offset + at) != len(view):
                        break  # cut short: the digest tells
                    hashed.update(view)
            except OSError as error:
                failures.append(ArtifactError(f"member {name!r} cannot be read: {error}"))
                return
            if hashed.hexdigest() != digest:
                failures.append(
                    ArtifactError(
                        f"member {name!r} is damaged: its sha256 differs from the manifest's"
                    )
                )

    helpers = [threading.Thread(target=run, daemon=True) for _ in range(max(0, threads - 1))]
    for helper in helpers:
        helper.start()
    run()
    for helper in helpers:
        helper.join()
    if failures:
        raise failures[0]
