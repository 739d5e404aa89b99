"""Files whose hashes are all in order, and whose contents are meant to fill memory or to hang."""

from __future__ import annotations

import hashlib
import json
import struct
import time
import tracemalloc
import zipfile

import pytest
from test_artifact import file, program  # noqa: F401 (fixtures)

from byoc.errors import ByocError
from byoc.runtime import Session, load_program
from byoc.runtime.io import archive

GiB = 1 << 30


def rewritten(source, target, manifest=None, plan=None):
    """The artifact with changes to manifest and plan (as dicts), hashes and all."""
    with zipfile.ZipFile(source) as old:
        data = {n: old.read(n) for n in old.namelist() if n != archive.MANIFEST}
        document = json.loads(old.read(archive.MANIFEST))
    if plan is not None:
        steps = json.loads(data["plan.json"])
        plan(steps)
        data["plan.json"] = json.dumps(steps).encode()

    def encode(members):
        document["members"] = [
            {"name": m.name, "size": m.size, "crc32": f"{m.crc32:08x}", "sha256": list(m.sha256)}
            for m in members
        ]
        if manifest is not None:
            manifest(document)
        return json.dumps(document).encode()

    with target.open("wb") as out:
        archive.write_archive(out, [(n, len(d), [d]) for n, d in data.items()], encode)
    return target


def refused(path, resolver, match, named=True):
    """Loading and checking: a named error within seconds and a few megabytes."""
    began = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(ByocError, match=match) as error:
            Session(load_program(path, resolver))
        assert not named or str(path) in str(error.value)
        assert tracemalloc.get_traced_memory()[1] < 256 << 20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 60  # hours, were it not refused


def test_a_compressed_archive_is_not_unpacked(tmp_path, resolver):
    """300 MiB of zeros in two."""
    path = tmp_path / "bomb.byoc"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb,
        bomb.open(archive.MANIFEST, "w", force_zip64=True) as member,
    ):
        for _ in range(75):
            member.write(bytes(4 << 20))
    assert path.stat().st_size < 2 << 20
    refused(path, resolver, "end record is missing|is damaged")


def test_a_manifest_of_gigabytes(tmp_path, resolver):
    """A sparse file: it takes no room on disk, and would take 8 GiB of memory."""
    name = archive.MANIFEST.encode()
    extra = struct.pack("<HHQQ", 1, 16, 8 * GiB, 8 * GiB)
    head = b"PK\3\4" + struct.pack("<HHHHHIIIHH", 45, 0, 0, 0, 33, 0, 2**32 - 1, 2**32 - 1,
                                   len(name), len(extra))  # fmt: skip
    path = tmp_path / "sparse.byoc"
    with path.open("wb") as out:
        out.write(head + name + extra)
        out.truncate(8 * GiB + 4096)
        out.seek(0, 2)
        out.write(b"byoc manifest sha256 " + hashlib.sha256(b"").hexdigest().encode())
    refused(path, resolver, "claims 8589934592 bytes")


def _member(**fields):
    return lambda m: m["members"][-1].update(fields)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        pytest.param(_member(size=1 << 62), "not described rightly", id="member-size"),
        pytest.param(_member(size=1 << 80), "not described rightly", id="member-size-80"),
        pytest.param(_member(crc32="f" * 5000), "member 'weights.bin' is not desc", id="crc"),
        pytest.param(_member(crc32="-1"), "member 'weights.bin' is not desc", id="crc-negative"),
        pytest.param(_member(sha256=["0" * 64] * 300_000), "not described rightly", id="digests"),
        pytest.param(
            lambda m: m["arrays"][0].update(shape=[1 << 62] * 200_000), "is not legal", id="rank"
        ),
        pytest.param(lambda m: m["arrays"][0].update(shape=[1 << 62] * 9), "reaches", id="shape"),
        pytest.param(lambda m: m.update(healing=3), "no manifest", id="healing"),
        pytest.param(lambda m: m.update(format=[1]), "format", id="format"),
    ],
)
def test_manifests_that_claim_too_much(file, resolver, tmp_path, change, match):  # noqa: F811
    refused(rewritten(file, tmp_path / "m.byoc", manifest=change), resolver, match)


@pytest.mark.parametrize("deep", [100, 200_000])
def test_a_manifest_within_a_manifest(file, resolver, tmp_path, deep):  # noqa: F811
    path = tmp_path / "deep.byoc"
    with path.open("wb") as out:
        archive.write_archive(out, [], lambda members: b"[" * deep + b"]" * deep)
    refused(path, resolver, "is no manifest")


@pytest.mark.parametrize("number", ["9" * 10_000, "1e999"])
def test_numbers_that_are_too_long(file, resolver, tmp_path, number):  # noqa: F811
    path = tmp_path / "long.byoc"
    with path.open("wb") as out:
        archive.write_archive(out, [], lambda members: b'{"format": %s}' % number.encode())
    refused(path, resolver, "is no manifest|has format inf")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda p: p.update(arena_bytes=1 << 60), id="arena"),
        pytest.param(lambda p: p["tensors"][0].update(shape=[1 << 40, 1 << 40]), id="tensor"),
        pytest.param(lambda p: p["tensors"][0].update(shape=[1] * 300_000), id="rank"),
    ],
)
def test_plans_that_ask_for_all_memory(file, resolver, tmp_path, change):  # noqa: F811
    path = rewritten(file, tmp_path / "p.byoc", plan=change)
    match = r"plan.arena_bytes: 1152921504606846976 is not|plan.tensors\[0\].shape: "
    refused(path, resolver, match)
