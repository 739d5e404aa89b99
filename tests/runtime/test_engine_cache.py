"""Engines that are kept between processes: when one is found, and what never goes wrong."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from c_session import run_in_c
from native_vendor import build_vendor
from runtime_programs import elementwise

from byoc.errors import VendorError
from byoc.runtime import Session, load_program, save_program
from byoc.runtime import vendor_runtimes as runtime_vendors
from byoc.runtime.engines import prune_engines, remove_engine, stored_engines
from byoc.runtime.native import num_threads, set_num_threads
from byoc.runtime.program import VendorUse
from byoc.vendor import Equipment, NativeRuntime, PythonRuntime

BUILT: list[str] = []
LOADED: list[bytes] = []
OF = ["acme 7"]
FOUND = Equipment(("chip",), "1.0")


def init(blob, constants, options, *, context):
    """y = x * factor, where the factor is an engine."""

    def build():
        BUILT.append(context.segment)
        return float(blob) * sum(float(np.sum(c)) for c in constants)

    def save(engine):
        return np.float64(engine).tobytes() * 100

    def load(data):
        LOADED.append(bytes(data))
        (engine, *others) = np.frombuffer(data, np.float64)
        assert len(others) == 99
        assert (np.array(others) == engine).all()
        return float(engine)

    factor = context.engine(OF, build, save, load)

    def execute(inputs, outputs):
        outputs[0][...] = inputs[0] * np.float32(factor)

    return execute


RUNTIME = PythonRuntime(init, equipment=lambda: FOUND)


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("BYOC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("BYOC_ENGINE_BYTES", raising=False)
    BUILT.clear()
    LOADED.clear()
    return tmp_path / "cache" / "engines"


ONE = np.float32([1])


def program(factor="2", constants=(ONE,), version="1.0", segment="acme_0", **more):
    base = elementwise(factor, (5,), constants=constants)
    (task,) = base.body.tasks
    processor = more.get("processor", "cpu")
    task = dataclasses.replace(task, function=segment, processor=processor)
    use = VendorUse(version, more.get("options", {}), more.get("runtime", RUNTIME), processor)
    return dataclasses.replace(
        base,
        body=dataclasses.replace(base.body, tasks=(task,)),
        artifacts=(dataclasses.replace(base.artifacts[0], vendor="acme", segment=segment),),
        vendors={"acme": use},
        name=more.get("name", "model"),
    )


def run(**changes) -> float:
    result = Session(program(**changes))(np.ones(5, "float32"))
    return float(np.asarray(result).reshape(-1)[0])


def test_an_engine_is_built_once_and_found_whatever_things_are_called():
    assert run() == 2
    assert run() == 2
    assert run(segment="acme_17", name="another model") == 2
    assert BUILT == ["acme_0"]
    assert len(LOADED) == 2
    (engine,) = stored_engines()
    assert (engine.vendor, engine.version, engine.segment) == ("acme", "1.0", "acme_0")
    assert (engine.of, engine.problem) == (("acme 7",), "")
    assert engine.bytes == 4096 + 800


def no_init(blob, constants, options, *, context):
    return init(blob, constants, options, context=context)


CHANGES = {
    "blob": {"factor": "3"},
    "a constant": {"constants": (np.float32([5]),)},
    "its dtype": {"constants": (np.float64([1]),)},
    "its shape": {"constants": (np.float32([[1]]),)},
    "one constant more": {"constants": (np.float32([1]), np.float32([0]))},
    "options": {"options": {"lanes": 4}},
    "version": {"version": "1.1"},
    "driver": {"runtime": PythonRuntime(init, equipment=lambda: Equipment(("chip",), "1.1"))},
    "device": {"runtime": PythonRuntime(init, equipment=lambda: Equipment(("chip2",), "1.0"))},
    "the vendor's code": {"runtime": PythonRuntime(no_init, equipment=lambda: FOUND)},
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_an_engine_depends_on_makes_it_another(what):
    run()
    BUILT.clear()
    run(**CHANGES[what])
    assert len(BUILT) == 1
    assert run() == 2
    assert len(BUILT) == 1
    assert len(stored_engines()) == 2


def test_so_do_threads_and_what_the_vendor_names(monkeypatch):
    run()
    before = num_threads()
    try:
        set_num_threads(before + 1)
        run()
        assert len(BUILT) == 2
    finally:
        set_num_threads(before)
    monkeypatch.setattr(f"{__name__}.OF", ["acme 8"])
    run()
    assert len(BUILT) == 3


def damage() -> dict[str, bytes]:
    run()
    (path,) = Path(os.environ["BYOC_CACHE_DIR"], "engines").glob("*.engine")
    good = path.read_bytes()
    cases = {"empty": b"", "one byte": good[:1], "short": good[:-1], "long": good + b"\0"}
    cases |= {"noise": np.random.default_rng(0).bytes(len(good)), "zeros": bytes(len(good))}
    for at in (0, 7, 8, 15, 16, 23, 24, 31, 32, 40, 300, 4000, 4095, 4096, 4500, len(good) - 1):
        cases[f"a bit of byte {at}"] = good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :]
    words = [good[k : k + 8] for k in range(0, len(good), 8)]
    words[600], words[604] = words[604], b"\1" + words[600][1:]
    cases["two words"] = b"".join(words)
    return cases


def test_damaged_files_are_set_aside_and_built_again(folder):
    for number, (what, content) in enumerate(damage().items(), 1):
        (path,) = folder.glob("*.engine")
        path.write_bytes(content)
        BUILT.clear()
        assert run() == 2, what
        assert len(BUILT) == 1, what
        assert len(list(folder.glob("*.aside"))) in (number, number - 1), what  # empty ones go
        BUILT.clear()
        assert run() == 2, what
        assert not BUILT, what


def test_what_is_no_file_is_no_engine(folder):
    run()
    (path,) = folder.glob("*.engine")
    path.unlink()
    path.mkdir()
    assert run() == 2
    path.rmdir()
    path.symlink_to("/dev/zero")
    assert run() == 2
    assert len(BUILT) == 3
    assert run() == 2  # the link was replaced
    assert len(BUILT) == 3


def failing(stage, error):
    def init(blob, constants, options, *, context):
        def fail(*_):
            raise error

        steps = {"build": lambda: 4.0, "save": lambda e: b"4", "load": lambda d: 4.0, stage: fail}
        factor = context.engine(OF, **steps)

        def execute(inputs, outputs):
            outputs[0][...] = inputs[0] * np.float32(factor)

        return execute

    return PythonRuntime(init)


def test_a_library_that_takes_an_engine_no_more(caplog, folder):
    runtime = failing("load", RuntimeError("made by acme 6"))
    assert run(runtime=runtime) == 4
    with caplog.at_level(logging.WARNING, "byoc.vendor.acme"):
        assert run(runtime=runtime) == 4
    assert "RuntimeError: made by acme 6" in caplog.text
    assert len(list(folder.glob("*.aside"))) == 1


def test_an_engine_that_cannot_be_saved_is_used(caplog):
    with caplog.at_level(logging.WARNING, "byoc.vendor.acme"):
        assert run(runtime=failing("save", RuntimeError("not on this device"))) == 4
    assert "acme_0: its engine is not kept" in caplog.text
    assert "not on this device" in caplog.text
    assert stored_engines() == []


def test_errors_of_building_are_the_vendors_own():
    with pytest.raises(VendorError, match="acme_0.*KeyError: 'no kernel'"):
        run(runtime=failing("build", KeyError("no kernel")))
    with pytest.raises(KeyboardInterrupt):
        run(runtime=failing("build", KeyboardInterrupt()))
    assert run() == 2  # the lock was given back


def words_for_bytes(blob, constants, options, *, context):
    return context.engine(OF, lambda: 1, lambda engine: "text", lambda data: 1)


def text_for_list(blob, constants, options, *, context):
    return context.engine("acme 7", lambda: 1, lambda engine: b"", lambda data: 1)


def test_mistakes_of_vendors_are_named():
    with pytest.raises(VendorError, match="save of engine.. of 'acme'.*must return bytes"):
        run(runtime=PythonRuntime(words_for_bytes))
    with pytest.raises(VendorError, match="engine.of=.*takes a list of texts"):
        run(runtime=PythonRuntime(text_for_list))


def test_the_cache_is_bounded(monkeypatch):
    monkeypatch.setenv("BYOC_ENGINE_BYTES", str(3 * 4896 + 10))
    for factor in "123":
        run(factor=factor)
        time.sleep(0.02)
    assert run(factor="1") == 1  # used now
    assert len(BUILT) == 3
    run(factor="4")
    assert len(stored_engines()) == 3
    run(factor="1")
    assert len(BUILT) == 4
    run(factor="2")  # was not used for longest
    assert len(BUILT) == 5


@pytest.mark.parametrize("limit", ["0", "1000"])
def test_what_is_larger_than_the_cache_is_not_kept(monkeypatch, limit):
    monkeypatch.setenv("BYOC_ENGINE_BYTES", limit)
    assert run() == run() == 2
    assert len(BUILT) == 2
    assert stored_engines() == []


def test_a_limit_that_is_no_number_is_an_error(monkeypatch):
    monkeypatch.setenv("BYOC_ENGINE_BYTES", "2 GB")
    with pytest.raises(VendorError, match="BYOC_ENGINE_BYTES must be a number of bytes"):
        run()


def test_no_folder_no_harm(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    for base in ("/proc/nowhere", str(tmp_path / "file")):
        monkeypatch.setenv("BYOC_CACHE_DIR", base)
        assert run() == 2
    assert len(BUILT) == 2
    assert stored_engines() == []


def test_threads_of_one_process_build_once():
    slow = threading.Event()

    def init(blob, constants, options, *, context):
        def build():
            BUILT.append("")
            slow.wait(0.3)
            return 6.0

        def load(data):
            return float(np.frombuffer(data, np.float64)[0])

        factor = context.engine(OF, build, lambda e: np.float64(e).tobytes(), load)

        def execute(inputs, outputs):
            outputs[0][...] = inputs[0] * np.float32(factor)

        return execute

    results: list[float] = []
    threads = [
        threading.Thread(
            target=lambda k=k: results.append(
                run(runtime=PythonRuntime(init), processor=f"chip{k}")
            )
        )
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
    assert results == [6.0] * 4
    assert len(BUILT) == 1


SCRIPT = """
import os, resource, sys, time
from pathlib import Path
from byoc.runtime.engines import make_engine
from byoc.runtime.program import VendorUse
from byoc.segment import Artifact
from byoc.vendor import PythonRuntime
mode = sys.argv[1]
log = Path(os.environ["BYOC_CACHE_DIR"], "log")
def build():
    with log.open("a") as file:
        file.write("built\\n")
    time.sleep(3000 if mode == "hang" else 0.5)
    return "2.0"
def save(engine):
    return engine.encode() * (1 << 20 if mode == "full" else 1)
if mode == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
print(make_engine(Artifact("acme_0", "acme", b"2"), VendorUse("1.0", {}, PythonRuntime(print)), 1,
                  ("", ""), ["acme 7"], build, save, lambda data: bytes(data).decode()))
"""
_PATIENCE = 600  # seconds: other tests may have the machine


@pytest.fixture
def start():
    """start(mode) → a process that wants an engine."""
    children = []

    def start(mode: str) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", SCRIPT, mode]
        pipe = subprocess.PIPE
        children.append(subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        with child:
            pass  # its pipes are closed


def answer(child: subprocess.Popen[str]) -> float:
    out, err = child.communicate(timeout=_PATIENCE)
    assert child.returncode == 0, err
    return float(out)


def test_eight_processes_build_once(folder, start):
    folder.parent.mkdir()
    children = [start("plain") for _ in range(8)]
    assert [answer(child) for child in children] == [2.0] * 8
    assert (folder.parent / "log").read_text() == "built\n"


def test_a_process_that_is_killed_holds_nobody_up(folder, start):
    folder.parent.mkdir()
    child = start("hang")
    log = folder.parent / "log"
    while not (log.exists() and log.read_text()):
        assert child.poll() is None, child.communicate()[1]
        time.sleep(0.05)
    waiting = start("plain")
    time.sleep(0.5)
    child.send_signal(signal.SIGKILL)
    assert answer(waiting) == 2.0
    assert log.read_text() == "built\n" * 2


def test_files_that_a_killed_process_was_writing_are_removed(folder):
    run()
    (folder / ".0123.4567.part").write_bytes(b"half")
    assert prune_engines() == 0
    assert sorted(path.suffix for path in folder.iterdir()) == ["", ".engine"]


def test_files_that_may_not_be_written_do_no_harm(folder, start):
    folder.parent.mkdir()
    assert answer(start("full")) == 2.0
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_keys_lead_out_of_no_folder(folder):
    run()
    (folder.parent / "other.engine").write_text("")
    assert not remove_engine("../other")
    assert (folder.parent / "other.engine").exists()


SOURCE = """
#include <byoc/vendor.h>
#include <cstring>
#include <stdexcept>
#include <fstream>
struct Engine { float factor; };
struct Kept : byoc::SegmentRuntime {
  explicit Kept(const byoc::SegmentInit& init) {
    engine = init.Engine<std::unique_ptr<Engine>>(
        {"acme 7"},
        [&] {
          init.log(byoc::LogLevel::kWarning, "builds");
          if (init.blob == "bad") throw std::logic_error("no such kernel");
          return std::make_unique<Engine>(Engine{2.5f});
        },
        [](const auto& e) { return std::string(reinterpret_cast<char*>(&e->factor), 4); },
        [&](std::string_view bytes) {
          init.log(byoc::LogLevel::kWarning, "loads " + std::to_string(bytes.size()));
          auto e = std::make_unique<Engine>();
          std::memcpy(&e->factor, bytes.data(), bytes.size());
          return e;
        });
  }
  size_t InputCount() const override { return 1; }
  size_t OutputCount() const override { return 1; }
  void Execute(byoc::TensorSpan in, byoc::TensorSpan out) const override {
    for (int64_t i = 0; i < in[0]->shape[0]; ++i)
      static_cast<float*>(out[0]->data)[i] = static_cast<float*>(in[0]->data)[i] * engine->factor;
  }
  std::unique_ptr<Engine> engine;
};
std::unique_ptr<byoc::SegmentRuntime> Init(const byoc::SegmentInit& init) {
  return std::make_unique<Kept>(init);
}
BYOC_REGISTER_VENDOR(acme, Init)
"""


def test_native_vendors_in_python_and_in_c(monkeypatch, tmp_path, caplog):
    library = build_vendor(tmp_path, "acme", SOURCE)
    monkeypatch.setattr(runtime_vendors, "find_library", lambda *names: library)
    runtime_vendors.load_native.cache_clear()
    native = {"runtime": NativeRuntime("acme")}
    try:
        with pytest.raises(VendorError, match="acme_0.*no such kernel"):
            run(factor="bad", **native)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "byoc.vendor.acme"):
            assert run(factor="ok", **native) == 2.5
            assert run(factor="ok", segment="acme_3", **native) == 2.5
        assert [record.getMessage() for record in caplog.records] == [
            "acme_0: builds",
            "acme_3: loads 4",
        ]
        save_program(program(factor="ok", **native), tmp_path / "m.byoc")
    finally:
        runtime_vendors.load_native.cache_clear()
    found = run_in_c(tmp_path / "m.byoc", [np.ones(5, "float32")], (5,), library.parent)
    assert found["y"] == [2.5] * 5
    assert found["stderr"] == "byoc: vendor 'acme', segment 'acme_0': loads 4\n"


def test_keys_of_large_blobs_are_the_same_in_a_file(tmp_path):
    """Their hashes are taken from the file there, and made here."""
    for size, megabytes in itertools.product((0, 1), (3, 4, 9)):
        blob = "2" + " " * ((megabytes << 20) - size)
        BUILT.clear()
        assert run(factor=blob) == 2
        save_program(program(factor=blob), tmp_path / "m.byoc")
        loaded = load_program(tmp_path / "m.byoc", lambda name: RUNTIME)
        assert isinstance(loaded.artifacts[0].blob, memoryview)
        assert float(np.asarray(Session(loaded)(np.ones(5, "float32"))).reshape(-1)[0]) == 2
        assert len(BUILT) == 1
