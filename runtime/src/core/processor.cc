#include "core/processor.h"

#include <pthread.h>
#include <signal.h>
#include <strings.h>
#include <tvm/ffi/error.h>
#include <unistd.h>

#include <cfenv>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/errors.h"
#include "core/job_queue.h"
#include "core/owner_lock.h"
#include "core/shutdown.h"
#include "core/thread_pool.h"
#include "core/workspace.h"

namespace byoc {

/// Queue, locks and threads of a processor in one process.
struct Processor::State {
  JobQueue jobs;
  std::atomic<size_t> threads{0};               // that were started
  std::mutex mutex;                             // of starting them
  OwnerLock consumer;                           // of who takes the next job
  alignas(64) OwnerLock owner;                  // of who is at work
  std::atomic<int> aside{0};                    // jobs that wait for a device
  Workspace* const workspace = NewWorkspace();  // of who has the owner lock
};

namespace {

// Never destroyed: threads may still look at them while the process exits.
std::mutex& RegistryMutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}

std::map<std::string, Processor*>& Registry() {
  static auto* registry = new std::map<std::string, Processor*>;
  return *registry;
}

thread_local Processor* current = nullptr;
thread_local bool caller_runs = false;  // has the lock of `current`, but is not its thread

}  // namespace

int SpinRounds() {
  static const int rounds = [] {
    const char* policy = std::getenv("OMP_WAIT_POLICY");
    const bool passive = policy != nullptr && strcasecmp(policy, "passive") == 0;
    return passive || std::thread::hardware_concurrency() < 2 ? 0 : 100;
  }();
  return rounds;
}

Processor::Processor(std::string name) : name_(std::move(name)), state_(new State) {}

Processor* Processor::Get(const std::string& name) {
  static const int registered =
      pthread_atfork([] { RegistryMutex().lock(); }, [] { RegistryMutex().unlock(); }, AfterFork);
  static_cast<void>(registered);
  thread_pool::NumThreads();  // a bad environment variable is reported to the caller, here
  std::lock_guard<std::mutex> lock(RegistryMutex());
  Processor*& processor = Registry()[name];
  if (processor == nullptr) processor = new Processor(name);
  return processor;
}

Processor* Processor::Current() { return current; }

void Processor::AfterFork() {
  for (auto& [name, processor] : Registry()) {
    processor->state_.store(new State);  // the old one may hold a locked mutex: leave it
    processor->load_.store(0);
  }
  current = nullptr;
  caller_runs = false;
  RegistryMutex().unlock();
}

void Processor::Shutdown() {
  constexpr auto kPatience = std::chrono::seconds(5), kDevices = std::chrono::seconds(1);
  shutdown::Begin();
  // Threads that were just on their way back to Python get there, and block when they come again.
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const auto begin = std::chrono::steady_clock::now();
  std::lock_guard<std::mutex> lock(RegistryMutex());
  for (auto& [name, processor] : Registry()) {
    State* state = processor->state_.load();
    for (;;) {
      const auto waited = std::chrono::steady_clock::now() - begin;
      const bool at_work = !state->owner.IsFree() && waited < kPatience;
      if (!at_work && (state->aside.load() == 0 || waited >= kDevices)) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

void Processor::BlockIfShuttingDown() {
  if (current == nullptr) shutdown::BlockOtherThreads();
}

void Processor::Submit(Job* job, SubmissionQueue* queue) {
  if (TrySubmit(job, queue)) return;
  BlockIfShuttingDown();
  TVM_FFI_THROW(RuntimeError) << "the process is shutting down: nothing runs on processor '"
                              << name_ << "' any more";
}

bool Processor::TrySubmit(Job* job, SubmissionQueue* queue) {
  if (shutdown::HasBegun(std::memory_order_relaxed)) return false;
  EnsureThread();
  state_.load(std::memory_order_acquire)->jobs.Push(job, queue);
  return true;
}

void Processor::SetDepth(size_t depth) {
  size_t known = depth_.load(std::memory_order_relaxed);
  while (known < depth && !depth_.compare_exchange_weak(known, depth)) {
  }
}

void Processor::SetDevices(size_t count) {
  size_t known = 1;
  if (count == 1 && devices() == 1) return;
  if (devices_.compare_exchange_strong(known, count) || known == count) return;
  TVM_FFI_THROW(ValueError) << "processor '" << name_ << "' stands for " << known
                            << " devices, and for " << count << " elsewhere; vendors that share a "
                            << "processor find the same devices";
}

Processor* Processor::Device(size_t index) {
  return devices() == 1 ? this : Get(name_ + ":" + std::to_string(index));
}

void Processor::EnsureThread() {
  State* state = state_.load(std::memory_order_acquire);
  if (state->threads.load(std::memory_order_acquire) < depth()) StartThreads(state);
}

void Processor::StartThreads(State* state) {
  std::lock_guard<std::mutex> lock(state->mutex);
  // Signals belong to the threads of the application.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  size_t running = state->threads.load(std::memory_order_relaxed);
  try {
    for (; running < depth(); ++running) std::thread([this, state] { Loop(state); }).detach();
  } catch (const std::system_error& error) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    state->threads.store(running, std::memory_order_release);
    if (running != 0) return;  // fewer calls are in flight
    ThrowExecutionError("cannot start the thread of processor '" + name_ +
                        "': " + error.code().message() +
                        "; this process has as many threads as it may: raise the limit (ulimit -u, "
                        "pids.max of its control group) or use fewer threads");
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  state->threads.store(running, std::memory_order_release);
}

void Processor::Loop(State* state) {
  current = this;
  UseWorkspace(state->workspace);
  pthread_setname_np(pthread_self(), ("byoc:" + name_).substr(0, 15).c_str());
  const bool is_cpu = name_ == "cpu";
  for (;;) {
    state->consumer.Acquire();
    Job* job = state->jobs.PopOrSleep();
    state->owner.Acquire();  // before the next job is taken: they begin in order
    state->consumer.Release();
    if (shutdown::HasBegun()) {
      state->owner.Release();
      shutdown::SleepForEver();
    }
    thread_pool::ApplyToThisThread(is_cpu);
    job->Run();
    state->owner.Release();
  }
}

Processor::Aside::Aside() : state_(nullptr) {
  if (current == nullptr || current->depth() == 1) return;
  state_ = current->state_.load(std::memory_order_acquire);
  state_->aside.fetch_add(1);
  state_->owner.Release();
}

Processor::Aside::~Aside() {
  if (state_ == nullptr) return;
  state_->owner.Acquire();
  state_->aside.fetch_sub(1);
  if (!shutdown::HasBegun()) return;
  state_->owner.Release();
  shutdown::SleepForEver();
}

void Processor::Wait(Event* event) {
  if (current == nullptr) {
    event->Wait();
    BlockIfShuttingDown();
    return;
  }
  State* state = current->state_.load(std::memory_order_acquire);
  if (caller_runs) {  // the jobs are not ours to work off: let the processor's thread do it
    state->owner.Release();
    event->Wait();
    state->owner.Acquire();
    return;
  }
  while (!event->IsSet()) {
    Job* job = nullptr;
    if (state->consumer.TryAcquire()) {
      job = state->jobs.Pop();
      state->consumer.Release();
    }
    if (job != nullptr) {
      job->Run();
    } else {
      const Aside aside;  // of several threads another one may be the one to go on
      std::this_thread::yield();
    }
  }
}

bool Processor::HasWork() const { return state_.load(std::memory_order_relaxed)->jobs.HasWork(); }

void Processor::Call(const std::function<void()>& work, SubmissionQueue* queue) {
  if (current == this) {
    work();
    return;
  }
  struct CallJob final : Job {
    const std::function<void()>* work;
    std::exception_ptr error;
    Event done;
    void Run() noexcept override {
      try {
        (*work)();
      } catch (...) {
        error = std::current_exception();
      }
      done.Set();
    }
  } job;
  job.work = &work;
  Submit(&job, queue);
  Wait(&job.done);
  if (job.error) std::rethrow_exception(job.error);
}

void Processor::Settle() {
  std::vector<Processor*> started;
  {
    std::lock_guard<std::mutex> lock(RegistryMutex());
    for (const auto& [name, processor] : Registry()) {
      if (processor->state_.load()->threads.load() > 0) started.push_back(processor);
    }
  }
  for (Processor* processor : started) processor->Call([] {});
}

/// A caller that has the owner lock and runs its work itself: for this time its thread is as the
/// processor's own would be. Gives the lock back at its end.
class Processor::CallerRuns {
 public:
  CallerRuns(Processor* processor, State* state) : state_(state) {
    std::fegetenv(&arithmetic_);
    std::fesetenv(FE_DFL_ENV);
    workspace_ = UseWorkspace(state->workspace);
    current = processor;
    caller_runs = true;
  }
  ~CallerRuns() {
    current = nullptr;
    caller_runs = false;
    UseWorkspace(workspace_);
    std::fesetenv(&arithmetic_);
    state_->owner.Release();
    BlockIfShuttingDown();
  }
  CallerRuns(const CallerRuns&) = delete;
  CallerRuns& operator=(const CallerRuns&) = delete;

 private:
  State* const state_;
  thread_pool::OneThread one_thread_;
  std::fenv_t arithmetic_;  // libraries may have set it so that small numbers become 0
  Workspace* workspace_;
};

/// Returns the state when the caller may run its work itself and now has the owner lock; else null.
Processor::State* Processor::TryOwn() {
  if (current != nullptr || thread_pool::NumThreads() != 1 || depth() != 1) return nullptr;
  State* state = state_.load(std::memory_order_acquire);
  if (state->jobs.HasNews()) return nullptr;
  // A thread that is awake has jobs, or waits for the lock to run one: we come after those.
  const bool idle = state->threads.load(std::memory_order_acquire) == 0 || state->jobs.IsAsleep();
  if (!idle || !state->owner.TryAcquire()) return nullptr;
  if (!shutdown::HasBegun()) return state;
  state->owner.Release();
  return nullptr;
}

void Processor::CallAnywhere(const std::function<void()>& work, SubmissionQueue* queue) {
  if (State* state = TryOwn()) {
    const CallerRuns running(this, state);
    work();
    return;
  }
  Call(work, queue);
}

}  // namespace byoc
