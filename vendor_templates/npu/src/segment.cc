/*!
 * \file segment.cc
 * \brief The simulated accelerator as a vendor of byoc, and the simulator as functions.
 */
#include <tvm/ffi/container/tensor.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "byoc/vendor.h"
#include "faults.h"
#include "machine.h"
#include "program.h"

namespace byoc::npu {
namespace {

using Clock = std::chrono::steady_clock;
using Nanoseconds = std::chrono::nanoseconds;

/*! \brief The one modelled device of this process: calls of all segments take it in turn. */
class DeviceQueue {
 public:
  /*! \brief When a call that arrives at `now` and takes `work` is done. */
  Clock::time_point Book(Clock::time_point now, Nanoseconds work) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_ = std::max(free_, now) + work;
    return free_;
  }
  static DeviceQueue& Get() {
    static DeviceQueue queue;
    return queue;
  }

 private:
  std::mutex mutex_;
  Clock::time_point free_{};
};

Nanoseconds ModelledTime(const Program& program, const Counters& counters) {
  const Config& config = program.config;
  double seconds = static_cast<double>(counters.cycles) / static_cast<double>(config.clock_hz);
  for (const auto* borders : {&program.feeds, &program.results}) {
    for (const Border& border : *borders) {
      seconds +=
          static_cast<double>(config.link_latency_ns) * 1e-9 +
          static_cast<double>(border.elements) / static_cast<double>(config.link_bytes_per_second);
    }
  }
  return Nanoseconds(static_cast<int64_t>(seconds * 1e9));
}

size_t ElementBytes(HostType type) { return type == HostType::kFloat32 ? 4 : 1; }

class NpuSegment final : public SegmentRuntime {
 public:
  explicit NpuSegment(const SegmentInit& init)
      : program_(ReadProgram(init.blob)), options_(ReadOptions(init.options, program_.segment)) {
    if (init.constants.size() != 1) {
      Fail("expected 1 constant, found " + std::to_string(init.constants.size()));
    }
    constants_ = init.constants[0];
    const DLTensor* image = constants_.GetDLTensorPtr();
    if (image->ndim != 1 || image->dtype.bits != 8 || image->dtype.lanes != 1 ||
        image->shape[0] != program_.regions.constants) {
      Fail("the constants are not the " + std::to_string(program_.regions.constants) +
           " bytes that the program names");
    }
    modelled_ = ModelledTime(program_, Time(program_.config, program_.code));
    for (const Fault& fault : options_.faults) {
      if (fault.kind == FaultKind::kNan && !HasFloatResult()) {
        Fail("fault 'nan' needs a segment with a float32 output; this one gives int8");
      }
    }
  }

  size_t InputCount() const override { return static_cast<size_t>(program_.inputs); }
  size_t OutputCount() const override { return static_cast<size_t>(program_.outputs); }
  SegmentMemory Memory() const override { return {0, static_cast<size_t>(program_.regions.work)}; }

  void Execute(TensorSpan inputs, TensorSpan outputs) const override {
    const Clock::time_point begin = Clock::now();
    const int64_t call = calls_.fetch_add(1, std::memory_order_relaxed) + 1;
    for (const Fault& fault : options_.faults) {
      if (fault.Strikes(call)) StrikeBefore(fault, call);
    }
    std::unique_ptr<Memories> memories = Take();
    memories->Clear();
    for (const Border& border : program_.feeds) {
      WriteIn(border, Argument(inputs, border, "input"), memories->work.data());
    }
    const auto* image = static_cast<const int8_t*>(constants_.data_ptr());
    Run(program_.code, image, memories.get());
    for (const Border& border : program_.results) {
      ReadOut(border, memories->work.data(), Argument(outputs, border, "output"));
    }
    GiveBack(std::move(memories));
    double factor = 1;
    for (const Fault& fault : options_.faults) {
      if (!fault.Strikes(call)) continue;
      if (fault.kind == FaultKind::kSlow) factor *= fault.factor;
      StrikeAfter(fault, outputs);
    }
    Wait(begin, factor);
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const {
    throw std::runtime_error("npu segment '" + program_.segment + "': " + what);
  }

  bool HasFloatResult() const {
    for (const Border& border : program_.results) {
      if (border.type == HostType::kFloat32) return true;
    }
    return false;
  }

  void* Argument(TensorSpan tensors, const Border& border, const char* what) const {
    const DLTensor* tensor = tensors[static_cast<size_t>(border.argument)];
    int64_t elements = 1;
    for (int axis = 0; axis < tensor->ndim; ++axis) elements *= tensor->shape[axis];
    const size_t bytes = (tensor->dtype.bits * tensor->dtype.lanes + 7) / 8;
    if (elements != border.elements || bytes != ElementBytes(border.type)) {
      Fail(std::string(what) + " " + std::to_string(border.argument) + " has " +
           std::to_string(elements) + " elements of " + std::to_string(bytes) +
           " bytes, expected " + std::to_string(border.elements) + " of " +
           std::to_string(ElementBytes(border.type)));
    }
    return tensor->data;
  }

  /*! \brief Paced: answer when the modelled device would. Fast: only a slow-down waits. */
  void Wait(Clock::time_point begin, double factor) const {
    if (options_.paced) {
      const auto work = std::chrono::duration_cast<Nanoseconds>(modelled_ * factor);
      std::this_thread::sleep_until(DeviceQueue::Get().Book(begin, work));
    } else if (factor > 1) {
      std::this_thread::sleep_for((Clock::now() - begin) * (factor - 1));
    }
  }

  void StrikeBefore(const Fault& fault, int64_t call) const {
    const std::string when = " (injected at call " + std::to_string(call) + ")";
    switch (fault.kind) {
      case FaultKind::kStatus:
        Fail("the device reports status 0x2f, DMA error" + when);
      case FaultKind::kException:
        throw std::logic_error("npu driver: assertion failed" + when);
      case FaultKind::kOutOfMemory:
        Fail("out of device memory: " + std::to_string(program_.regions.work) + " bytes" + when);
      case FaultKind::kCrash: {
        // By default action, and let through: queue threads block signals, Python handles them.
        std::signal(SIGSEGV, SIG_DFL);
        sigset_t segv;
        sigemptyset(&segv);
        sigaddset(&segv, SIGSEGV);
        pthread_sigmask(SIG_UNBLOCK, &segv, nullptr);
        std::raise(SIGSEGV);
        std::abort();
      }
      case FaultKind::kHang: {
        const auto end = Clock::now() + std::chrono::duration<double>(fault.seconds);
        while (fault.seconds <= 0 || Clock::now() < end) {
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        break;
      }
      case FaultKind::kWrong:
      case FaultKind::kNan:
      case FaultKind::kSlow:
        break;
    }
  }

  void StrikeAfter(const Fault& fault, TensorSpan outputs) const {
    for (const Border& border : program_.results) {
      if (border.elements == 0) continue;
      void* data = Argument(outputs, border, "output");
      const int64_t at = border.elements / 2;
      if (fault.kind == FaultKind::kNan && border.type == HostType::kFloat32) {
        static_cast<float*>(data)[at] = std::numeric_limits<float>::quiet_NaN();
        return;
      }
      if (fault.kind == FaultKind::kWrong) {
        if (border.type == HostType::kFloat32) {  // off by 64 steps of its quantisation
          static_cast<float*>(data)[at] += 64 * border.scale;
        } else {
          static_cast<uint8_t*>(data)[at] ^= 0x40;
        }
        return;
      }
    }
  }

  /*! \brief Memories of a finished call, or new ones: as many as calls ever ran at once. */
  std::unique_ptr<Memories> Take() const {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!pool_.empty()) {
        std::unique_ptr<Memories> memories = std::move(pool_.back());
        pool_.pop_back();
        return memories;
      }
    }
    return std::make_unique<Memories>(program_.config, program_.regions.work);
  }

  void GiveBack(std::unique_ptr<Memories> memories) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    pool_.push_back(std::move(memories));
  }

  Program program_;
  RunOptions options_;
  tvm::ffi::Tensor constants_;
  Nanoseconds modelled_{};
  mutable std::atomic<int64_t> calls_{0};
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Memories>> pool_;
};

std::unique_ptr<SegmentRuntime> Init(const SegmentInit& init) {
  return std::make_unique<NpuSegment>(init);
}

// ---- the simulator as functions, for the compiler, tools and tests -------------------------

using tvm::ffi::Bytes;
using tvm::ffi::String;
using tvm::ffi::Tensor;

std::string_view View(const Bytes& bytes) { return {bytes.data(), bytes.size()}; }
std::string_view View(const String& text) { return {text.data(), text.size()}; }

void RequireValid(const Config& config, const Code& code, const Regions& regions) {
  const Violation violation = Validate(config, code, regions);
  if (!violation.ok()) {
    TVM_FFI_THROW(ValueError) << "instruction " << violation.index << ": " << violation.reason;
  }
}

/*! \brief "" when legal, else "instruction <index>: <reason>". */
String ValidateCode(String config, Bytes code, int64_t constants, int64_t work) {
  const Violation violation =
      Validate(ReadConfig(View(config)), ReadCode(View(code)), Regions{constants, work});
  if (violation.ok()) return "";
  return "instruction " + std::to_string(violation.index) + ": " + violation.reason;
}

int64_t FlatBytes(const Tensor& tensor, const char* name) {
  const DLTensor* t = tensor.GetDLTensorPtr();
  if (t->ndim != 1 || t->dtype.bits != 8 || t->device.device_type != kDLCPU) {
    TVM_FFI_THROW(ValueError) << name << " must be one-dimensional int8 in CPU memory";
  }
  return t->shape[0];
}

/*! \brief Execute on work memory, in place. */
void RunCode(String config_text, Bytes code_bytes, Tensor constants, Tensor work) {
  const Config config = ReadConfig(View(config_text));
  const Code code = ReadCode(View(code_bytes));
  const Regions regions{FlatBytes(constants, "constants"), FlatBytes(work, "work")};
  RequireValid(config, code, regions);
  Memories memories(config, regions.work);
  if (regions.work > 0) {
    std::memcpy(memories.work.data(), work.data_ptr(), static_cast<size_t>(regions.work));
  }
  Run(code, static_cast<const int8_t*>(constants.data_ptr()), &memories);
  if (regions.work > 0) {
    std::memcpy(work.data_ptr(), memories.work.data(), static_cast<size_t>(regions.work));
  }
}

void Append(std::ostringstream& out, const char* name, const std::array<int64_t, kUnits>& values) {
  out << ",\"" << name << "\":[" << values[0] << "," << values[1] << "," << values[2] << ","
      << values[3] << "]";
}

/*! \brief Counters as JSON; with `trace` also [start, free, done] of every instruction. */
String TimeCode(String config_text, Bytes code_bytes, int64_t constants, int64_t work, bool trace) {
  const Config config = ReadConfig(View(config_text));
  const Code code = ReadCode(View(code_bytes));
  RequireValid(config, code, Regions{constants, work});
  std::vector<Slot> slots;
  const Counters c = Time(config, code, trace ? &slots : nullptr);
  std::ostringstream out;
  out << "{\"cycles\":" << c.cycles << ",\"macs\":" << c.macs
      << ",\"instructions\":" << c.instructions << ",\"bytes_loaded\":" << c.bytes_loaded
      << ",\"bytes_stored\":" << c.bytes_stored << ",\"conflict_cycles\":" << c.conflict_cycles
      << ",\"peak_act\":" << c.peak_act << ",\"peak_weight\":" << c.peak_weight
      << ",\"peak_acc\":" << c.peak_acc;
  Append(out, "busy", c.busy);
  Append(out, "stall", c.stall);
  if (trace) {
    out << ",\"trace\":[";
    for (size_t i = 0; i < slots.size(); ++i) {
      out << (i ? "," : "") << "[" << slots[i].start << "," << slots[i].free << "," << slots[i].done
          << "]";
    }
    out << "]";
  }
  out << "}";
  return out.str();
}

}  // namespace

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("byoc.vendor.npu.validate", ValidateCode)
      .def("byoc.vendor.npu.run", RunCode)
      .def("byoc.vendor.npu.time", TimeCode);
}

}  // namespace byoc::npu

BYOC_REGISTER_VENDOR(npu, byoc::npu::Init)
