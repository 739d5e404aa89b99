/*! \brief Requests that are done, waiting for the thread that tells their owners. */
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

/*! \brief Processors push, one thread takes. */
class Completions {
 public:
  struct Item {
    int64_t ticket;            // the owner's number of the request
    std::exception_ptr error;  // null when it went well
    std::vector<int64_t> trace;
    tvm::ffi::Array<tvm::ffi::Tensor> results;  // of a VM; a plan writes where it was told
  };

  void Push(Item item) {
    // Notified with the lock held: the taker may drop the last reference to *this right after.
    std::lock_guard<std::mutex> lock(mutex_);
    items_.push_back(std::move(item));
    changed_.notify_one();
  }

  /*! \brief Let `Take` return, with nothing perhaps. */
  void Wake() {
    std::lock_guard<std::mutex> lock(mutex_);
    woken_ = true;
    changed_.notify_one();
  }

  /*! \brief All that is done; waits for something to happen, `seconds` at most. */
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
