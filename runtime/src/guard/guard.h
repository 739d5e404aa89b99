/// \file
/// A vendor's segment and its fallback: the same function compiled for the host.
///
///   call ──▶ vendor ──fine──────────────▶ outputs
///              │ throws, too late, NaN
///              └──▶ recorded ──▶ fallback ──▶ outputs   after n failures: the fallback at once
#ifndef BYOC_RUNTIME_GUARD_H_
#define BYOC_RUNTIME_GUARD_H_

#include <tvm/ffi/function.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace byoc {

/// Calls the vendor, and the fallback when the vendor fails. Any number of threads at once.
class Guard {
 public:
  /// What counts as a failure.
  struct Limits {
    int64_t failures = 3;    // this many, and the fallback takes over for good
    double deadline = 0;     // seconds of one call; 0: none
    bool check_nan = false;  // look for NaN in the outputs
  };
  /// What is told of a failure: kind ("error", "deadline", "nan", "crash"), message, its number.
  using Report = std::function<void(const std::string& kind, const std::string& message,
                                    int64_t count, bool replaced)>;

  /// \param segment name, for messages.
  /// \param execute the vendor's function, outputs last.
  /// \param outputs how many of its arguments are written, the last ones.
  /// \param make_fallback called when the fallback is first needed; the same arguments as
  ///     `execute`.
  /// \param report called on the thread of a processor.
  Guard(std::string segment, tvm::ffi::Function execute, size_t outputs,
        std::function<tvm::ffi::Function()> make_fallback, Limits limits, Report report);

  /// Runs the segment on `args`, inputs first. Throws byoc.ExecutionError when the fallback fails,
  /// too.
  void Call(tvm::ffi::PackedArgs args);

 private:
  class Helper;
  struct Attempt;

  bool TryVendor(tvm::ffi::PackedArgs args, std::string* kind, std::string* message);
  void CallWithin(tvm::ffi::PackedArgs args);
  void CallFallback(tvm::ffi::PackedArgs args);

  const std::string segment_;
  const tvm::ffi::Function execute_;
  const size_t outputs_;
  const std::function<tvm::ffi::Function()> make_fallback_;
  const Limits limits_;
  const Report report_;
  std::atomic<int64_t> count_{0};
  std::once_flag fallback_once_;
  tvm::ffi::Function fallback_;
  std::mutex helper_mutex_;
  std::vector<std::shared_ptr<Helper>> helpers_;  // idle: one for each call that ran at a time
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_GUARD_H_
