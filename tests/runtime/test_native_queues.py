"""A native vendor with a queue and two devices, under a Python session and the C interface."""

from __future__ import annotations

import ctypes
import dataclasses
import threading
import time

import numpy as np
import pytest
from native_vendor import build_vendor
from repeated_timing import least
from runtime_programs import elementwise

import byoc.runtime.vendor_runtimes as runtime_vendors
from byoc.errors import VendorError
from byoc.runtime import DeadlineError, Session, VendorUse, save_program
from byoc.runtime.native import find_library
from byoc.vendor import NativeRuntime

SHAPE = (2, 3)
X = np.ones(SHAPE, "float32")
DMA, KERNEL = 0.004, 0.008  # what the device takes
COUNT = 24

SOURCE = r"""
#include <byoc/vendor.h>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>

// An engine works off one call after the other; a stage ends when the device would end it.
using Clock = std::chrono::steady_clock;
std::atomic<int> told{0};

struct Call {
  byoc::TensorSpan in, out;
  byoc::Done done;
  Clock::time_point ready;
};

class Engine {
 public:
  Engine(int milliseconds, std::function<void(Call)> next)
      : each_(milliseconds), next_(std::move(next)), thread_([this] { Loop(); }) {}
  ~Engine() {
    { std::lock_guard<std::mutex> lock(mutex_); leave_ = true; changed_.notify_one(); }
    thread_.join();
  }
  void Put(Call call) {
    std::lock_guard<std::mutex> lock(mutex_);
    calls_.push_back(std::move(call));
    changed_.notify_one();
  }

 private:
  void Loop() {
    Clock::time_point free;
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return leave_ || !calls_.empty(); });
      if (calls_.empty()) return;
      Call call = std::move(calls_.front());
      calls_.pop_front();
      lock.unlock();
      call.ready = free = std::max(free, call.ready) + each_;
      std::this_thread::sleep_until(free);
      if (call.done.Cancelled()) call.done.Fail("cancelled");
      else next_(std::move(call));
    }
  }
  const std::chrono::milliseconds each_;
  const std::function<void(Call)> next_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Call> calls_;
  bool leave_ = false;
  std::thread thread_;
};

class Device : public byoc::QueuedSegmentRuntime {
 public:
  size_t InputCount() const override { return 1; }
  size_t OutputCount() const override { return 1; }
  void Submit(byoc::TensorSpan in, byoc::TensorSpan out, byoc::Done done) const override {
    done.OnCancel([] { ++told; });
    up_.Put({in, out, std::move(done), Clock::now()});
  }

 private:
  static void Finish(Call call) {
    const auto* x = static_cast<float*>(call.in[0]->data);
    auto* y = static_cast<float*>(call.out[0]->data);
    for (int i = 0; i < 6; ++i) y[i] = x[i] + 1;
    call.done();
  }
  mutable Engine down_{4, Finish};
  mutable Engine run_{8, [this](Call call) { down_.Put(std::move(call)); }};
  mutable Engine up_{4, [this](Call call) { run_.Put(std::move(call)); }};
};

std::unique_ptr<byoc::SegmentRuntime> Init(const byoc::SegmentInit& init) {
  if (init.processor.empty()) throw std::runtime_error("no processor");
  return std::make_unique<Device>();
}
size_t Count() { return std::getenv("QUEUED_DEVICES") ? std::atoi(getenv("QUEUED_DEVICES")) : 1; }

BYOC_REGISTER_VENDOR(queued, Init)
BYOC_REGISTER_DEVICES(queued, Count)
extern "C" int queued_told() { return told; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build_vendor(tmp_path_factory.mktemp("queued"), "queued", SOURCE)


@pytest.fixture
def program(library, monkeypatch):
    """program(processor) → y = x + 1 on that processor."""
    monkeypatch.setattr(runtime_vendors, "find_library", lambda *names: library)
    runtime_vendors.load_native.cache_clear()

    def make(processor: str):
        base = elementwise("", SHAPE)
        tasks = tuple(dataclasses.replace(t, processor=processor) for t in base.body.tasks)
        return dataclasses.replace(
            base,
            body=dataclasses.replace(base.body, tasks=tasks),
            artifacts=tuple(dataclasses.replace(a, vendor="queued") for a in base.artifacts),
            vendors={"queued": VendorUse("1", {}, NativeRuntime("queued", "queued"), processor)},
        )

    yield make
    runtime_vendors.load_native.cache_clear()


def overlaps(run) -> None:
    """``run()`` makes COUNT requests; each takes little more than the longest stage.

    1.04 of it on a quiet machine (an upload and a download are not hidden), 2 where calls do not
    overlap; on a busy one the best of some runs counts.
    """

    def stages_each() -> float:
        begin = time.perf_counter()
        run()
        return (time.perf_counter() - begin) / COUNT / KERNEL

    assert least(stages_each, 1.5, tries=15) < 1.5


def test_requests_overlap_in_a_session(program, library):
    session = Session(program("queued1"))
    assert (session(X) == 2).all()

    def run() -> None:
        answers = list(session.map([X * i for i in range(COUNT)]))
        assert all((answer == i + 1).all() for i, answer in enumerate(answers))

    overlaps(run)
    told = ctypes.CDLL(str(library)).queued_told
    before = told()
    with pytest.raises(DeadlineError):
        session.submit(X, deadline=0.003).result(30)
    end = time.monotonic() + 30
    while told() == before:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_two_devices(program, monkeypatch):
    monkeypatch.setenv("QUEUED_DEVICES", "2")
    session = Session(program("queued2"))
    for future in [session.submit(X) for _ in range(4)]:
        assert (future.result(30) == 2).all()
    assert set(session.profile(X, requests=4).busy()) == {"queued2:0", "queued2:1"}
    monkeypatch.setenv("QUEUED_DEVICES", "0")
    with pytest.raises(VendorError, match="there is no device"):
        Session(program("queued3"))


class Buffer(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("bytes", ctypes.c_size_t))

    @classmethod
    def of(cls, array):
        return cls(array.ctypes.data, array.nbytes)


@pytest.fixture
def c_session(program, library, tmp_path, monkeypatch):
    """The same model, opened through byoc/session.h."""
    monkeypatch.setenv("BYOC_LIBRARY_PATH", str(library.parent))
    path = tmp_path / "queued.byoc"
    save_program(program("queued4"), path)
    runtime = ctypes.CDLL(str(find_library("byoc_runtime")))
    runtime.byoc_last_error.restype = ctypes.c_char_p
    runtime.byoc_run_within.argtypes = [
        ctypes.c_void_p, ctypes.POINTER(Buffer), ctypes.c_size_t,
        ctypes.POINTER(Buffer), ctypes.c_size_t, ctypes.c_double,
    ]  # fmt: skip
    session = ctypes.c_void_p()
    assert runtime.byoc_open(str(path).encode(), None, ctypes.byref(session)) == 0, (
        runtime.byoc_last_error()
    )
    yield runtime, session
    runtime.byoc_close(session)


def test_the_c_session_overlaps_and_keeps_deadlines(c_session, library):
    runtime, session = c_session
    y = np.zeros(SHAPE, "float32")

    def run(i: int, out) -> None:
        x = X * i
        status = runtime.byoc_run(session, ctypes.byref(Buffer.of(x)), ctypes.c_size_t(1),
                                  ctypes.byref(Buffer.of(out)), ctypes.c_size_t(1))  # fmt: skip
        assert status == 0, runtime.byoc_last_error()

    run(1, y)
    assert (y == 2).all()

    def all_of_them() -> None:
        numbers, results = iter(range(COUNT)), {}

        def caller() -> None:
            for i in numbers:
                results[i] = np.zeros(SHAPE, "float32")
                run(i, results[i])

        threads = [threading.Thread(target=caller) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all((results[i] == i + 1).all() for i in range(COUNT))

    overlaps(all_of_them)

    def within(limit: float) -> int:
        x, many = Buffer.of(X), Buffer.of(y)
        return runtime.byoc_run_within(session, ctypes.byref(x), 1, ctypes.byref(many), 1, limit)

    y[...] = 0
    assert within(10) == 0
    assert (y == 2).all()
    told = ctypes.CDLL(str(library)).queued_told
    before = told()

    def refusal() -> float:
        begin = time.perf_counter()
        assert within(0.003) == 8
        return time.perf_counter() - begin

    assert least(refusal, 0.02, tries=20) < 0.02  # 0.004 on a quiet machine
    assert b"not done in the time" in runtime.byoc_last_error()
    end = time.monotonic() + 30
    while told() == before:
        assert time.monotonic() < end
        time.sleep(0.001)
    assert within(-1) == 1
