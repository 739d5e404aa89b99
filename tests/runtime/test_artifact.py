"""The .byoc file: round trips, what is stored once, and every way a file can be wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byoc.errors import ArtifactError, CompileError, ExecutionError, VendorError
from byoc.runtime import Program, Session, Target, cpu_features, load_program, save_program
from byoc.runtime.io import archive, manifest
from byoc.segment import Artifact
from byoc.vendor import NativeRuntime


@pytest.fixture(scope="module")
def program(kernel_program: Program) -> Program:
    return dataclasses.replace(
        kernel_program,
        target=Target("x86_64-unknown-linux-gnu", "cascadelake", ("avx2",))
        if "avx2" in (cpu_features() or ())
        else None,
        extras={"report.json": b"{}"},
    )


@pytest.fixture(scope="module")
def file(program: Program, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "model.byoc"
    save_program(program, path)
    return path


def _edit(file: Path, target: Path, change) -> Path:
    """The artifact with another manifest (`change` gets it as a dict), hashes and all in order."""
    with zipfile.ZipFile(file) as source:
        names = [n for n in source.namelist() if n != archive.MANIFEST]
        data = {name: source.read(name) for name in names}
        document = json.loads(source.read(archive.MANIFEST))
    change(document)

    def encode(members) -> bytes:
        if "members" in document:
            document["members"] = [
                {
                    "name": m.name,
                    "size": m.size,
                    "crc32": f"{m.crc32:08x}",
                    "sha256": list(m.sha256),
                }
                for m in members
            ]
        return json.dumps(document).encode()

    with target.open("wb") as out:
        archive.write_archive(out, [(n, len(d), [d]) for n, d in data.items()], encode)
    return target


def test_round_trip(program, file, resolver):
    loaded = load_program(file, resolver)
    assert loaded.name == program.name and loaded.body == program.body
    assert (loaded.inputs, loaded.outputs) == (program.inputs, program.outputs)
    assert loaded.target == program.target and loaded.extras == {"report.json": b"{}"}
    assert loaded.host == program.host and loaded.artifacts[0].blob == b"x[0] + x[1]"
    assert loaded.vendors["numpy"].version == "1.0"
    constant = loaded.constants[0]
    assert not constant.flags.writeable and constant.__array_interface__["data"][0] % 64 == 0
    x = np.random.default_rng(0).standard_normal((64, 16)).astype("float32")
    np.testing.assert_array_equal(Session(loaded)(x), Session(program)(x))


def test_saved_again_it_is_the_same_file(file, resolver, tmp_path):
    save_program(load_program(file, resolver), tmp_path / "again.byoc")
    assert (tmp_path / "again.byoc").read_bytes() == file.read_bytes()
    # and over itself, while it is mapped
    loaded = load_program(tmp_path / "again.byoc", resolver)
    save_program(loaded, tmp_path / "again.byoc")
    assert (loaded.constants[0] == 0.5).all()


def test_any_zip_tool_reads_it(file):
    with zipfile.ZipFile(file) as archived:
        assert archived.testzip() is None
        assert archived.namelist() == [
            "manifest.json", "plan.json", "host.so", "extras/report.json", "segments/numpy_0.bin",
            "weights.bin",
        ]  # fmt: skip
        assert all(i.compress_type == zipfile.ZIP_STORED for i in archived.infolist())
        assert archived.read("segments/numpy_0.bin") == b"x[0] + x[1]"


def test_equal_arrays_are_stored_once(make, resolver, tmp_path):
    big = np.random.default_rng(0).standard_normal(100_000).astype("float32")
    views = (big, big, big.copy(), big.reshape(100, 1000), big.view("int32"), big[::-1])
    program = make("x[0] + len(c)", constants=views)
    program = dataclasses.replace(program, constants=(big.copy(),))
    save_program(program, tmp_path / "m.byoc")
    assert 2 * big.nbytes < (tmp_path / "m.byoc").stat().st_size < 2.2 * big.nbytes
    loaded = load_program(tmp_path / "m.byoc", resolver)
    for before, after in zip(views, loaded.artifacts[0].constants, strict=True):
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(before, after)


def test_arrays_of_every_kind_survive(make, resolver, tmp_path):
    rng = np.random.default_rng(0)
    arrays = (
        np.float32(3).reshape(()),
        np.empty((0, 5), "int64"),
        rng.standard_normal((3, 5)).astype(ml_dtypes.bfloat16),
        rng.standard_normal((2, 2)).astype(ml_dtypes.float8_e4m3fn),
        rng.integers(0, 2, 7).astype(bool),
        np.asfortranarray(rng.standard_normal((4, 6))),
        rng.standard_normal(9).astype(">f4"),
    )
    file = tmp_path / "m.byoc"
    save_program(make("x[0]", constants=arrays), file)
    loaded = load_program(file, resolver).artifacts[0].constants
    for read, array in zip(loaded, arrays, strict=True):
        assert read.dtype == array.dtype.newbyteorder("=") and read.shape == array.shape
        assert not read.flags.writeable
        np.testing.assert_array_equal(read, array)
    for change, message in (({"shape": [400, 6]}, "reaches beyond"), ({"offset": 8}, "not legal")):
        bad = _edit(file, tmp_path / "bad.byoc", lambda m: m["arrays"][5].update(change))  # noqa: B023
        with pytest.raises(ArtifactError, match=message):
            load_program(bad, resolver)


def test_every_flipped_bit_is_found(file, resolver, tmp_path):
    """Headers, padding, directory, data: 400 random bits and every byte of the small parts."""
    good = file.read_bytes()
    rng = random.Random(0)
    places = [rng.randrange(len(good)) for _ in range(400)]
    places += [*range(60), *range(len(good) - 300, len(good))]
    damaged = tmp_path / "damaged.byoc"
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.randrange(8)
        damaged.write_bytes(bad)
        with pytest.raises(ArtifactError) as caught:
            load_program(damaged, resolver)
        assert str(damaged) in str(caught.value)


@pytest.mark.parametrize(
    "member", ["plan.json", "host.so", "extras/report.json", "segments/numpy_0.bin", "weights.bin"]
)
def test_a_damaged_member_is_named(file, member, resolver, tmp_path):
    good = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archived:
        data = archived.read(member)
    at = (
        good.find(data[:64])
        if member != "extras/report.json"
        else good.find(data, good.find(member.encode()))
    )
    good[at] ^= 4
    (tmp_path / "bad.byoc").write_bytes(good)
    with pytest.raises(ArtifactError, match=f"member '{member}' is damaged: its sha256 differs"):
        load_program(tmp_path / "bad.byoc", resolver)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_every_truncation_is_found(file, resolver, tmp_path, data):
    good = file.read_bytes()
    size = data.draw(st.integers(0, len(good) - 1))
    extra = data.draw(st.binary(max_size=40))
    (tmp_path / "cut.byoc").write_bytes(good[:size] + extra)
    if good[:size] + extra != good:
        with pytest.raises(ArtifactError, match=r"cut short|not a \.byoc file|damaged"):
            load_program(tmp_path / "cut.byoc", resolver)


def test_what_is_no_artifact(tmp_path, resolver):
    (tmp_path / "empty.byoc").touch()
    (tmp_path / "text.byoc").write_text("hello")
    with zipfile.ZipFile(tmp_path / "other.byoc", "w") as other:
        other.writestr("manifest.json", "{}")
    cases = {
        "empty.byoc": "not a .byoc file (0 bytes",
        "text.byoc": "not a .byoc file (5 bytes",
        "other.byoc": "written by another tool",
        "absent.byoc": "No such file or directory",
        ".": "no regular file",
    }
    for name, message in cases.items():
        with pytest.raises(ArtifactError) as caught:
            load_program(tmp_path / name, resolver)
        assert message in str(caught.value)


def test_other_format_version(file, resolver, tmp_path):
    bad = _edit(file, tmp_path / "m.byoc", lambda m: m.update(format=8, byoc="9.9"))
    with pytest.raises(ArtifactError, match=r"has format 8, this byoc reads format 7 .*byoc 9\.9"):
        load_program(bad, resolver)


def test_files_of_format_1_are_still_read(program, file, resolver, tmp_path):
    def change(document):
        document["format"] = 1
        del document["twins"], document["healing"]

    loaded = load_program(_edit(file, tmp_path / "m.byoc", change), resolver)
    assert loaded.twins == {} and loaded.body == program.body


def test_other_cpu(file, resolver, tmp_path):
    def change(document):
        document["target"] = {
            "triple": f"{os.uname().machine}-linux",
            "cpu": "future9",
            "features": ["avx9000"],
        }

    with pytest.raises(
        ArtifactError, match="'future9' and needs features that this CPU lacks: avx9000"
    ):
        load_program(_edit(file, tmp_path / "m.byoc", change), resolver)

    def other(document):
        document["target"] = {"triple": "sparc64-linux", "cpu": "t5", "features": []}

    with pytest.raises(ArtifactError, match="compiled for sparc64"):
        load_program(_edit(file, tmp_path / "m.byoc", other), resolver)


def test_a_target_that_wants_nothing(program, resolver, tmp_path):
    easy = dataclasses.replace(program, target=Target("", "", ()))
    save_program(easy, tmp_path / "m.byoc")
    assert load_program(tmp_path / "m.byoc", resolver).target == easy.target


def test_other_versions(file, resolver, tmp_path, monkeypatch):
    bad = _edit(file, tmp_path / "m.byoc", lambda m: m.update(tvm_ffi="0.9.3"))
    with pytest.raises(ArtifactError, match=r"apache-tvm-ffi 0\.9\.3, .* is installed"):
        load_program(bad, resolver)
    bad = _edit(file, tmp_path / "m.byoc", lambda m: m.update(body="vm", tvm="0.20.1"))
    with pytest.raises(ArtifactError, match=r"apache-tvm 0\.20\.1, 0\.27"):
        load_program(bad, resolver)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("members"), "no manifest"),
        (lambda m: m.update(inputs=3), "no manifest"),
        (lambda m: m.pop("format"), "no manifest"),
        (lambda m: m["segments"][0].update(name="../../etc/passwd"), "is missing"),
        (lambda m: m["constants"].append(77), "not in the table"),
        (lambda m: m["arrays"][0].update(offset=2**40), "reaches beyond"),
        (lambda m: m["arrays"][0].update(shape=[-1, 3]), "is not legal"),
        (lambda m: m["arrays"][0].update(dtype="float31"), "neither to numpy nor"),
        (lambda m: m.update(extras=["nothing"]), "member 'extras/nothing' is missing"),
        (lambda m: m.update(body="vm"), "member 'vm.json' is missing"),
    ],
)
def test_hostile_manifests(file, resolver, tmp_path, change, message):
    with pytest.raises(ArtifactError, match=message):
        load_program(_edit(file, tmp_path / "m.byoc", change), resolver)


def test_member_names_lead_nowhere():
    for name in ("../x", "/x", "a//b", "a/../b", "", "a\\b", ".x", "a\0", "x" * 2000):
        with pytest.raises(ArtifactError, match="no name for a member"):
            archive.check_name(name)
    assert archive.check_name("segments/dnnl_0.bin")


def test_a_vendor_that_is_missing_or_changed(file, resolver):
    def missing(name: str):
        raise VendorError(f"vendor {name!r} is not installed")

    with pytest.raises(VendorError, match="'numpy' is not installed"):
        load_program(file, missing)
    with pytest.raises(ArtifactError, match="had a python runtime .* has a native runtime"):
        load_program(file, lambda name: NativeRuntime("byoc_numpy"))


def test_a_path_that_cannot_be_written(program, tmp_path):
    (tmp_path / "folder").mkdir()
    for path, message in (
        (tmp_path / "absent" / "m.byoc", "No such file"),
        (tmp_path / "folder", "Is a directory"),
        (Path("/proc/m.byoc"), "cannot write"),
    ):
        with pytest.raises(ArtifactError, match=message):
            save_program(program, path)
    assert [p.name for p in tmp_path.rglob("*")] == ["folder"]


def test_a_failure_while_saving_leaves_the_old_file(program, tmp_path, monkeypatch):
    path = tmp_path / "m.byoc"
    path.write_bytes(b"old")

    class Host:
        module = None

        def export(self) -> bytes:
            raise CompileError("no compiler")

    with pytest.raises(CompileError):
        save_program(dataclasses.replace(program, host=Host()), path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "_write_member", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        save_program(program, path)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["m.byoc"]


def test_segment_names_must_be_plain(program, tmp_path):
    bad = dataclasses.replace(program, artifacts=(Artifact("../up", "numpy", b""),))
    with pytest.raises(ArtifactError, match="no name for a member"):
        save_program(bad, tmp_path / "m.byoc")


def test_many_chunks(make, resolver, tmp_path):
    """Members longer than a chunk: every chunk has its own hash."""
    weights = np.arange(archive.CHUNK * 5 // 8, dtype="int64")  # five chunks
    save_program(make("x[0] + c[0][-1]", dtype="int64", constants=(weights,)), tmp_path / "m.byoc")
    loaded = load_program(tmp_path / "m.byoc", resolver)
    np.testing.assert_array_equal(loaded.artifacts[0].constants[0], weights)
    entries = manifest.decode(zipfile.ZipFile(tmp_path / "m.byoc").read("manifest.json")).members
    assert [len(m.sha256) for m in entries if m.name == "weights.bin"] == [5]
    data = bytearray((tmp_path / "m.byoc").read_bytes())
    data[len(data) - archive.CHUNK // 2] ^= 1
    (tmp_path / "m.byoc").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"weights\.bin"):
        load_program(tmp_path / "m.byoc", resolver)


def test_memory_stays_near_one_copy_of_the_weights(make, tmp_path):
    """A vendor that packs its weights: peak RSS of a fresh process holds them once, not twice."""
    size = 64 << 20
    weights = np.random.default_rng(0).integers(0, 255, size, dtype="uint8")
    program = make("x[0]", constants=tuple(np.split(weights, 16)))
    save_program(program, tmp_path / "m.byoc")
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from byoc.runtime import Session, load_program
from byoc.runtime.io.weights import release
from byoc.vendor import PythonRuntime
def init(blob, constants, options):
    packed = []
    for c in constants:
        packed.append(c + 1)
        release(c)
    return lambda inputs, outputs: outputs[0].fill(packed[0][0])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
before = peak()
session = Session(load_program(Path(sys.argv[1]), lambda name: PythonRuntime(init)))
session(np.zeros((2, 3), "float32"))
print(peak() - before)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "m.byoc")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 1.5 * size


def test_cpu_features_are_those_llvm_sees():
    from byoc.tir.target import host_machine

    features = cpu_features()
    assert features is None or set(host_machine().features) <= features


def test_a_file_that_names_other_inputs_than_its_vm_function_takes(tmp_path):
    import byoc
    from byoc.testing.zoo import build

    byoc.compile(build("mlp", batch="n", hidden=8, features=4)).save(tmp_path / "m.byoc")

    def twice(document):
        document["inputs"] = [*document["inputs"], {**document["inputs"][0], "name": "more"}]

    exe = byoc.load(_edit(tmp_path / "m.byoc", tmp_path / "bad.byoc", twice))
    x = np.ones((2, 4), np.float32)
    with pytest.raises(ExecutionError, match="takes 1 inputs, the file names 2: it is damaged"):
        exe.run({exe.inputs[0].name: x, "more": x})
