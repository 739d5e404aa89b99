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
#include <thread>
#include <utility>

#include "core/thread_pool.h"
#include "core/workspace.h"

namespace byoc {

/*
 * Submitters push on a stack, the inbox; the processor's thread takes all of it at once and puts
 * each job into its line. So lines belong to that thread alone, a submitter writes one word, and
 * a job crosses to another core with two cache lines: the inbox and itself.
 *
 *   Submit ──▶ inbox: c ▸ b ▸ a ──take──▶ lines: A [a c]  B [b] ──▶ a, b, c
 */
struct Processor::State {
  alignas(64) std::atomic<Job*> inbox{nullptr};
  alignas(64) std::atomic<bool> asleep{false};
  std::atomic<uint32_t> pushes{0};  // the futex the thread sleeps on
  std::atomic<bool> started{false};
  std::mutex mutex;  // of starting the thread
  enum : uint32_t { kFree, kTaken, kAwaited };
  alignas(64) std::atomic<uint32_t> seat{kFree};  // taken by who runs a job
  Workspace* const workspace = NewWorkspace();    // of who sits there
  Source common;
  Source* first = nullptr;  // lines that have jobs, in the order of their turns
  Source* last = nullptr;

  bool TrySit() {
    uint32_t seen = kFree;
    return seat.compare_exchange_strong(seen, kTaken, std::memory_order_seq_cst);
  }

  void Sit() {
    for (int i = SpinRounds(); i >= 0; --i) {
      if (TrySit()) return;
      CpuRelax();
    }
    while (seat.exchange(kAwaited, std::memory_order_seq_cst) != kFree) FutexWait(&seat, kAwaited);
  }

  void Stand() {
    if (seat.exchange(kFree, std::memory_order_release) == kAwaited) FutexWake(&seat);
  }

  Job* Pop() {
    if (inbox.load(std::memory_order_acquire) != nullptr) Sort();
    Source* source = first;
    if (source == nullptr) return nullptr;
    first = source->next_;
    if (first == nullptr) last = nullptr;
    Job* job = source->head_;
    source->head_ = job->next_;
    if (source->head_ != nullptr) {
      Append(source);  // its next turn comes after everyone else's
    } else {
      source->tail_ = nullptr;
    }
    return job;
  }

  /*! \brief From the inbox into the lines, oldest first. */
  void Sort() {
    Job* oldest = nullptr;
    for (Job* job = inbox.exchange(nullptr, std::memory_order_acquire); job != nullptr;) {
      Job* older = job->next_;
      job->next_ = oldest;
      oldest = job;
      job = older;
    }
    while (oldest != nullptr) {
      Job* job = oldest;
      oldest = job->next_;
      job->next_ = nullptr;
      Source* source = job->source_ != nullptr ? job->source_ : &common;
      if (source->queue_ != this) {  // new, or what it holds belongs to the parent process
        source->head_ = source->tail_ = nullptr;
        source->queue_ = this;
      }
      if (source->head_ == nullptr) {
        source->head_ = job;
        Append(source);
      } else {
        source->tail_->next_ = job;
      }
      source->tail_ = job;
    }
  }

  void Append(Source* source) {
    source->next_ = nullptr;
    (last != nullptr ? last->next_ : first) = source;
    last = source;
  }

  Job* PopOrSleep() {
    // Longer than a caller waits: the next call of a loop usually comes within this time.
    for (int i = 4 * SpinRounds(); i > 0; --i) {
      if (Job* job = Pop()) return job;
      CpuRelax();
    }
    for (;;) {
      // Submit pushes, then looks at `asleep`; here it is the other way round: one of the two sees
      // the other.
      const uint32_t seen = pushes.load(std::memory_order_acquire);
      asleep.store(true, std::memory_order_seq_cst);
      Job* job = nullptr;
      if (inbox.load(std::memory_order_seq_cst) != nullptr || first != nullptr) job = Pop();
      if (job == nullptr) FutexWait(&pushes, seen);
      asleep.store(false, std::memory_order_relaxed);
      if (job != nullptr || (job = Pop()) != nullptr) return job;
    }
  }
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
thread_local bool is_guest = false;  // in the seat of `current`, but not its thread
std::atomic<bool> closing{false};
std::atomic<pid_t> closer{0};  // the thread that called Shutdown

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
  }
  current = nullptr;
  is_guest = false;
  RegistryMutex().unlock();
}

void Processor::Shutdown() {
  constexpr auto kPatience = std::chrono::seconds(5);
  closer.store(gettid());
  closing.store(true, std::memory_order_seq_cst);
  // Threads that were just on their way back to Python get there, and park when they come again.
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const auto end = std::chrono::steady_clock::now() + kPatience;
  std::lock_guard<std::mutex> lock(RegistryMutex());
  for (auto& [name, processor] : Registry()) {
    State* state = processor->state_.load();
    while (state->seat.load(std::memory_order_acquire) != State::kFree &&
           std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

void Processor::ParkIfClosing() {
  if (!closing.load(std::memory_order_acquire) || current != nullptr) return;
  if (closer.load() == gettid()) return;
  for (;;) pause();  // until the process is gone
}

void Processor::Submit(Job* job, Source* source) {
  if (TrySubmit(job, source)) return;
  ParkIfClosing();
  TVM_FFI_THROW(RuntimeError) << "the process is shutting down: nothing runs on processor '"
                              << name_ << "' any more";
}

bool Processor::TrySubmit(Job* job, Source* source) {
  if (closing.load(std::memory_order_relaxed)) return false;
  State* state = state_.load(std::memory_order_acquire);
  if (!state->started.load(std::memory_order_acquire)) StartThread(state);
  job->source_ = source;
  job->next_ = state->inbox.load(std::memory_order_relaxed);
  while (!state->inbox.compare_exchange_weak(job->next_, job, std::memory_order_seq_cst,
                                             std::memory_order_relaxed)) {
  }
  if (state->asleep.load(std::memory_order_seq_cst)) {
    state->pushes.fetch_add(1, std::memory_order_release);
    FutexWake(&state->pushes);
  }
  return true;
}

void Processor::StartThread(State* state) {
  std::lock_guard<std::mutex> lock(state->mutex);
  if (state->started.load(std::memory_order_relaxed)) return;
  // Signals belong to the threads of the application.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread([this, state] { Loop(state); }).detach();
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  state->started.store(true, std::memory_order_release);
}

void Processor::Loop(State* state) {
  current = this;
  UseWorkspace(state->workspace);
  pthread_setname_np(pthread_self(), ("byoc:" + name_).substr(0, 15).c_str());
  const bool is_cpu = name_ == "cpu";
  for (;;) {
    Job* job = state->PopOrSleep();
    state->Sit();
    if (closing.load(std::memory_order_seq_cst)) {
      state->Stand();
      for (;;) pause();  // until the process is gone
    }
    thread_pool::ApplyToThisThread(is_cpu);
    job->Run();
    state->Stand();
  }
}

void Processor::Wait(Event* event) {
  if (current == nullptr) {
    event->Wait();
    ParkIfClosing();
    return;
  }
  State* state = current->state_.load(std::memory_order_acquire);
  if (is_guest) {  // the queue is not ours to work off: let the processor's thread do it meanwhile
    state->Stand();
    event->Wait();
    state->Sit();
    return;
  }
  while (!event->IsSet()) {
    if (Job* job = state->Pop()) {
      job->Run();
    } else {
      std::this_thread::yield();
    }
  }
}

bool Processor::HasWork() const {
  const State* state = state_.load(std::memory_order_relaxed);
  return state->inbox.load(std::memory_order_relaxed) != nullptr || state->first != nullptr;
}

void Processor::Call(const std::function<void()>& work, Source* source) {
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
  Submit(&job, source);
  Wait(&job.done);
  if (job.error) std::rethrow_exception(job.error);
}

/*! \brief A caller in the seat: for this time its thread is as the processor's own would be. */
class Processor::Guest {
 public:
  Guest(Processor* processor, State* state) : state_(state) {
    std::fegetenv(&arithmetic_);
    std::fesetenv(FE_DFL_ENV);
    workspace_ = UseWorkspace(state->workspace);
    current = processor;
    is_guest = true;
  }
  ~Guest() {
    current = nullptr;
    is_guest = false;
    UseWorkspace(workspace_);
    std::fesetenv(&arithmetic_);
    state_->Stand();
    ParkIfClosing();
  }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

 private:
  State* const state_;
  thread_pool::OneThread one_thread_;
  std::fenv_t arithmetic_;  // libraries may have set it so that small numbers become 0
  Workspace* workspace_;
};

/*! \brief The state, when the caller may work itself and has taken the seat; else null. */
Processor::State* Processor::TakeSeat() {
  if (current != nullptr || thread_pool::NumThreads() != 1) return nullptr;
  State* state = state_.load(std::memory_order_acquire);
  if (state->inbox.load(std::memory_order_relaxed) != nullptr) return nullptr;
  // A thread that is awake has jobs, or waits for the seat to run one: we come after those.
  const bool idle = !state->started.load(std::memory_order_acquire) ||
                    state->asleep.load(std::memory_order_relaxed);
  if (!idle || !state->TrySit()) return nullptr;
  if (!closing.load(std::memory_order_seq_cst)) return state;
  state->Stand();
  return nullptr;
}

void Processor::CallAnywhere(const std::function<void()>& work, Source* source) {
  if (State* state = TakeSeat()) {
    const Guest guest(this, state);
    work();
    return;
  }
  Call(work, source);
}

}  // namespace byoc
