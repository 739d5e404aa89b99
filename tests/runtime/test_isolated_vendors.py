"""Real vendors out of process: oneDNN, a C++ library that breaks, commands, measured placement."""

from __future__ import annotations

import dataclasses
import json
import re
import sys

import numpy as np
import pytest
from native_vendor import as_distribution, build_vendor
from runtime_programs import elementwise
from tvm import relax

import byoc
from byoc.cli import app
from byoc.errors import ExecutionError, OptionError, VendorError
from byoc.runtime import Isolation, Session, VendorUse
from byoc.testing.fake_vendors import synthetic
from byoc.vendor import NativeRuntime

pytestmark = pytest.mark.filterwarnings("ignore")

SOURCE = """
#include <byoc/vendor.h>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <signal.h>
#include <stdexcept>
#include <unistd.h>
#include <vector>
// x * 2, unless x[0] says what is to break.
struct Brittle : byoc::SegmentRuntime {
  size_t InputCount() const override { return 1; }
  size_t OutputCount() const override { return 1; }
  void Execute(byoc::TensorSpan in, byoc::TensorSpan out) const override {
    const float* x = static_cast<float*>(in[0]->data);
    switch (static_cast<int>(x[0])) {
      case 1: *reinterpret_cast<volatile int*>(8) = 1; break;
      case 2: std::abort();
      case 3: _exit(7);
      case 4: for (;;) pause();
      case 5: {
        std::vector<std::unique_ptr<char[]>> taken;
        for (;;) std::memset(taken.emplace_back(new char[1 << 24]).get(), 1, 1 << 24);
      }
      case 6: for (;;) std::memset(std::malloc(1 << 24), 1, 1 << 24);  // looks at nothing
      case 7: raise(SIGKILL);
      case 8: throw 42;
    }
    for (int64_t i = 0; i < in[0]->shape[0]; ++i) static_cast<float*>(out[0]->data)[i] = x[i] * 2;
  }
};
std::unique_ptr<byoc::SegmentRuntime> Init(const byoc::SegmentInit& init) {
  if (init.blob == "break") std::abort();
  return std::make_unique<Brittle>();
}
BYOC_REGISTER_VENDOR(brittle, Init)
// What a C library without exceptions does: a status, and nothing else.
static int Status(void*, const TVMFFIAny*, int32_t, TVMFFIAny*) { return -1; }
TVM_FFI_STATIC_INIT_BLOCK() {
  using namespace tvm::ffi;
  reflection::GlobalDef()
      .def("byoc.vendor.mute.init", [](Bytes, Array<Tensor>, String) {
        return Function::FromExternC(nullptr, Status, nullptr);
      })
      .def("byoc.vendor.mute.api_version", [] { return byoc::kVendorApiVersion; });
}
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A distribution, as pip leaves it, with the library of vendors "brittle" and "mute"."""
    folder = tmp_path_factory.mktemp("site")
    as_distribution(build_vendor(folder, "brittle", SOURCE), "byoc-brittle")
    sys.path.insert(0, str(folder))
    yield NativeRuntime("brittle", "byoc-brittle")
    sys.path.remove(str(folder))


def native(package, vendor="brittle", blob="", **limits):
    base = elementwise(blob, (4,))
    (artifact,) = base.artifacts
    return dataclasses.replace(
        base,
        artifacts=(dataclasses.replace(artifact, vendor=vendor),),
        vendors={vendor: VendorUse("1", {}, package)},
        isolation=Isolation(**limits),
    )


def test_a_native_library_that_breaks(package):
    session = Session(native(package, deadline=3.0))
    good = np.float32([0, 1, 2, 3])
    np.testing.assert_array_equal(session(good), good * 2)
    for what, message in (
        (1, r"Crash: the worker process \(pid \d+\) of vendor 'brittle' was killed by SIGSEGV"),
        (3, "Crash: .* exited with status 7 while it ran segment 'numpy_0'"),
        (4, "Deadline: no answer within 3 s; the worker process .* was killed"),
        (8, "RuntimeError: vendor 'brittle': the int 42 was thrown"),
    ):
        with pytest.raises(ExecutionError, match=message):
            session(np.float32([what, 0, 0, 0]))
        np.testing.assert_array_equal(session(good), good * 2)
    with pytest.raises(VendorError, match=r"killed by SIGABRT \(abort\) while it loaded its"):
        Session(native(package, blob="break"))


def test_a_native_library_that_runs_out_of_memory(package):
    """One that throws, one that does not look at what it gets, one the system kills."""
    session = Session(native(package, memory=600 << 20))
    good = np.float32([0, 1, 2, 3])
    for what, message in (
        (5, r"of vendor 'brittle' failed: RuntimeError: vendor 'brittle': std::bad_alloc"),
        (6, r"Crash: the worker process \(pid \d+\) of vendor 'brittle' was killed by SIGSEGV"),
        (7, r"was killed by SIGKILL \(out of memory, perhaps: see the system's log\) while it ran"),
    ):
        with pytest.raises(ExecutionError, match=message):
            session(np.float32([what, 0, 0, 0]))
        np.testing.assert_array_equal(session(good), good * 2)


@pytest.mark.parametrize("apart", [False, True], ids=["in process", "out of process"])
def test_a_status_and_nothing_else(package, apart):
    program = native(package, "mute")
    session = Session(program if apart else dataclasses.replace(program, isolation=None))
    for _ in range(2):
        with pytest.raises(ExecutionError, match="segment 'numpy_0' .* of vendor 'mute' failed: "):
            session(np.zeros(4, "float32"))


def model():
    """relu(x @ w) @ w."""
    x = relax.Var("x", relax.TensorType((4, 16), "float32"))
    w = relax.const(np.random.default_rng(0).standard_normal((16, 16)).astype("float32") / 4)
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            first = bb.emit(relax.op.nn.relu(bb.emit(relax.op.matmul(x, w))))
            result = bb.emit_output(relax.op.matmul(first, w))
        bb.emit_func_output(result)
    return bb.get()


X = np.random.default_rng(1).standard_normal((4, 16)).astype("float32")


def test_onednn_out_of_process(tmp_path):
    """The same bits; kept in the file; overruled when loading."""
    here = byoc.compile(model(), ["dnnl"])
    apart = byoc.compile(model(), ["dnnl"], isolate=["dnnl"])
    assert len(here.report.segments) == 1 and here.workers == ()
    assert [vendor for vendor, _ in apart.workers] == ["dnnl"]
    np.testing.assert_array_equal(apart(X), here(X))
    apart.save(tmp_path / "m.byoc")
    apart.close()
    loaded = byoc.load(tmp_path / "m.byoc")
    assert len(loaded.workers) == 1
    np.testing.assert_array_equal(loaded(X), here(X))
    assert byoc.load(tmp_path / "m.byoc", isolate=False).workers == ()
    with pytest.raises(OptionError, match="isolate names 'npu', which is not among .*legal: dnnl"):
        byoc.load(tmp_path / "m.byoc", isolate=["npu"])


def test_commands(tmp_path):
    from typer.testing import CliRunner

    byoc.compile(model(), ["dnnl"], isolate=Isolation(deadline=9.0)).save(tmp_path / "m.byoc")
    np.savez(tmp_path / "x.npz", x=X)
    runner = CliRunner()
    shown = runner.invoke(app, ["inspect", str(tmp_path / "m.byoc")])
    assert re.search(r"out of process\s+all vendors, 9 s a call", shown.output), shown.output
    for value in ("dnnl", "none", "all"):
        out = tmp_path / f"{value}.npz"
        run = runner.invoke(
            app,
            ["run", str(tmp_path / "m.byoc"), "--inputs", str(tmp_path / "x.npz"),
             "--outputs", str(out), "--isolate", value],
        )  # fmt: skip
        assert run.exit_code == 0, run.output
    apart, here = (dict(np.load(tmp_path / f"{v}.npz")) for v in ("dnnl", "none"))
    for name, array in here.items():
        np.testing.assert_array_equal(apart[name], array)
    with pytest.raises(OptionError, match="isolate names 'dnn'.*did you mean 'dnnl'"):
        runner.invoke(
            app,
            ["run", str(tmp_path / "m.byoc"), "--inputs", str(tmp_path / "x.npz"),
             "--isolate", "dnn"],
            catch_exceptions=False,
        )  # fmt: skip


def test_measured_placement_heals_and_isolates(tmp_path, monkeypatch):
    """The winner gets the twins and the processes that were asked for."""
    monkeypatch.setenv("BYOC_CACHE_DIR", str(tmp_path))
    fast = synthetic("fast", {"matmul": 1e-6, "nn.relu": 1e-6})
    rules = tmp_path / "policy.yaml"
    rules.write_text(json.dumps({"rules": [{"op": "matmul", "force": "fast"}]}))
    exe = byoc.compile(
        model(), [fast], placement="measured", budget="1s", heal=True, isolate=True,
        policy=rules,
    )  # fmt: skip
    names = {s.name for s in exe.report.segments}
    assert names and set(exe._program.twins) == names and exe._program.healing.refusals
    assert [vendor for vendor, _ in exe.workers] == ["fast"]
    host = byoc.compile(model())
    np.testing.assert_allclose(exe(X), host(X), rtol=1e-5, atol=1e-5)
    assert exe.faults == ()
    bare = byoc.compile(
        model(), [fast], placement="measured", budget="1s", heal=False, policy=rules
    )
    assert bare._program.twins == {}
