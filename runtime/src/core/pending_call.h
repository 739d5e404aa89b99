/// \file
/// Calls that a vendor begins (`submit`) and ends later, from any thread (`done`).
///
///   submit ──▶ device ──▶ done              the caller waits aside: its processor begins other
///   calls
///     └─ cancelled: the vendor is told ──▶ done, soon        else, after `kPatience`: an error,
///     and
///                                                            the memory is the vendor's until done
///
/// Whoever called sleeps on the thread of the processor, which has as many threads as calls may be
/// in flight (`Processor::SetDepth`); so all that stands around a call (fallbacks, checks, times)
/// is the same for vendors with and without a queue.
#ifndef BYOC_RUNTIME_PENDING_CALL_H_
#define BYOC_RUNTIME_PENDING_CALL_H_

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/cancellation.h"
#include "core/processor.h"

namespace byoc {

/// How long a vendor has to end a call after it was told that nobody waits for it.
inline constexpr std::chrono::milliseconds kPatience{1000};

class PendingCall;

/// The calls of one segment whose vendor has a queue.
class SegmentQueue : public std::enable_shared_from_this<SegmentQueue> {
 public:
  /// \param vendor name, for messages.
  explicit SegmentQueue(std::string vendor);

  /// Begins a call. Throws byoc.VendorError once `done` was called twice for one call, for then no
  /// result can be trusted, and byoc.ExecutionError in a forked child.
  std::shared_ptr<PendingCall> Begin();

 private:
  friend class PendingCall;
  void CheckOnce() const;

  const std::string vendor_;
  const pid_t pid_;
  std::atomic<bool> twice_{false};  // a call was ended twice
};

/// One call between `submit` and `done`.
class PendingCall final : public Cancellable, public std::enable_shared_from_this<PendingCall> {
 public:
  explicit PendingCall(std::shared_ptr<SegmentQueue> queue);

  // What the vendor does; any thread, also when nobody waits any more.

  /// Ends the call.
  ///
  /// \param error what went wrong; null: nothing did.
  /// \return false when it had ended before.
  bool End(const std::string* error);
  /// Ends the call with an error, unless it has ended: the vendor has let go of `done`.
  void Drop();
  /// Whether nobody waits for the answer any more.
  bool Cancelled() const;
  /// Calls `tell` when the call is cancelled, at once where it was.
  void OnCancel(std::function<void()> tell);
  /// When the answer is of no use any more, in ns of the steady clock; `kNever`.
  int64_t due() const { return due_; }

  // What byoc does.

  void Cancel() override;
  /// Waits for the end, while other jobs of this processor run. Throws what the vendor reported,
  /// and byoc.VendorError when it did not end a call that was cancelled.
  void Wait();
  /// Keeps memory until the vendor has ended the call; lets go of it on a processor's thread.
  void Keep(std::shared_ptr<void> memory);

 private:
  const std::shared_ptr<SegmentQueue> queue_;
  const int64_t due_;
  Processor* const home_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false, failed_ = false, cancelled_ = false;
  std::chrono::steady_clock::time_point patience_;  // until then, once it is cancelled
  std::string error_;
  std::vector<std::function<void()>> tell_;
  std::vector<std::shared_ptr<void>> kept_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_PENDING_CALL_H_
