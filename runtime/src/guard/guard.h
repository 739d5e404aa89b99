/*!
 * \brief A vendor's segment and its host twin: the same function compiled for the host.
 *
 *   call ──▶ vendor ──fine──────────────▶ outputs
 *              │ throws, too late, NaN
 *              └──▶ recorded ──▶ twin ──▶ outputs       after n failures: the twin at once
 */
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

namespace byoc {

class Guard {
 public:
  struct Limits {
    int64_t failures = 3;    // this many, and the twin takes over for good
    double deadline = 0;     // seconds of one call; 0: none
    bool check_nan = false;  // look for NaN in the outputs
  };
  /*! \brief What is told of a failure: kind ("error", "deadline", "nan", "crash"), message, its
   * number. */
  using Report = std::function<void(const std::string& kind, const std::string& message,
                                    int64_t count, bool replaced)>;

  /*!
   * \param segment name, for messages. execute: the vendor's function, outputs last.
   * \param make_twin called when the twin is first needed; the same arguments as `execute`.
   * \param report called on the thread of a processor.
   */
  Guard(std::string segment, tvm::ffi::Function execute, size_t outputs,
        std::function<tvm::ffi::Function()> make_twin, Limits limits, Report report);

  /*! \brief Any thread, any number at once. Throws byoc.ExecutionError when the twin fails, too. */
  void Call(tvm::ffi::PackedArgs args);

 private:
  class Helper;
  struct Attempt;

  bool TryVendor(tvm::ffi::PackedArgs args, std::string* kind, std::string* message);
  void CallWithin(tvm::ffi::PackedArgs args);
  void CallTwin(tvm::ffi::PackedArgs args);

  const std::string segment_;
  const tvm::ffi::Function execute_;
  const size_t outputs_;
  const std::function<tvm::ffi::Function()> make_twin_;
  const Limits limits_;
  const Report report_;
  std::atomic<int64_t> count_{0};
  std::once_flag twin_once_;
  tvm::ffi::Function twin_;
  std::mutex helper_mutex_;
  std::shared_ptr<Helper> helper_;  // idle; null while one is at work
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_GUARD_H_
