"""One reader for all: what was verified is what is used, whoever writes to the file meanwhile."""

from __future__ import annotations

import ast
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from test_artifact import _edit, file, program  # noqa: F401 (fixtures)

import byoc
from byoc.errors import ArtifactError
from byoc.ir.arrays import from_numpy
from byoc.runtime import Session, load_program, save_program
from byoc.runtime.host_library import load_host
from byoc.runtime.io import archive
from byoc.runtime.io.artifact_file import ArtifactFile, open_artifact

X = np.random.default_rng(0).standard_normal((64, 16)).astype("float32")


def spans(path: Path) -> dict[str, tuple[int, int]]:
    """Member → (offset of its data, size)."""
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archived:
        return {
            i.filename: (
                i.header_offset + 30
                + int.from_bytes(data[i.header_offset + 26 : i.header_offset + 28], "little")
                + int.from_bytes(data[i.header_offset + 28 : i.header_offset + 30], "little"),
                i.file_size,
            )
            for i in archived.infolist()
        }  # fmt: skip


def overwrite(path: Path, *names: str) -> None:
    """Zeros in place of members' bytes."""
    where = spans(path)
    with path.open("r+b") as out:
        for name in names:
            out.seek(where[name][0])
            out.write(bytes(where[name][1]))


@pytest.fixture
def copy(file, tmp_path) -> Path:  # noqa: F811
    path = tmp_path / "copy.byoc"
    path.write_bytes(file.read_bytes())
    return path


def test_members_are_those_that_were_verified(copy):
    with zipfile.ZipFile(copy) as archived:
        expected = {name: archived.read(name) for name in archived.namelist()}
    names = [name for name in expected if name not in (archive.MANIFEST, "weights.bin")]
    with open_artifact(copy) as (artifact, _):
        assert artifact.text == expected[archive.MANIFEST]
        artifact.verify()
        overwrite(copy, archive.MANIFEST, *names)
        assert artifact.manifest().name == "kernels"
        for name in names:
            assert artifact.take(name) == expected[name]
            with pytest.raises(ArtifactError, match=f"member '{name}' is used twice"):
                artifact.take(name)
        with pytest.raises(ArtifactError, match=r"member 'weights\.bin' is missing"):
            artifact.take("weights.bin")
    with pytest.raises(ArtifactError, match="damaged"), open_artifact(copy):
        pass


def test_a_member_changed_after_the_manifest_was_read(copy):
    with (
        pytest.raises(ArtifactError, match=r"copy\.byoc: member 'host\.so' is damaged"),
        open_artifact(copy) as (artifact, _),
    ):
        artifact.manifest()
        overwrite(copy, "host.so")
        artifact.verify()


def test_code_changed_once_it_was_verified_does_not_run(copy, resolver, monkeypatch):
    """A writer at the worst moment: after the last hash, before anything is loaded."""
    whole = ArtifactFile.verify

    def verify(self: ArtifactFile) -> None:
        whole(self)
        overwrite(copy, archive.MANIFEST, "plan.json", "host.so", "segments/numpy_0.bin")

    monkeypatch.setattr(ArtifactFile, "verify", verify)
    loaded = load_program(copy, resolver)
    np.testing.assert_allclose(Session(loaded)(X), X + 2.5, rtol=1e-6)


def test_a_writer_who_never_rests(copy, resolver):
    """Every load gives the program that was saved, or an error that names a damaged member."""
    with zipfile.ZipFile(copy) as archived:
        blob, host = archived.read("segments/numpy_0.bin"), archived.read("host.so")
    at, stop = spans(copy)["segments/numpy_0.bin"][0], threading.Event()

    def write() -> None:
        with copy.open("r+b", buffering=0) as out:
            while not stop.is_set():
                for text in (blob.replace(b"+", b"-"), blob):
                    out.seek(at)
                    out.write(text)
                stop.wait(0.0005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(200):
            try:
                loaded = load_program(copy, resolver)
            except ArtifactError as error:
                assert "member 'segments/numpy_0.bin' is damaged" in str(error)
            else:
                assert loaded.artifacts[0].blob == blob and loaded.host == host
            loaded = None
    finally:
        stop.set()
        writer.join()


def test_libraries_of_equal_file_numbers_are_not_mixed_up(kernel_library, copy):
    """The loader knows libraries by path; each comes from a file whose number is used again."""
    first = load_host(kernel_library, vm=False)
    second = load_host(kernel_library, vm=False)
    functions = [m.get_function("add_one") for m in (first, second)]
    maps = Path("/proc/self/maps").read_text().splitlines()
    assert len({line.split()[4] for line in maps if "/memfd:byoc.so" in line}) >= 2  # inodes
    for function in functions:
        y = from_numpy(np.zeros_like(X))
        function(from_numpy(X), y)
        np.testing.assert_array_equal(np.from_dlpack(y), X + 1)


def test_host_libraries_need_no_folder(kernel_program, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    np.testing.assert_allclose(Session(kernel_program)(X), X + 2.5, rtol=1e-6)
    with pytest.raises(ArtifactError, match="the host library does not load"):
        load_host(b"\x7fELF" + bytes(100), vm=False)


@pytest.mark.parametrize("again", ['"name": "other"', r'"n\u0061me": "other"'])
def test_a_manifest_that_can_be_read_in_two_ways(tmp_path, resolver, again):
    path = tmp_path / "m.byoc"
    text = b'{"format": 2, "name": "one", %s}' % again.encode()
    with path.open("wb") as out:
        archive.write_archive(out, [], lambda members: text)
    with pytest.raises(ArtifactError, match="is no manifest: .*has a key twice"):
        load_program(path, resolver)


def test_names_of_a_file_are_printed_harmlessly(file, resolver, tmp_path):  # noqa: F811
    def change(document):
        document["segments"][0]["name"] = "\x1b[2J\u009b\n"

    with pytest.raises(ArtifactError) as caught:
        load_program(_edit(file, tmp_path / "m.byoc", change), resolver)
    assert r"member 'segments/\x1b[2J\xc2\x9b\x0a.bin' is missing" in str(caught.value)


def test_text_that_is_none(tmp_path, resolver):
    path = tmp_path / "m.byoc"
    for text in (
        b'{"format": 2, "\xff": 1}',
        rb'{"format": 2, "name": "\ud800"}',
        b"\xfe\xff\x00{",
    ):
        with path.open("wb") as out:
            archive.write_archive(out, [], lambda members: text)  # noqa: B023
        with pytest.raises(ArtifactError, match="is no manifest"):
            load_program(path, resolver)


def test_python_reads_no_archive():
    """Who reads zip structure, hashes or CPU features, is not in the runtime's Python."""
    root = Path(byoc.__file__).parent / "runtime"
    for path in root.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        assert not used & {"struct.unpack", "struct.unpack_from", "zipfile.ZipFile"}, path
        imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        if path.name != "archive.py":  # which writes
            assert not imported & {"hashlib", "zlib", "struct", "zipfile"}, path


def test_one_reader_for_one_writer(kernel_program, resolver, tmp_path):
    """What Python writes, C++ reads: the same text, and the digest that the comment holds."""
    path = tmp_path / "m.byoc"
    save_program(kernel_program, path)
    with open_artifact(path) as (artifact, fd), zipfile.ZipFile(path) as archived:
        assert artifact.text == archived.read(archive.MANIFEST)
        assert archived.comment.endswith(artifact.digest.encode())
        assert artifact.signature is None and fd > 2
