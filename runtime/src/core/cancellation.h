/// \file
/// Giving up a request: from whoever asks for it to the calls that are under way for it.
///
///   cancel, deadline ──▶ Cancellation of the request ──▶ PendingCall ──▶ the vendor is told
///                                  └──▶ Cancellation of a call that has a deadline of its own ──▶
///                                  …
///
/// A vendor that goes on regardless keeps the memory that it was given: whoever owns that memory
/// leaves it to the call (`LeaveMemory`) instead of using it again.
#ifndef BYOC_RUNTIME_CANCELLATION_H_
#define BYOC_RUNTIME_CANCELLATION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/descriptors.h"

namespace byoc {

/// Something that can be asked to end early.
class Cancellable {
 public:
  virtual ~Cancellable() = default;
  /// Asks; any thread, any number of times.
  virtual void Cancel() = 0;
};

class PendingCall;

/// Whether a request is to be given up, and what is to be told so.
class Cancellation final : public Cancellable {
 public:
  /// Sets the flag, and tells all that were added.
  void Cancel() override;
  /// Whether `Cancel` was called. Any thread.
  bool IsSet() const { return set_.load(std::memory_order_acquire); }

  /// When the answer is of no use any more, in ns of the steady clock; `kNever`. Set before it is
  /// shared.
  int64_t due = kNever;

  /// Passes the cancellation on to `inner` until `Remove`, at once where it is set already.
  void Add(const std::shared_ptr<Cancellable>& inner);
  void Remove(const Cancellable* inner);

  /// Notes a call whose vendor may still be using the memory it was given.
  void Abandon(std::shared_ptr<PendingCall> call);
  /// Whether there is such a call.
  bool HasAbandoned() const { return has_abandoned_.load(std::memory_order_acquire); }
  /// Keeps `memory` for as long as the vendors of such calls may use it.
  void LeaveMemory(const std::shared_ptr<void>& memory);

 private:
  std::atomic<bool> set_{false};
  std::atomic<bool> has_abandoned_{false};
  std::mutex mutex_;
  std::vector<std::shared_ptr<Cancellable>> inner_;
  std::vector<std::shared_ptr<PendingCall>> abandoned_;
};

/// What the work of this thread belongs to: which request, on which of several equal devices.
struct CallContext {
  Cancellation* cancellation = nullptr;  // null: nobody can cancel it
  size_t device = 0;

  /// The context of the calling thread.
  static CallContext& Current() {
    static thread_local CallContext current;
    return current;
  }
};

/// Sets the calling thread's context for as long as it lives.
class CallScope {
 public:
  explicit CallScope(CallContext context) : before_(CallContext::Current()) {
    CallContext::Current() = context;
  }
  ~CallScope() { CallContext::Current() = before_; }
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

 private:
  const CallContext before_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_CANCELLATION_H_
