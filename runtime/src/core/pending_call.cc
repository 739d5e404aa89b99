#include "core/pending_call.h"

#include <tvm/ffi/error.h>
#include <unistd.h>

#include <utility>

#include "core/errors.h"

namespace byoc {

namespace {

/// Destroys objects on the thread of a processor: a vendor's own thread cannot wait for its end.
struct Release final : Job {
  std::vector<std::shared_ptr<void>> objects;
  void Run() noexcept override { delete this; }
};

void ReleaseOn(Processor* processor, std::vector<std::shared_ptr<void>> objects) {
  if (objects.empty()) return;
  auto job = std::make_unique<Release>();
  job->objects = std::move(objects);
  try {
    if (processor->TrySubmit(job.get())) job.release();
  } catch (const tvm::ffi::Error&) {  // no thread is to be had
  }
  job.release();  // at the end of the process nothing is torn down
}

}  // namespace

SegmentQueue::SegmentQueue(std::string vendor) : vendor_(std::move(vendor)), pid_(getpid()) {}

void SegmentQueue::CheckOnce() const {
  if (!twice_.load(std::memory_order_acquire)) return;
  throw tvm::ffi::Error("byoc.VendorError",
                        "vendor author: vendor '" + vendor_ +
                            "' called done twice for one call of this segment, so another call may "
                            "have been taken for done before it was; each call has a done of its "
                            "own, to be called once",
                        "");
}

std::shared_ptr<PendingCall> SegmentQueue::Begin() {
  CheckOnce();
  if (getpid() != pid_) {
    ThrowExecutionError("vendor '" + vendor_ +
                        "' was loaded before this process was forked, and the threads of its queue "
                        "are its parent's; load the model in the child");
  }
  return std::make_shared<PendingCall>(shared_from_this());
}

PendingCall::PendingCall(std::shared_ptr<SegmentQueue> queue)
    : queue_(std::move(queue)),
      due_(CallContext::Current().cancellation != nullptr ? CallContext::Current().cancellation->due
                                                          : kNever),
      home_(Processor::Current() != nullptr ? Processor::Current() : Processor::Get("cpu")) {}

bool PendingCall::End(const std::string* error) {
  std::vector<std::shared_ptr<void>> kept;
  std::vector<std::function<void()>> told;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (ended_) {
      queue_->twice_.store(true, std::memory_order_release);
      return false;
    }
    ended_ = true;
    failed_ = error != nullptr;
    if (failed_) error_ = *error;
    kept.swap(kept_);
    told.swap(tell_);
    changed_.notify_all();
  }
  ReleaseOn(home_, std::move(kept));
  return true;
}

void PendingCall::Drop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (ended_) return;
  }
  const std::string error =
      "vendor author: submit let go of done without calling it, so nobody will ever know whether "
      "the call has ended; keep done until the device is done, and call it once";
  End(&error);
}

bool PendingCall::Cancelled() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return cancelled_;
}

void PendingCall::OnCancel(std::function<void()> tell) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (ended_) return;
    if (!cancelled_) {
      tell_.push_back(std::move(tell));
      return;
    }
  }
  tell();
}

void PendingCall::Cancel() {
  std::vector<std::function<void()>> told;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (ended_ || cancelled_) return;
    cancelled_ = true;
    patience_ = std::chrono::steady_clock::now() + kPatience;
    told.swap(tell_);
    changed_.notify_all();
  }
  for (const auto& tell : told) {
    try {
      tell();
    } catch (...) {  // the vendor's; the call still ends, or not
    }
  }
}

void PendingCall::Wait() {
  Cancellation* const cancellation = CallContext::Current().cancellation;
  if (cancellation != nullptr) cancellation->Add(shared_from_this());
  bool abandoned = false;
  {
    const Processor::Aside aside;
    std::unique_lock<std::mutex> lock(mutex_);
    while (!ended_ && !abandoned) {
      if (!cancelled_) {
        changed_.wait(lock);
      } else {
        abandoned = changed_.wait_until(lock, patience_) == std::cv_status::timeout && !ended_;
      }
    }
  }
  if (cancellation != nullptr) {
    cancellation->Remove(this);
    if (abandoned) cancellation->Abandon(shared_from_this());
  }
  if (abandoned) {
    throw tvm::ffi::Error("byoc.VendorError",
                          "vendor author: vendor '" + queue_->vendor_ +
                              "' did not call done within " + std::to_string(kPatience.count()) +
                              " ms of being told that the call is cancelled; what it was given is "
                              "left to it",
                          "");
  }
  queue_->CheckOnce();
  if (failed_) TVM_FFI_THROW(RuntimeError) << "vendor '" << queue_->vendor_ << "': " << error_;
}

void PendingCall::Keep(std::shared_ptr<void> memory) {
  std::vector<std::shared_ptr<void>> late;  // destroyed here when the call has ended meanwhile
  std::lock_guard<std::mutex> lock(mutex_);
  if (ended_) {
    late.push_back(std::move(memory));
  } else {
    kept_.push_back(std::move(memory));
  }
}

}  // namespace byoc
