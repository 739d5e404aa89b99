"""Looking at files without loading them, and files whose writing or storage goes wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from byoc.errors import ArtifactError
from byoc.runtime import Program, Session, Target, load_program, save_program
from byoc.runtime.io import archive
from byoc.runtime.io.checking import check_file, inspect_file


@dataclasses.dataclass
class Installed:
    version: str = "1.0"
    available: bool = True
    reason: str = ""


@pytest.fixture
def file(kernel_program: Program, tmp_path) -> Path:
    save_program(
        dataclasses.replace(kernel_program, extras={"report.json": b"{}"}), tmp_path / "m.byoc"
    )
    return tmp_path / "m.byoc"


def problems(file: Path, installed: Installed | None = None) -> dict[str, str]:
    findings = check_file(file, lambda name: installed)
    return {f.subject: f.text for f in findings if f.level != "ok"}


def test_a_file_that_runs_here(file):
    findings = check_file(file, lambda name: Installed())
    assert [f.subject for f in findings] == ["file", "format", "members", "tvm-ffi", "vendor numpy"]
    assert all(f.level == "ok" for f in findings)
    manifest = inspect_file(file)
    assert manifest.name == "kernels" and [s.name for s in manifest.segments] == ["numpy_0"]


def test_vendors_are_compared(file):
    assert "not installed; the file was compiled for 1.0" in problems(file)["vendor numpy"]
    absent = Installed(available=False, reason="no SDK")
    assert problems(file, absent) == {"vendor numpy": "cannot be used: no SDK"}
    other = check_file(file, lambda name: Installed("2.0"))[-1]
    assert (
        other.level == "warning" and "2.0 is installed, the file was compiled for 1.0" in other.text
    )


def test_everything_that_is_wrong_is_told(kernel_program, tmp_path):
    path = tmp_path / "m.byoc"
    target = Target(f"{os.uname().machine}-linux", "future9", ("avx9000",))
    save_program(dataclasses.replace(kernel_program, target=target), path)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archived:
        data[data.find(archived.read("host.so")[:64]) + 9] ^= 1
    path.write_bytes(data)
    found = problems(path)
    assert set(found) == {"members", "cpu", "vendor numpy"}
    assert "member 'host.so' is damaged" in found["members"] and "avx9000" in found["cpu"]


def test_files_that_are_none(tmp_path):
    (tmp_path / "text").write_text("hello")
    assert "not a .byoc file" in problems(tmp_path / "text")["file"]
    with pytest.raises(ArtifactError, match="not a .byoc file"):
        inspect_file(tmp_path / "text")
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(ArtifactError, match=r"cannot read|no regular file"):
            check_file(path, lambda name: None)


def test_nothing_of_the_file_or_of_a_vendor_is_loaded(file):
    """byoc's own reader is; it maps no code but its own, and no TVM."""
    code = """
import sys
from pathlib import Path
from byoc.runtime.io import archive
from byoc.runtime.io.checking import check_file, inspect_file
from byoc.runtime.native import function
function("newest_format")
maps = lambda: {line.split()[-1] for line in Path("/proc/self/maps").open() if " r-xp " in line}
before = maps()
inspect_file(Path(sys.argv[1])); check_file(Path(sys.argv[1]), lambda name: None)
print(maps() - before, "tvm" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True)
    assert done.stdout == "set() False\n", done.stderr


def test_flips_and_truncations(file, resolver, tmp_path, request):
    """Refused, with the member's name where a member is hit; never loaded, never a crash."""
    flips, cuts = (10_000, 1_000) if request.config.getoption("--slow") else (400, 100)
    good = file.read_bytes()
    with zipfile.ZipFile(file) as archived:
        infos = archived.infolist()
        spans = [
            (i.filename, len(good) if n + 1 == len(infos) else infos[n + 1].header_offset)
            for n, i in enumerate(infos)
        ]
        directory = archived.start_dir
    rng = random.Random(1)
    damaged = tmp_path / "damaged.byoc"
    for _ in range(flips):
        bad = bytearray(good)
        place = rng.randrange(len(good))
        bad[place] ^= 1 << rng.randrange(8)
        damaged.write_bytes(bad)
        with pytest.raises(ArtifactError) as caught:
            load_program(damaged, resolver)
        name = next(name for name, end in spans if place < end)
        if name != "manifest.json" and place < directory:
            assert repr(name) in str(caught.value), place
    for _ in range(cuts):
        damaged.write_bytes(good[: rng.randrange(len(good))])
        with pytest.raises(ArtifactError, match=r"cut short|not a \.byoc file"):
            load_program(damaged, resolver)


SAVE = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import numpy as np
from byoc.runtime import save_program
from runtime_programs import elementwise
weights = np.full(4_000_000, {value}, "float32")
program = elementwise("x[0] * c[0][0]", constants=(weights,))
print("ready", flush=True)
for _ in range({count}):
    save_program(program, Path({path!r}))
    print("saved", flush=True)
"""


def _saver(path: Path, value: int, count: int) -> subprocess.Popen[str]:
    code = SAVE.format(folder=str(Path(__file__).parent), value=value, count=count, path=str(path))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_killed_while_saving(make, resolver, tmp_path, request):
    path = tmp_path / "m.byoc"
    save_program(make("x[0] * 7"), path)
    old = path.read_bytes()
    slow = request.config.getoption("--slow")
    for pause in np.linspace(0, 0.05, 60) if slow else (0.0, 0.005, 0.02):
        child = _saver(path, 3, 1000)
        assert child.stdout.readline() == "ready\n"
        time.sleep(pause)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        y = Session(load_program(path, resolver))(np.ones((2, 3), "float32"))
        assert (y == (7 if path.read_bytes() == old else 3)).all()


def test_two_processes_save_one_path(resolver, tmp_path):
    path = tmp_path / "m.byoc"
    children = [_saver(path, value, 5) for value in (2, 5)]
    seen = set()
    while any(child.poll() is None for child in children):
        if path.exists():
            y = Session(load_program(path, resolver))(np.ones((2, 3), "float32"))
            assert y.min() == y.max()
            seen.add(int(y[0, 0]))
    for child in children:
        child.communicate()
        assert child.returncode == 0
    assert seen <= {2, 5} and seen
    assert [p.name for p in tmp_path.iterdir()] == ["m.byoc"]  # nothing left behind


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB; needs the right to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no program to mount with: {error}")
    if mounted.returncode:
        pytest.skip(f"may not mount a file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_full(make, resolver, small_disk):
    path = small_disk / "m.byoc"
    save_program(make("x[0] * 7"), path)
    old = path.read_bytes()
    big = make("x[0]", constants=(np.ones(1_000_000, "float32"),))
    with pytest.raises(ArtifactError, match=r"cannot write .*m\.byoc: No space left on device"):
        save_program(big, path)
    assert path.read_bytes() == old and [p.name for p in small_disk.iterdir()] == ["m.byoc"]
    y = Session(load_program(path, resolver))(np.ones((2, 3), "float32"))
    assert (y == 7).all()
    save_program(make("x[0] * 8"), path)  # what there was room for before, there is again
    assert (Session(load_program(path, resolver))(np.ones((2, 3), "float32")) == 8).all()


def test_disk_full(make, resolver, tmp_path):
    """A limit on the size of files stands for a full disk: the write fails half way."""
    path = tmp_path / "m.byoc"
    save_program(make("x[0] * 7"), path)
    old = path.read_bytes()
    big = make("x[0]", constants=(np.zeros(1_000_000, "float32"),))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        with pytest.raises(ArtifactError, match=r"cannot write .*m\.byoc: File too large"):
            save_program(big, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == ["m.byoc"]


@pytest.mark.parametrize("name", ["plan.json", "host.so", "segments/numpy_0.bin"])
def test_a_member_that_the_file_does_not_have(file, tmp_path, name):
    """All hashes are in order; loading would say so, and so does checking."""
    with zipfile.ZipFile(file) as old:
        data = {n: old.read(n) for n in old.namelist() if n not in (archive.MANIFEST, name)}
        document = json.loads(old.read(archive.MANIFEST))

    def encode(members):
        document["members"] = [
            {"name": m.name, "size": m.size, "crc32": f"{m.crc32:08x}", "sha256": list(m.sha256)}
            for m in members
        ]
        return json.dumps(document).encode()

    path = tmp_path / "less.byoc"
    with path.open("wb") as out:
        archive.write_archive(out, [(n, len(d), [d]) for n, d in data.items()], encode)
    found = [f.text for f in check_file(path, lambda name: None) if f.level == "problem"]
    assert f"member {name!r} is missing" in found
