/*
 * A call with a deadline runs on a helper thread, on copies of its arguments: when it is too late
 * it is cancelled and left behind, and whatever it writes then goes to memory that only it owns.
 */
#include "guard/guard.h"

#include <signal.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>

#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "core/buffer.h"
#include "core/cancellation.h"
#include "core/errors.h"
#include "core/processor.h"
#include "core/thread_pool.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

struct TooLate {};
struct FoundNan {
  int output;
};

template <typename T>
bool AnyNan(const DLTensor& t, size_t count) {
  const T* data = reinterpret_cast<const T*>(static_cast<const char*>(t.data) + t.byte_offset);
  for (size_t i = 0; i < count; ++i) {
    if (std::isnan(data[i])) return true;
  }
  return false;
}

/// A 16-bit float is NaN when its exponent is full and its mantissa is not empty.
bool AnyNan16(const DLTensor& t, size_t count, uint16_t exponent) {
  const auto* data =
      reinterpret_cast<const uint16_t*>(static_cast<const char*>(t.data) + t.byte_offset);
  for (size_t i = 0; i < count; ++i) {
    if ((data[i] & 0x7fff) > exponent) return true;
  }
  return false;
}

bool HasNan(const DLTensor& t) {
  size_t count = 1;
  for (int i = 0; i < t.ndim; ++i) count *= static_cast<size_t>(t.shape[i]);
  if (t.dtype.code == kDLBfloat) return AnyNan16(t, count, 0x7f80);
  if (t.dtype.code != kDLFloat) return false;
  if (t.dtype.bits == 32) return AnyNan<float>(t, count);
  if (t.dtype.bits == 64) return AnyNan<double>(t, count);
  return t.dtype.bits == 16 && AnyNan16(t, count, 0x7c00);
}

std::string Text(const ffi::Error& error) {
  return std::string(error.kind()) + ": " + std::string(error.message());
}

}  // namespace

/// One call on copies of its arguments; owned by caller and helper together.
struct Guard::Attempt : std::enable_shared_from_this<Attempt> {
  Attempt(const ffi::Function& execute, ffi::PackedArgs args, size_t outputs, double seconds)
      : function(execute), device(CallContext::Current().device) {
    cancellation.due = After(seconds);
    const size_t count = static_cast<size_t>(args.size());
    tensors.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      const DLTensor* t = args[static_cast<int>(i)].cast<DLTensor*>();
      shapes.emplace_back(t->shape, t->shape + t->ndim);
      const size_t size = ffi::GetDataSize(*t);
      memory.emplace_back(size);
      if (i + outputs < count && size != 0) {
        std::memcpy(memory.back().data(), static_cast<const char*>(t->data) + t->byte_offset, size);
      }
      DLTensor copy = *t;
      copy.data = memory.back().data();
      copy.byte_offset = 0;
      copy.strides = nullptr;
      copy.shape = shapes.back().data();
      tensors.push_back(copy);
    }
    for (DLTensor& t : tensors) views.emplace_back(&t);
  }

  void Run() {
    try {
      const CallScope scope({&cancellation, device});
      ffi::Any result;
      function.CallPacked(views.data(), static_cast<int32_t>(views.size()), &result);
    } catch (...) {
      error = std::current_exception();
    }
    if (cancellation.HasAbandoned()) cancellation.LeaveMemory(shared_from_this());
    std::lock_guard<std::mutex> lock(mutex);
    done = true;
    changed.notify_all();
  }

  bool WaitFor(double seconds) {
    const Processor::Aside aside;
    std::unique_lock<std::mutex> lock(mutex);
    return changed.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return done; });
  }

  const ffi::Function function;
  const size_t device;
  Cancellation cancellation;
  std::vector<std::vector<int64_t>> shapes;
  std::vector<Buffer> memory;
  std::vector<DLTensor> tensors;
  std::vector<ffi::AnyView> views;
  std::exception_ptr error;
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
};

/// A thread that runs one attempt after the other until it is let go.
class Guard::Helper {
 public:
  static std::shared_ptr<Helper> Start() {
    auto helper = std::shared_ptr<Helper>(new Helper, [](Helper* h) {
      // The guard and its callers have let go: the thread deletes what it stands on.
      std::lock_guard<std::mutex> lock(h->mutex_);
      h->leave_ = true;
      h->changed_.notify_one();
    });
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      std::thread(Loop, helper.get()).detach();
    } catch (...) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return helper;
  }

  void Give(std::shared_ptr<Attempt> attempt) {
    std::lock_guard<std::mutex> lock(mutex_);
    next_ = std::move(attempt);
    changed_.notify_one();
  }

 private:
  static void Loop(Helper* self) {
    thread_pool::ApplyToThisThread(/*is_cpu=*/false);
    for (;;) {
      std::shared_ptr<Attempt> attempt;
      {
        std::unique_lock<std::mutex> lock(self->mutex_);
        self->changed_.wait(lock, [self] { return self->next_ != nullptr || self->leave_; });
        if (self->next_ == nullptr) break;
        attempt = std::move(self->next_);
        self->next_ = nullptr;
      }
      attempt->Run();
    }
    delete self;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Attempt> next_;
  bool leave_ = false;
};

Guard::Guard(std::string segment, ffi::Function execute, size_t outputs,
             std::function<ffi::Function()> make_fallback, Limits limits, Report report)
    : segment_(std::move(segment)),
      execute_(std::move(execute)),
      outputs_(outputs),
      make_fallback_(std::move(make_fallback)),
      limits_(limits),
      report_(std::move(report)) {}

void Guard::Call(ffi::PackedArgs args) {
  if (count_.load(std::memory_order_relaxed) >= limits_.failures) {
    CallFallback(args);
    return;
  }
  std::string kind, message;
  if (TryVendor(args, &kind, &message)) return;
  if (kind.empty()) {  // nothing failed: the vendor is not there yet
    CallFallback(args);
    return;
  }
  const int64_t count = count_.fetch_add(1) + 1;
  if (report_) report_(kind, message, count, count >= limits_.failures);
  try {
    CallFallback(args);
  } catch (const ffi::Error& error) {
    ThrowExecutionError(message + "; its host twin failed, too: " + Text(error));
  }
}

bool Guard::TryVendor(ffi::PackedArgs args, std::string* kind, std::string* message) {
  const Cancellation* const cancellation = CallContext::Current().cancellation;
  *kind = "error";
  try {
    if (limits_.deadline > 0) {
      CallWithin(args);
    } else {
      ffi::Any result;
      execute_.CallPacked(args, &result);
    }
    if (!limits_.check_nan) return true;
    const int inputs = args.size() - static_cast<int>(outputs_);
    for (int i = inputs; i < args.size(); ++i) {
      if (HasNan(*args[i].cast<DLTensor*>())) throw FoundNan{i - inputs};
    }
    return true;
  } catch (const TooLate&) {
    *kind = "deadline";
    *message = "no answer within " + std::to_string(limits_.deadline) + " s";
  } catch (const FoundNan& found) {
    *kind = "nan";
    *message = "NaN in output " + std::to_string(found.output);
  } catch (const ffi::Error& error) {
    *message = Text(error);
    if (cancellation != nullptr && cancellation->IsSet()) {
      // No fault of the vendor's, unless it goes on; and nobody waits for the fallback.
      if (cancellation->HasAbandoned() && report_) {
        const int64_t count = count_.fetch_add(1) + 1;
        report_("deadline", *message, count, count >= limits_.failures);
      }
      throw;
    }
    const std::string found(error.kind());
    if (found == kCrash) *kind = "crash";
    if (found == kDeadline) *kind = "deadline";
    if (found == kRestarting) kind->clear();
  } catch (const std::exception& error) {
    *message = error.what();
  } catch (...) {
    *message = "unknown C++ exception";
  }
  return false;
}

void Guard::CallWithin(ffi::PackedArgs args) {
  auto attempt = std::make_shared<Attempt>(execute_, args, outputs_, limits_.deadline);
  // A cancelled request cancels its attempt, and the vendor hears of it.
  struct Passing {
    Passing(Cancellation* from, const std::shared_ptr<Attempt>& to) : outer(from), inner(to) {
      if (outer != nullptr) outer->Add({inner, &inner->cancellation});
    }
    ~Passing() {
      if (outer != nullptr) outer->Remove(&inner->cancellation);
    }
    Cancellation* const outer;
    const std::shared_ptr<Attempt> inner;
  } passing(CallContext::Current().cancellation, attempt);
  std::shared_ptr<Helper> helper;
  {
    std::lock_guard<std::mutex> lock(helper_mutex_);
    if (!helpers_.empty()) {
      helper = std::move(helpers_.back());
      helpers_.pop_back();
    }
  }
  if (helper == nullptr) helper = Helper::Start();
  helper->Give(attempt);
  if (!attempt->WaitFor(limits_.deadline)) {  // the helper is left to itself
    attempt->cancellation.Cancel();
    throw TooLate();
  }
  {
    std::lock_guard<std::mutex> lock(helper_mutex_);
    helpers_.push_back(std::move(helper));
  }
  if (attempt->error) std::rethrow_exception(attempt->error);
  for (size_t i = attempt->tensors.size() - outputs_; i < attempt->tensors.size(); ++i) {
    const DLTensor* to = args[static_cast<int>(i)].cast<DLTensor*>();
    const size_t size = ffi::GetDataSize(*to);
    if (size != 0) {
      std::memcpy(static_cast<char*>(to->data) + to->byte_offset, attempt->tensors[i].data, size);
    }
  }
}

void Guard::CallFallback(ffi::PackedArgs args) {
  std::call_once(fallback_once_, [this] { fallback_ = make_fallback_(); });
  ffi::Any result;
  fallback_.CallPacked(args, &result);
}

}  // namespace byoc
