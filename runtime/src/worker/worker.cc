/*
 * Who calls holds the lock for as long as the call takes: a process is asked one thing at a time.
 *
 *   no process ──Launch──▶ starting ──"ready"──▶ ready ◀──┐ calls
 *       ▲                     │ failed, late      │──────┘
 *       └──── ThrowGone ◀─────┴───────────────────┘ gone, late, makes no sense
 */
#include "worker/worker.h"

#include <tvm/ffi/error.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <utility>

#include "core/descriptors.h"
#include "core/errors.h"
#include "core/event.h"
#include "worker/worker_messages.h"
#include "worker/worker_process.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

constexpr int64_t kLoading = 0;  // number of the answer that says: ready

std::string Seconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g s", seconds);
  return text;
}

/// Copy arguments `first` … `last` to the shared memory, or back.
void Copy(ffi::PackedArgs args, int first, int last, char* memory, bool back) {
  for (int i = 0; i < last; ++i) {
    const DLTensor* t = args[i].cast<DLTensor*>();
    const size_t size = ffi::GetDataSize(*t);
    char* mine = static_cast<char*>(t->data) + t->byte_offset;
    if (i >= first && size != 0) {
      if (back) {
        std::memcpy(mine, memory, size);
      } else {
        std::memcpy(memory, mine, size);
      }
    }
    memory += RoundUp(size);
  }
}

}  // namespace

struct Worker::State {
  const pid_t owner = getpid();
  std::mutex mutex;
  std::unique_ptr<WorkerProcess> process;
  bool ready = false;
  int64_t due = kNever;  // to be ready
  int64_t calls = 0;     // of this process
  std::vector<int64_t> words;
  std::string packet;
  std::atomic<pid_t> pid{0};       // of the process, for who may not wait for the lock
  std::atomic<bool> leave{false};  // the process is to end after the call that runs

  void Forget() {
    pid.store(0);
    process.reset();
  }
};

Worker::Worker(Settings settings) : settings_(std::move(settings)), state_(new State) {}

Worker::~Worker() {
  std::unique_ptr<State> state(state_.load());
  if (state->owner != getpid()) {
    state.release();  // a parent's; its lock may be held
    return;
  }
  WorkerProcess::LetGo(std::move(state->process));
}

Worker::State* Worker::Here() {
  State* state = state_.load(std::memory_order_acquire);
  if (state->owner == getpid()) return state;
  auto fresh = std::make_unique<State>();  // the old one belongs to the parent: leave it
  if (!state_.compare_exchange_strong(state, fresh.get())) return state;
  return fresh.release();
}

void Worker::Launch(State* state) {
  try {
    state->process = WorkerProcess::Start(settings_.argv, settings_.load);
  } catch (const ffi::Error& error) {
    throw ffi::Error(error.kind(), "vendor '" + settings_.vendor + "': " + error.message(), "");
  }
  state->ready = false;
  state->calls = 0;
  state->due = After(settings_.start_seconds);
  state->pid.store(state->process->pid());
}

std::string Worker::Who(State* state) const {
  return "the worker process (pid " + std::to_string(state->process->pid()) + ") of vendor '" +
         settings_.vendor + "'";
}

void Worker::ThrowGone(State* state, const std::string& during, const std::string& advice) {
  const std::string who = Who(state), how = state->process->Reap();
  state->Forget();
  throw ffi::Error(kCrash, who + " " + how + " while it " + during + advice, "");
}

void Worker::ThrowKilled(State* state, const char* kind, const std::string& text) {
  state->process->Kill();
  state->Forget();
  throw ffi::Error(kind, text, "");
}

WorkerAnswer Worker::Understand(State* state, int64_t number, const std::string& during,
                                const std::string& advice) {
  std::optional<WorkerAnswer> answer = DecodeAnswer(state->packet);
  if (answer && answer->number == number) return *std::move(answer);
  // A library that writes where it should not has written here; what else it has broken is unknown.
  ThrowKilled(state, kCrash,
              Who(state) + " sent " + std::to_string(state->packet.size()) +
                  " bytes that are no answer while it " + during + ", and was killed" + advice);
}

bool Worker::Ready(State* state, bool wait, const std::string& advice) {
  if (state->ready) return true;
  const bool overdue = SteadyNow() >= state->due;
  const std::string during = "loaded its segments";
  switch (state->process->Receive(wait ? state->due : 0, &state->packet)) {
    case WorkerProcess::Wait::kPacket:
      break;
    case WorkerProcess::Wait::kGone:
      ThrowGone(state, during, advice);
    case WorkerProcess::Wait::kLate:
      if (!wait && !overdue) return false;
      ThrowKilled(state, kDeadline,
                  "the worker process of vendor '" + settings_.vendor + "' had not " + during +
                      " after " + Seconds(settings_.start_seconds) + " and was killed" + advice);
  }
  const WorkerAnswer answer = Understand(state, kLoading, during, advice);
  if (answer.failed) ThrowKilled(state, answer.kind.c_str(), answer.message);
  return state->ready = true;
}

void Worker::Start() {
  State* state = Here();
  std::lock_guard<std::mutex> lock(state->mutex);
  if (state->process == nullptr) Launch(state);
}

void Worker::WaitUntilReady() {
  State* state = Here();
  std::lock_guard<std::mutex> lock(state->mutex);
  if (state->process == nullptr) Launch(state);
  Ready(state, /*wait=*/true, "");
}

void Worker::Run(const Segment& segment, ffi::PackedArgs args) {
  State* state = Here();
  try {
    std::lock_guard<std::mutex> lock(state->mutex);
    RunLocked(state, segment, args);
  } catch (...) {
    Leave(state);
    throw;
  }
  Leave(state);
}

void Worker::RunLocked(State* state, const Segment& segment, ffi::PackedArgs args) {
  if (state->process == nullptr) Launch(state);
  if (!Ready(state, segment.patient, segment.advice)) {
    throw ffi::Error(kRestarting, "the worker process is starting", "");
  }
  WorkerProcess* process = state->process.get();
  const int64_t number = ++state->calls;
  const size_t bytes = EncodeCall(number, segment.number, args, &state->words);
  const size_t length = state->words.size() * sizeof(int64_t);
  if (length > kMaxCall) {
    TVM_FFI_THROW(ValueError) << "segment '" << segment.name << "' has " << args.size()
                              << " inputs and outputs, whose description takes " << length
                              << " bytes, at most " << kMaxCall
                              << " go to a worker process; run vendor '" << settings_.vendor
                              << "' in process";
  }
  process->Reserve(std::max<size_t>(bytes, 1));
  const int outputs = static_cast<int>(segment.outputs), inputs = args.size() - outputs;
  Copy(args, 0, inputs, process->data(), /*back=*/false);

  const std::string during = "ran segment '" + segment.name + "'";
  if (!process->Send(state->words)) ThrowGone(state, "waited for work", segment.advice);
  switch (
      process->Receive(segment.deadline > 0 ? After(segment.deadline) : kNever, &state->packet)) {
    case WorkerProcess::Wait::kPacket:
      break;
    case WorkerProcess::Wait::kGone:
      ThrowGone(state, during, segment.advice);
    case WorkerProcess::Wait::kLate:
      ThrowKilled(state, kDeadline,
                  "no answer within " + Seconds(segment.deadline) + "; " + Who(state) +
                      " was killed while it " + during + segment.advice);
  }
  const WorkerAnswer answer = Understand(state, number, during, segment.advice);
  if (answer.failed) throw ffi::Error(answer.kind, answer.message, "");
  Copy(args, inputs, inputs + outputs, process->data(), /*back=*/true);
}

void Worker::Stop() {
  State* state = Here();
  state->leave.store(true);
  Leave(state);
}

/// End the process if that is asked for; not while a call runs, which does it afterwards.
void Worker::Leave(State* state) {
  while (state->leave.load() && state->mutex.try_lock()) {
    std::lock_guard<std::mutex> lock(state->mutex, std::adopt_lock);
    if (!state->leave.exchange(false)) continue;
    state->pid.store(0);
    WorkerProcess::LetGo(std::move(state->process));
  }
}

int64_t Worker::pid() { return Here()->pid.load(); }

}  // namespace byoc
