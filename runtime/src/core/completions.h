/// \file
/// Requests that are done, waiting for the thread that tells their owners.
#ifndef BYOC_RUNTIME_COMPLETIONS_H_
#define BYOC_RUNTIME_COMPLETIONS_H_

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <utility>
#include <vector>

namespace byoc {

/// A queue of finished requests: any thread pushes, one takes.
class Completions {
 public:
  /// A finished request.
  struct Item {
    int64_t ticket;                             // the owner's number of the request
    std::exception_ptr error;                   // null when it went well
    std::vector<int64_t> trace;                 // times in ns of the steady clock; see executor.h
    tvm::ffi::Array<tvm::ffi::Tensor> results;  // of a VM; a plan writes where it was told
    bool abandoned = false;                     // a vendor may still use the memory of its ports
  };

  /// Adds a finished request. Any thread.
  void Push(Item item) {
    // Notified with the lock held: the taker may drop the last reference to *this right after.
    std::lock_guard<std::mutex> lock(mutex_);
    items_.push_back(std::move(item));
    changed_.notify_one();
  }

  /// Lets `Take` return, with nothing perhaps. Any thread.
  void Wake() {
    std::lock_guard<std::mutex> lock(mutex_);
    woken_ = true;
    changed_.notify_one();
  }

  /// Returns all that is done; waits for something to happen. One thread.
  ///
  /// \param seconds how long to wait at most; 1e6 and more: for ever.
  std::vector<Item> Take(double seconds) {
    constexpr double kForever = 1e6;
    std::unique_lock<std::mutex> lock(mutex_);
    const auto ready = [this] { return woken_ || !items_.empty(); };
    if (seconds >= kForever) {
      changed_.wait(lock, ready);
    } else {
      changed_.wait_for(lock, std::chrono::duration<double>(seconds > 0 ? seconds : 0), ready);
    }
    woken_ = false;
    return std::exchange(items_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  std::vector<Item> items_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_COMPLETIONS_H_
