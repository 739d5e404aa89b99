"""`examples/cpp`, built against the installed package and run without Python."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import byoc
from byoc.cli.config import folders
from byoc.runtime import num_threads

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cpp"
TOOLS = all(shutil.which(tool) for tool in ("cmake", "c++", "cc"))
pytestmark = pytest.mark.skipif(not TOOLS, reason="needs cmake and a C and C++ compiler")


def run(*command: object, **env: str) -> str:
    """Stdout of a program that knows nothing of this environment."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path, cmake_dir: Path) -> Path:
    path = {"PATH": os.environ["PATH"]}
    run("cmake", "-S", EXAMPLE, "-B", folder, f"-Dbyoc_DIR={cmake_dir}", **path)
    run("cmake", "--build", folder, **path)
    return folder


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("build"), folders()["cmake_dir"])


@pytest.fixture(scope="module")
def model(zoo, tmp_path_factory):
    """An artifact on dnnl and the host, an input, and Python's answer."""
    folder = tmp_path_factory.mktemp("model")
    executable = byoc.compile(zoo("squeezenet"), vendors=["dnnl"])
    executable.save(folder / "m.byoc")
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype("float32")
    x.tofile(folder / "x.bin")
    return folder, np.asarray(byoc.load(folder / "m.byoc")(x)).ravel()


def test_the_example_is_short():
    assert len((EXAMPLE / "main.cc").read_text().splitlines()) <= 60


def test_it_gives_the_answer_of_python(programs, model):
    folder, expected = model
    out = run(programs / "classify", folder / "m.byoc", folder / "x.bin", folder / "y.bin")
    y = np.fromfile(folder / "y.bin", "float32")
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-7)
    best = [int(line.split()[1]) for line in out.splitlines()]
    assert best == list(np.argsort(-y, kind="stable")[:5])


def test_no_python_in_the_process(programs, model):
    folder, _ = model
    loaded = run(
        programs / "classify",
        folder / "m.byoc",
        LD_DEBUG="files",
        LD_DEBUG_OUTPUT=str(folder / "ld"),
    )
    (log,) = folder.glob("ld.*")
    libraries = {
        line.split("file=")[1].split()[0].rsplit("/", 1)[-1]
        for line in log.read_text().splitlines()
        if "file=" in line
    }
    assert loaded.startswith("class ")
    assert {"libbyoc_runtime.so", "libbyoc_dnnl.so", "libtvm_ffi.so"} <= libraries
    assert not [name for name in libraries if "python" in name or "libtvm_runtime" in name]


def test_plain_c(programs, model):
    folder, _ = model
    out = run(programs / "run_c", folder / "m.byoc")
    assert "602112 bytes" in out and out.endswith("squeezenet has run\n")


def test_the_program_of_the_documentation(model, tmp_path):
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```cpp\n(.*?)^```", text, re.M | re.S)
    (tmp_path / "main.cc").write_text(program)
    places = folders()
    run(
        "c++", "-std=c++17", tmp_path / "main.cc", "-o", tmp_path / "app",
        f"-I{places['include_dir']}", f"-L{places['lib_dir']}", "-lbyoc_runtime",
        f"-Wl,-rpath,{places['lib_dir']}", "-Wl,--allow-shlib-undefined",
        PATH=os.environ["PATH"],
    )  # fmt: skip
    # oneDNN's scratch memory depends on the number of threads
    out = run(tmp_path / "app", model[0] / "m.byoc", BYOC_NUM_THREADS=str(num_threads()))
    found = re.fullmatch(r"squeezenet: 1000 numbers, peak (\d+) bytes\n", out)
    exe = byoc.load(model[0] / "m.byoc")
    # Python keeps small blobs, C++ gives them back.
    kept = sum(len(artifact.blob) for artifact in exe._program.artifacts)
    assert found is not None and int(found[1]) == exe.memory.peak_bytes - kept


def test_a_bad_file_is_one_message(programs, model):
    folder, _ = model
    (folder / "cut.byoc").write_bytes((folder / "m.byoc").read_bytes()[:100_000])
    done = subprocess.run(
        [programs / "classify", folder / "cut.byoc"], capture_output=True, text=True, env={}
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "the file is cut short" in done.stderr


def test_the_folder_may_move(model, tmp_path):
    """Libraries, headers and CMake files, copied elsewhere: what goes to a machine without pip."""
    import tvm_ffi

    where = folders()
    moved = tmp_path / "elsewhere" / "byoc"
    shutil.copytree(where["lib_dir"], moved / "lib")
    shutil.copytree(where["include_dir"], moved / "include")
    found = list(Path(tvm_ffi.__file__).parent.glob("lib/libtvm_ffi.so"))
    dnnl = [p for p in _libraries_of(where["lib_dir"] / "libbyoc_dnnl.so") if "libdnnl" in p.name]
    assert found and dnnl
    for library in (*found, *dnnl):
        shutil.copy(library, moved / "lib" / library.name)
    programs = build(tmp_path / "build", moved / "lib" / "cmake" / "byoc")
    folder, expected = model
    run(programs / "classify", folder / "m.byoc", folder / "x.bin", tmp_path / "y.bin")
    y = np.fromfile(tmp_path / "y.bin", "float32")
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-7)
    used = run("/usr/bin/ldd", programs / "classify") if Path("/usr/bin/ldd").exists() else ""
    assert str(where["lib_dir"]) not in used


def _libraries_of(library: Path) -> list[Path]:
    lines = run("ldd", library, PATH=os.environ["PATH"]).splitlines()
    return [Path(line.split("=> ")[1].split(" (")[0]) for line in lines if "=> /" in line]


@pytest.mark.slow
def test_an_installed_wheel(model, tmp_path):
    """A wheel, built from this tree and installed by pip into an environment of its own."""
    pip = (sys.executable, "-m", "pip")
    run(
        *pip, "wheel", "-q", "--no-build-isolation", "--no-deps", "-w", tmp_path, ROOT, **os.environ
    )
    (wheel,) = tmp_path.glob("*.whl")
    fresh = tmp_path / "env"
    run(sys.executable, "-m", "venv", "--without-pip", fresh)
    python = fresh / "bin" / "python"
    run(*pip, "-q", "--python", python, "install", "--no-index", "--no-deps", wheel, **os.environ)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    for name in ("apache-tvm-ffi", "onednn-cpu-gomp"):  # C++ finds these two beside byoc
        _install_again(name, site)
    here = Path(sysconfig.get_path("purelib"))  # the others
    (site / "others.pth").write_text(f"{here}\n")

    cmake = Path(run(fresh / "bin" / "byoc", "config", "--cmake-dir", PATH="").strip())
    assert site in cmake.parents
    programs = build(tmp_path / "build", cmake)
    folder, expected = model
    run(
        programs / "classify", folder / "m.byoc", folder / "x.bin", tmp_path / "y.bin",
        LD_DEBUG="files", LD_DEBUG_OUTPUT=str(tmp_path / "ld"),
    )  # fmt: skip
    y = np.fromfile(tmp_path / "y.bin", "float32")
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-7)
    (log,) = tmp_path.glob("ld.*")
    used = set(re.findall(r"calling init: (\S*(?:byoc|tvm|dnnl)\S*\.so\S*)", log.read_text()))
    assert {Path(path).name.split(".")[0] for path in used} >= {
        "libbyoc_runtime", "libbyoc_dnnl", "libtvm_ffi", "libdnnl"
    }  # fmt: skip
    assert all(fresh in Path(path).resolve().parents for path in used), used


def _install_again(name: str, site: Path) -> None:
    """A distribution of this environment, laid out as pip has done it, in another."""
    for file in importlib.metadata.files(name) or ():
        source, target = Path(file.locate()), site / file
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def test_an_installation_that_is_not_whole_is_named(tmp_path):
    cmake = tmp_path / "byoc" / "lib" / "cmake" / "byoc"
    shutil.copytree(folders()["cmake_dir"], cmake)
    done = subprocess.run(
        ["cmake", "-S", EXAMPLE, "-B", tmp_path / "build", f"-Dbyoc_DIR={cmake}"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert "byoc is not whole" in said and "libbyoc_runtime.so is missing" in said
