"""Large blobs: mapped from the file, and given back once a vendor has read them."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from c_session import run_in_c
from native_vendor import build_vendor

from byoc.errors import ArtifactError, ExecutionError, VendorError
from byoc.runtime import Session, load_program, save_program
from byoc.runtime.native import is_mapped
from byoc.runtime.program import VendorUse
from byoc.vendor import NativeRuntime, PythonRuntime

MIB = 1 << 20
SIZE = 64 * MIB

# y = the sum of the blob's bytes at some places.
SOURCE = """
#include <byoc/vendor.h>
struct Sum : byoc::SegmentRuntime {
  explicit Sum(std::string_view blob) {
    for (size_t i = 0; i < blob.size(); i += 512) sum += static_cast<unsigned char>(blob[i]);
  }
  size_t InputCount() const override { return 1; }
  size_t OutputCount() const override { return 1; }
  void Execute(byoc::TensorSpan in, byoc::TensorSpan out) const override {
    for (int64_t i = 0; i < in[0]->shape[0]; ++i) static_cast<float*>(out[0]->data)[i] = sum;
  }
  float sum = 0;
};
std::unique_ptr<byoc::SegmentRuntime> Init(const byoc::SegmentInit& init) {
  return std::make_unique<Sum>(init.blob);
}
BYOC_REGISTER_VENDOR(sums, Init)
"""


def init(blob, constants, options):
    assert isinstance(blob, bytes)
    total = np.frombuffer(blob, "uint8")[::512].sum(dtype="float32")

    def execute(inputs, outputs):
        outputs[0][...] = total

    return execute


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    return build_vendor(tmp_path_factory.mktemp("vendor"), "sums", SOURCE)


def program(make, blob, runtime, vendor):
    base = make("", (3,))
    artifact = dataclasses.replace(base.artifacts[0], blob=blob, vendor=vendor)
    return dataclasses.replace(
        base, artifacts=(artifact,), vendors={vendor: VendorUse("1", {}, runtime)}
    )


@pytest.fixture(scope="module")
def blob() -> bytes:
    return (np.arange(SIZE, dtype="uint32") % 251).astype("uint8").tobytes()


WANTED = float((np.arange(0, SIZE, 512) % 251).sum())

RESIDENT = """
import sys
import numpy as np
from byoc.runtime import Session, load_program
from byoc.runtime import vendor_runtimes
from byoc.vendor import NativeRuntime, PythonRuntime
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return sum(int(l.split()[1]) for l in lines if l.startswith("Rss")) / 1024
path, library, tests = sys.argv[1:]
sys.path.insert(0, tests)
import test_mapped_blobs
if library:
    vendor_runtimes.find_library = lambda *names: library
    runtime = NativeRuntime("sums")
else:
    runtime = PythonRuntime(test_mapped_blobs.init)
small = test_mapped_blobs.program(__import__("runtime_programs").elementwise, b"", runtime,
                                  "sums" if library else "numpy")
Session(small)(np.zeros(3, "float32"))
before = resident()
session = Session(load_program(path, lambda name: runtime))
assert session(np.zeros(3, "float32"))[0] == test_mapped_blobs.WANTED
print(resident() - before)
"""


@pytest.mark.parametrize("kind", ["native", "python"])
def test_a_blob_does_not_stay_in_memory(make, blob, library, tmp_path, kind):
    runtime = NativeRuntime("sums") if kind == "native" else PythonRuntime(init)
    vendor = "sums" if kind == "native" else "numpy"
    save_program(program(make, blob, runtime, vendor), tmp_path / "m.byoc")
    given = str(library) if kind == "native" else ""
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, tmp_path / "m.byoc", given, Path(__file__).parent],
        capture_output=True, text=True, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 12, "MiB more after loading a blob of 64 MiB"
    if kind == "native":
        found = run_in_c(tmp_path / "m.byoc", [np.zeros(3, "float32")], (3,), library.parent)
        assert found["y"] == [WANTED] * 3
        assert found["resident"] < 60 * MIB  # numpy, mostly


def test_a_loaded_program_can_be_saved_again(make, blob, tmp_path):
    runtime = PythonRuntime(init)
    save_program(program(make, blob, runtime, "numpy"), tmp_path / "m.byoc")
    loaded = load_program(tmp_path / "m.byoc", lambda name: runtime)
    save_program(loaded, tmp_path / "n.byoc")
    assert (tmp_path / "m.byoc").read_bytes() == (tmp_path / "n.byoc").read_bytes()
    save_program(loaded, tmp_path / "m.byoc")  # over the file that it is mapped from
    assert Session(loaded)(np.zeros(3, "float32"))[0] == WANTED


def test_who_writes_to_the_file_is_noticed(make, blob, tmp_path):
    runtime = PythonRuntime(init)
    path = tmp_path / "m.byoc"
    save_program(program(make, blob, runtime, "numpy"), path)
    loaded = load_program(path, lambda name: runtime)
    with path.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"another")
    with pytest.raises((ExecutionError, VendorError), match="was written to"):
        Session(loaded)
    with pytest.raises(ArtifactError, match=r"member 'segments/numpy_0\.bin' is damaged"):
        load_program(path, lambda name: runtime)


KINDS: list[tuple[type, bool]] = []


def view_init(blob, constants, options):
    memory = np.frombuffer(blob, "uint8")
    KINDS.append((type(blob), is_mapped(memory)))
    return init(bytes(blob), constants, options)


def view_can_load(blob, version):
    return None if isinstance(blob, memoryview) else "it is no view"


def test_a_python_vendor_may_read_the_file_itself(make, blob, tmp_path):
    runtime = PythonRuntime(view_init, can_load=view_can_load, blob_view=True)
    made = program(make, blob, runtime, "views")
    save_program(made, tmp_path / "m.byoc")
    save_program(program(make, b"few", runtime, "views"), tmp_path / "small.byoc")
    KINDS.clear()
    expected = Session(made)(np.ones(3, "float32"))
    loaded = load_program(tmp_path / "m.byoc", lambda name: runtime)
    np.testing.assert_array_equal(Session(loaded)(np.ones(3, "float32")), expected)
    Session(load_program(tmp_path / "small.byoc", lambda name: runtime))
    assert [(memoryview, False), (memoryview, True), (memoryview, False)] == KINDS


def test_a_file_that_is_written_to_meanwhile_is_noticed(make, blob, tmp_path):
    def writes(view, constants, options):
        with (tmp_path / "m.byoc").open("r+b") as file:
            file.seek(1 << 20)
            file.write(b"other bytes")
        return view_init(view, constants, options)

    save_program(program(make, blob, PythonRuntime(view_init), "views"), tmp_path / "m.byoc")
    runtime = PythonRuntime(writes, blob_view=True)
    loaded = load_program(tmp_path / "m.byoc", lambda name: runtime)
    with pytest.raises(VendorError, match="was written to while it is in use"):
        Session(loaded)
