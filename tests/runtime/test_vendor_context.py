"""What a vendor's init is told, whether it can refuse an old artifact, and on which thread."""

from __future__ import annotations

import dataclasses
import gc
import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from c_session import run_in_c
from isolated_vendor import one
from native_vendor import build_vendor

from byoc.errors import VendorError
from byoc.runtime import Session, load_program, save_program
from byoc.runtime import vendor_runtimes as runtime_vendors
from byoc.runtime.native import call_on
from byoc.runtime.program import Isolation, VendorUse
from byoc.segment import PortType, SegmentSignature, TensorType
from byoc.vendor import NativeRuntime, PythonRuntime, SegmentContext

# y = x * c[0]; it writes what it is told to its log, and says where it ends.
SOURCE = """
#include <byoc/vendor.h>
#include <pthread.h>
#include <cstdio>
#include <fstream>
#include <sstream>
std::string Thread() {
  char name[16] = "";
  pthread_getname_np(pthread_self(), name, sizeof(name));
  return name;
}
byoc::Shared<float> packed;
int packings = 0;
struct Told : byoc::SegmentRuntime {
  explicit Told(const byoc::SegmentInit& init) : log(init.log) {
    factor = packed.Get(init.Key(0), [&] {
      ++packings;
      return *static_cast<float*>(init.constants[0].data_ptr());
    });
    std::ostringstream line;
    line << init.vendor << " " << init.segment << " " << init.version << " " << init.processor
         << " " << init.threads << " " << Thread() << " packings " << packings;
    for (const auto* ports : {&init.inputs, &init.outputs})
      for (const byoc::SegmentPort& port : *ports) {
        line << " | " << port.name << " " << port.dtype;
        for (size_t i = 0; i < port.dims.size(); ++i)
          line << " " << port.dims[i] << "=" << port.shape[i];
      }
    log(byoc::LogLevel::kWarning, line.str());
    std::ofstream(init.CacheFolder() + "/seen") << init.blob;
  }
  ~Told() override { log(byoc::LogLevel::kWarning, "ends on " + Thread()); }
  size_t InputCount() const override { return 1; }
  size_t OutputCount() const override { return 1; }
  void Execute(byoc::TensorSpan in, byoc::TensorSpan out) const override {
    for (int64_t i = 0; i < in[0]->shape[0]; ++i)
      static_cast<float*>(out[0]->data)[i] = static_cast<float*>(in[0]->data)[i] * *factor;
  }
  std::shared_ptr<const float> factor;
  byoc::SegmentLog log;
};
std::unique_ptr<byoc::SegmentRuntime> Init(const byoc::SegmentInit& init) {
  return std::make_unique<Told>(init);
}
std::string CanLoad(std::string_view blob, std::string_view version) {
  return version == "0.9" ? "its weights of " + std::string(blob) + " lie otherwise" : "";
}
byoc::Equipment Find() { return {{"chip 7"}, "2.10.1", 1 << 20}; }
BYOC_REGISTER_VENDOR(told, Init, CanLoad, Find)
"""

SIGNATURE = SegmentSignature(
    (PortType("image", TensorType(("n",), "float32")),),
    (PortType("fc/out", TensorType((5,), "float32")),),
)


def on_chip(plan, segment):
    """The plan with its one task on the queue of these vendors."""
    (task,) = plan.tasks
    return dataclasses.replace(
        plan, tasks=(dataclasses.replace(task, function=segment, processor="chip"),)
    )


@pytest.fixture(scope="session")
def told_library(tmp_path_factory) -> Path:
    return build_vendor(tmp_path_factory.mktemp("vendor"), "told", SOURCE)


@pytest.fixture
def told(make, told_library, monkeypatch, tmp_path):
    """told(version) → a program whose segment is that vendor's."""
    monkeypatch.setenv("BYOC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime_vendors, "find_library", lambda *names: told_library)
    runtime_vendors.load_native.cache_clear()

    def build(version: str = "1.0", blob: str = "ok"):
        base = make(blob, (5,), constants=(np.float32([3]),))
        artifact = dataclasses.replace(base.artifacts[0], vendor="told", segment="told_0")
        use = VendorUse(version, {}, NativeRuntime("told"), "chip")
        return dataclasses.replace(
            base,
            body=on_chip(base.body, "told_0"),
            artifacts=(artifact,),
            vendors={"told": use},
            signatures={"told_0": SIGNATURE},
        )

    yield build
    runtime_vendors.load_native.cache_clear()


LINE = "told told_0 1.0 chip 1 byoc:chip packings 1 | image float32 n=-1 | fc/out float32 5=5"


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_native_vendor_is_told_what_its_segment_is(told, caplog, tmp_path):
    with caplog.at_level(logging.WARNING, "byoc.vendor.told"):
        session = Session(told())
        again = Session(told())  # another program: its weight has the same key
        assert session(np.ones(5, "float32"))[0] == 3
        del session, again
        gc.collect()
        call_on("chip", lambda: None)  # what was let go goes before
    assert {record.name for record in caplog.records} == {"byoc.vendor.told"}
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:2] == [f"told_0: {LINE}"] * 2
    assert lines[2:] == ["told_0: ends on byoc:chip"] * 2
    assert (tmp_path / "cache/vendors/told/seen").read_text() == "ok"


def test_it_is_told_in_a_file_and_in_c_alike(told, told_library, tmp_path):
    save_program(told(), tmp_path / "m.byoc")
    found = run_in_c(tmp_path / "m.byoc", [np.ones(5, "float32")], (5,), told_library.parent)
    assert found["y"] == [3.0] * 5
    begin = "byoc: vendor 'told', segment 'told_0': "
    assert found["stderr"].splitlines() == [begin + LINE, begin + "ends on byoc:chip"]


def test_it_refuses_what_an_older_version_compiled(told, told_library, tmp_path):
    wanted = (
        "vendor 'told', segment 'told_0', compiled by its version 0.9, cannot be loaded by the one "
        "installed: its weights of ok lie otherwise; compile the model again, or install that "
        "version"
    )
    with pytest.raises(VendorError) as caught:
        Session(told("0.9"))
    assert str(caught.value) == wanted
    save_program(told("0.9"), tmp_path / "m.byoc")
    found = run_in_c(tmp_path / "m.byoc", [np.ones(5, "float32")], (5,), told_library.parent)
    assert found["error"] == wanted


EVENTS: list[tuple[str, str]] = []
SEEN: list[SegmentContext] = []


class Runs:
    def __call__(self, inputs, outputs):
        EVENTS.append(("execute", _thread()))
        outputs[0][...] = inputs[0] + 1

    def close(self):
        EVENTS.append(("close", _thread()))


def _thread() -> str:
    return Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text().strip()


def asking_init(blob, constants, options, *, context):
    EVENTS.append(("init", _thread()))
    SEEN.append(context)
    return Runs()


def refusing(blob, version):
    return f"version {version} is too old" if version == "0.9" else None


def asking(make, version="1.0", constants=()):
    base = make("", (5,), constants=constants)
    use = VendorUse(version, {}, PythonRuntime(asking_init, can_load=refusing), "chip")
    return dataclasses.replace(
        base,
        body=on_chip(base.body, "numpy_0"),
        vendors={"numpy": use},
        signatures={"numpy_0": SIGNATURE},
    )


def test_a_python_vendor_that_asks_is_told(make, tmp_path, monkeypatch):
    monkeypatch.setenv("BYOC_CACHE_DIR", str(tmp_path))
    EVENTS.clear()
    SEEN.clear()
    weights = np.float32([1, 2]), np.float32([1, 2]), np.int32([1, 2])
    session = Session(asking(make, constants=weights))
    session(np.ones(5, "float32"))
    del session
    gc.collect()
    wait_for(lambda: len(EVENTS) == 3)
    assert EVENTS == [("init", "byoc:chip"), ("execute", "byoc:chip"), ("close", "byoc:chip")]
    (context,) = SEEN
    assert (context.segment, context.version, context.processor) == ("numpy_0", "1.0", "chip")
    assert (context.threads, context.log.name) == (1, "byoc.vendor.numpy")
    assert (context.inputs, context.outputs) == (SIGNATURE.inputs, SIGNATURE.outputs)
    assert context.cache_folder() == tmp_path / "vendors" / "numpy"
    assert context.key(0) == context.key(1) != context.key(2)


def test_no_folder_where_none_can_be_written(make, monkeypatch):
    SEEN.clear()
    monkeypatch.setenv("BYOC_CACHE_DIR", "/proc/nowhere")
    Session(asking(make))
    assert SEEN[0].cache_folder() is None


def test_a_python_vendor_refuses_what_an_older_version_compiled(make):
    with pytest.raises(VendorError, match=r"compiled by its version 0\.9.*is too old; compile"):
        Session(asking(make, "0.9"))


def test_the_signature_outlives_the_file(make, tmp_path):
    program = asking(make)
    save_program(program, tmp_path / "m.byoc")
    loaded = load_program(tmp_path / "m.byoc", lambda name: program.vendors[name].runtime)
    assert loaded.signatures == program.signatures


def test_out_of_process_it_is_told_the_same():
    program = one("x[0] * c[0][0] + c[1][0]", constants=(np.float32([2, 1]),) * 2)
    program = dataclasses.replace(program, signatures={"numpy_0": SIGNATURE})
    session = Session(dataclasses.replace(program, isolation=Isolation()))
    assert (session(np.ones((64, 16), "float32")) == 4).all()
    session.close()
