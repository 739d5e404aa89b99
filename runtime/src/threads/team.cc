#include "threads/team.h"

#include <signal.h>

#include <cfenv>
#include <cstdio>
#include <cstdlib>

#include "threads/frames.h"
#include "threads/futex.h"

namespace byoc {
namespace threads {

Team::~Team() {
  stop_.store(true, std::memory_order_relaxed);
  ticket_.store(((ticket_.load() >> kIdBits) + 1) << kIdBits, std::memory_order_seq_cst);
  region_.fetch_add(1);
  FutexWake(&region_);
  for (pthread_t worker : workers_) pthread_join(worker, nullptr);
}

int Team::Reserve(int count) {
  if (static_cast<int>(workers_.size()) + 1 >= count) return count;
  // Signals are for the program's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (static_cast<int>(workers_.size()) + 1 < count) {
    pthread_t worker;
    if (pthread_create(&worker, nullptr, &Team::Main, this) != 0) break;
    pthread_setname_np(worker, "byoc:worker");
    workers_.push_back(worker);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return static_cast<int>(workers_.size()) + 1;
}

void Team::Start(Body body, void* data, int count, int max) {
  body_.store(body, std::memory_order_relaxed);
  data_.store(data, std::memory_order_relaxed);
  count_.store(count, std::memory_order_relaxed);
  max_.store(max, std::memory_order_relaxed);
  const uint64_t others = static_cast<uint64_t>(count) - 1;
  unfinished_.store(static_cast<uint32_t>(others), std::memory_order_relaxed);
  const uint64_t region = (ticket_.load(std::memory_order_relaxed) >> kIdBits) + 1;
  ticket_.store(region << kIdBits | others, std::memory_order_seq_cst);
  // A worker counts itself, looks at the ticket once more, and only then sleeps.
  if (sleepers_.load(std::memory_order_seq_cst) > 0) {
    woken_at_.store(SteadyNow(), std::memory_order_relaxed);
    region_.store(static_cast<uint32_t>(region), std::memory_order_seq_cst);
    FutexWake(&region_);
  } else {
    region_.store(static_cast<uint32_t>(region), std::memory_order_relaxed);
  }
}

int Team::Take() {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while ((ticket & kIds) != 0) {
    if (ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel)) {
      unfinished_.fetch_sub(1, std::memory_order_relaxed);  // the caller's from now on
      return static_cast<int>(ticket & kIds);
    }
  }
  return 0;
}

void Team::WaitForWorkers() {
  const auto done = [this] { return unfinished_.load(std::memory_order_acquire) == 0; };
  if (done() || patience_.Spin(done)) return;
  caller_sleeps_.store(true, std::memory_order_seq_cst);
  while (const uint32_t left = unfinished_.load(std::memory_order_seq_cst)) {
    FutexWait(&unfinished_, left);
  }
  caller_sleeps_.store(false, std::memory_order_relaxed);
}

void* Team::Main(void* team) {
  static_cast<Team*>(team)->Work();
  return nullptr;
}

void Team::Work() {
  std::feclearexcept(FE_INVALID);
  while (!stop_.load(std::memory_order_relaxed)) {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    const int id = static_cast<int>(ticket & kIds);
    if (id == 0) {
      AwaitRegion(ticket);
      continue;
    }
    const Body body = body_.load(std::memory_order_relaxed);
    void* const data = data_.load(std::memory_order_relaxed);
    const int count = count_.load(std::memory_order_relaxed);
    const int max = max_.load(std::memory_order_relaxed);
    if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel)) continue;
    {
      InRegion frame(this, id, count, max);
      body(data);
    }
    if (std::fetestexcept(FE_INVALID) != 0) {
      std::feclearexcept(FE_INVALID);
      invalid_.store(true, std::memory_order_relaxed);
    }
    if (unfinished_.fetch_sub(1, std::memory_order_seq_cst) == 1 &&
        caller_sleeps_.load(std::memory_order_seq_cst)) {
      FutexWake(&unfinished_);
    }
  }
}

void Team::AwaitRegion(uint64_t seen) {
  const auto begun = [&] { return ticket_.load(std::memory_order_acquire) != seen; };
  if (patience_.Spin(begun)) return;
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  if (ticket_.load(std::memory_order_seq_cst) == seen) {
    FutexWait(&region_, static_cast<uint32_t>(seen >> kIdBits));
    // Not after a region that needed nobody woken: its time is an old one.
    if (const int64_t since = woken_at_.exchange(0, std::memory_order_relaxed)) {
      patience_.Woken(since);
    }
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void Team::Barrier() {
  const int count = count_.load(std::memory_order_relaxed);
  if (static_cast<int>(workers_.size()) + 1 < count) {
    std::fputs("byoc: a parallel region waits for threads that could not be started\n", stderr);
    std::abort();  // it would wait for ever
  }
  const uint32_t passed = barriers_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(count)) {
    arrived_.store(0, std::memory_order_relaxed);
    barriers_.store(passed + 1, std::memory_order_release);
    FutexWake(&barriers_);
    return;
  }
  const auto open = [&] { return barriers_.load(std::memory_order_acquire) != passed; };
  if (patience_.Spin(open)) return;
  while (!open()) FutexWait(&barriers_, passed);
}

}  // namespace threads
}  // namespace byoc
