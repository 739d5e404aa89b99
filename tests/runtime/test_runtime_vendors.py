"""Binding vendors: native libraries found, checked and called; what their authors are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from native_vendor import build_vendor

import byoc.runtime
from byoc.errors import VendorError
from byoc.runtime import Session, num_threads, set_num_threads
from byoc.runtime import vendor_runtimes as runtime_vendors
from byoc.runtime.native import find_library, function
from byoc.runtime.program import VendorUse
from byoc.vendor import NativeRuntime, PythonRuntime

SOURCE = """
#include <byoc/vendor.h>
#include <stdexcept>
struct Scale : byoc::SegmentRuntime {
  explicit Scale(const byoc::SegmentInit& init) {
    if (init.blob == "refuse") throw std::runtime_error("blob of another age");
    factor = *static_cast<float*>(init.constants[0].data_ptr());
    byoc::ReleasePages(init.constants[0].data_ptr(), 4);
  }
  size_t InputCount() const override { return 1; }
  size_t OutputCount() const override { return 1; }
  void Execute(byoc::TensorSpan in, byoc::TensorSpan out) const override {
    for (int64_t i = 0; i < in[0]->shape[0]; ++i)
      static_cast<float*>(out[0]->data)[i] = static_cast<float*>(in[0]->data)[i] * factor;
    if (static_cast<float*>(in[0]->data)[0] < 0) throw std::range_error("negative");
  }
  float factor;
};
std::unique_ptr<byoc::SegmentRuntime> Init(const byoc::SegmentInit& init) {
  return std::make_unique<Scale>(init);
}
BYOC_REGISTER_VENDOR(scale, Init)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    return build_vendor(tmp_path_factory.mktemp("vendor"), "scale", SOURCE)


@pytest.fixture
def native(make, library, monkeypatch):
    """make(blob) → a program whose segment the native vendor runs."""
    import dataclasses

    monkeypatch.setattr(runtime_vendors, "find_library", lambda *names: library)
    runtime_vendors.load_native.cache_clear()

    def build(blob: str, vendor: str = "scale"):
        base = make(blob, (5,), constants=(np.float32([3]),))
        (artifact,) = base.artifacts
        artifact = dataclasses.replace(artifact, vendor=vendor)
        use = VendorUse("1", {}, NativeRuntime("scale"))
        return dataclasses.replace(base, artifacts=(artifact,), vendors={vendor: use})

    yield build
    runtime_vendors.load_native.cache_clear()


def test_a_native_vendor_runs(native):
    session = Session(native("ok"))
    np.testing.assert_array_equal(session(np.arange(5, dtype="float32")), np.arange(5) * 3)
    with pytest.raises(byoc.errors.ExecutionError, match="of vendor 'scale' failed.*negative"):
        session(np.full(5, -1, "float32"))


def test_a_native_vendor_refuses(native):
    message = "vendor 'scale', segment 'numpy_0' could not be loaded.*blob of another age"
    with pytest.raises(VendorError, match=message):
        Session(native("refuse"))


def test_a_library_that_registers_someone_else(native):
    with pytest.raises(VendorError, match=r"does not register byoc\.vendor\.other\.init"):
        Session(native("ok", vendor="other"))


def test_another_api_version(native, monkeypatch):
    monkeypatch.setattr(runtime_vendors, "API_VERSION", 99)
    with pytest.raises(VendorError, match="built for vendor API 1, this byoc has 99"):
        Session(native("ok"))


def test_a_library_that_does_not_load(native, tmp_path, monkeypatch):
    (tmp_path / "libscale.so").write_bytes(b"junk")
    monkeypatch.setattr(runtime_vendors, "find_library", lambda *names: tmp_path / "libscale.so")
    with pytest.raises(VendorError, match=r"libscale\.so does not load"):
        Session(native("ok", vendor="junk"))


def test_libraries_are_looked_for_in_distributions():
    assert find_library("byoc_runtime").is_file()
    with pytest.raises(VendorError, match=r"libbyoc_nothing\.so of package 'tvm-byoc' is missing"):
        find_library("byoc_nothing")
    with pytest.raises(VendorError, match="pip install no-such-package"):
        find_library("byoc_nothing", "no-such-package")


def _installed(site: Path, project: Path | None = None) -> None:
    """What pip leaves of a package "far-acme"; in place, if a project's folder is given."""
    info = site / "far_acme-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far-acme\nVersion: 1.0\n")
    (info / "RECORD").write_text("far_acme/__init__.py,,\n")
    if project is not None:
        origin = {"url": project.as_uri(), "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(origin))


@pytest.mark.parametrize("place", ["far_acme/lib", "src/far_acme/lib", "src/far_acme", None])
def test_a_library_of_a_package_that_is_installed_in_place(tmp_path, monkeypatch, place):
    project = tmp_path / "my project"
    _installed(tmp_path / "site", project)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (project / "src" / "far_acme").mkdir(parents=True)
    if place is None:
        message = r"installed from .*my project \(editable\).*build it into one of these folders"
        with pytest.raises(VendorError, match=message):
            find_library("byoc_acme", "far-acme")
        return
    library = project / place / "libbyoc_acme.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    library.touch()
    assert find_library("byoc_acme", "far-acme") == library


def test_a_library_in_a_folder_of_the_users(tmp_path, monkeypatch):
    _installed(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(
        VendorError, match=r"reinstall far-acme, or name its folder in BYOC_LIBRARY"
    ):
        find_library("byoc_acme", "far-acme")
    (tmp_path / "built").mkdir()
    library = tmp_path / "built" / "libbyoc_acme.so"
    library.touch()
    monkeypatch.setenv("BYOC_LIBRARY_PATH", f"/nowhere:{tmp_path / 'built'}")
    assert find_library("byoc_acme", "far-acme") == library


def test_python_vendors_must_give_a_callable(make):
    import dataclasses

    use = VendorUse("1", {}, PythonRuntime(lambda blob, constants, options: 3))
    with pytest.raises(VendorError, match=r"must return a callable \(execute\), found int"):
        Session(dataclasses.replace(make("x[0]"), vendors={"numpy": use}))


def _python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    folder = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {folder!r})\nimport byoc.runtime\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean | env, timeout=120
    )


def test_number_of_threads():
    before = num_threads()
    try:
        set_num_threads(3)
        assert num_threads() == 3
        with pytest.raises(ValueError, match="from 1 to 1024, found 0"):
            set_num_threads(0)
    finally:
        set_num_threads(before)
    show = "from byoc.runtime import num_threads; print(num_threads())"
    assert _python(show, OMP_NUM_THREADS="5,2").stdout == "5\n"
    assert _python(show, OMP_NUM_THREADS="5", BYOC_NUM_THREADS="7").stdout == "7\n"
    assert _python(show).stdout == f"{function('usable_processors')('')}\n"
    bad = "from runtime_programs import *; byoc.runtime.Session(elementwise('x[0]'))"
    assert (
        "BYOC_NUM_THREADS must be a number of threads" in _python(bad, BYOC_NUM_THREADS="x").stderr
    )


def test_fork_and_exit_do_not_hang():
    """Children of a process that ran a model run it too; interpreters end while threads sleep."""
    code = """
import atexit, os, threading, time
atexit.register(lambda: late())  # before byoc's own, hence run after it
import numpy as np
from byoc.runtime import Session
from runtime_programs import elementwise
session = Session(elementwise("x[0] + 1"))
x = np.ones((2, 3), "float32")
assert (session(x) == 2).all()
for _ in range(3):
    child = os.fork()
    if child == 0:
        ok = (session(x) == 2).all() and (Session(elementwise("x[0] * 5"))(x) == 5).all()
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
def late():
    try:
        session(x)
    except RuntimeError as error:
        assert "shutting down" in str(error)
        print("late", flush=True)
worker = threading.Thread(target=lambda: (session(x), time.sleep(60)), daemon=True)
worker.start()
time.sleep(0.1)
print("ok", flush=True)
"""
    result = _python("import warnings; warnings.simplefilter('ignore')\n" + code)
    assert result.stdout == "ok\nlate\n" and result.returncode == 0, result.stderr


@pytest.mark.parametrize("processors", [["cpu"], ["cpu", "npu"]], ids="+".join)
def test_daemon_threads_inside_byoc_at_exit(processors):
    """CPython before 3.14 unwinds them, through C++ frames, which aborts; they are parked."""
    code = f"""
import threading, time
import numpy as np
from byoc.runtime import Session
from test_requests import staged
session = Session(staged(["x[0] + 1"] * {len(processors)}, {processors}), max_in_flight=2)
slow = Session(staged(["(o['sleep'](0.3), x[0])[1]"] * 2, ["npu", "cpu"], sleep=time.sleep))
x = np.ones((2, 3), "float32")
def calls():
    while True:
        session(x)
def requests():
    while True:
        session.submit(x).result()
for work in (calls, calls, requests, requests, lambda: slow(x), lambda: slow.submit(x).result()):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.15)
print("ok", flush=True)
"""
    for _ in range(3):
        result = _python(code)
        assert (result.stdout, result.returncode) == ("ok\n", 0), result.stderr


def test_importing_the_runtime_brings_no_compiler():
    code = "import byoc.runtime, sys; print('tvm' in sys.modules, 'onnx' in sys.modules)"
    assert _python(code).stdout == "False False\n"


def test_public_names():
    assert all(hasattr(byoc.runtime, name) for name in byoc.runtime.__all__)


def test_a_processors_thread_keeps_its_python_state(make):
    """`threading.local` of a Python-hosted vendor lives from call to call."""
    kept = threading.local()

    def count(x):
        kept.calls = getattr(kept, "calls", 0) + 1
        return x + kept.calls

    session = Session(make("o['f'](x[0])", (2,), f=count))
    zeros = np.zeros(2, "float32")
    assert [int(session(zeros)[0]) for _ in range(4)] == [1, 2, 3, 4]
    assert [int(session.submit(zeros).result(30)[0]) for _ in range(2)] == [5, 6]


EXIT = """
import sys, threading, time
sys.path.insert(0, {folder!r})
import numpy as np
from runtime_programs import elementwise
from byoc.runtime import Session

class Kept:
    def __del__(self):
        print("dropped", flush=True)

local = threading.local()

def slow(x):
    local.kept = Kept()
    begun.set()
    time.sleep(0.2)
    return x

begun = threading.Event()
session = Session(elementwise("o['f'](x[0])", (2,), f=slow))
x = np.zeros(2, "float32")
session(x)
begun.clear()
session.submit(x)
begun.wait()
"""


def test_kept_state_and_the_end_of_the_process():
    """Python ends while a processor's thread holds state of its own, in the middle of a call."""
    code = EXIT.format(folder=str(Path(__file__).parent))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
