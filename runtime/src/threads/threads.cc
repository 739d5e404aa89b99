#include "byoc/threads.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <cstdlib>
#include <memory>
#include <vector>

#include "threads/cpu_limit.h"
#include "threads/frames.h"
#include "threads/team.h"

namespace byoc {
namespace threads {
namespace {

constexpr int kMostThreads = 1024;

/// Forks that this process is a child of: a team of before has no workers here.
std::atomic<int> forks{0};

int DefaultMax() {
  static const int count = [] {
    if (const char* text = std::getenv("OMP_NUM_THREADS")) {  // "4", or a list for nested regions
      const long value = std::strtol(text, nullptr, 10);
      if (value >= 1 && value <= kMostThreads) return static_cast<int>(value);
    }
    return std::min(UsableProcessors(""), kMostThreads);
  }();
  return count;
}

/// What belongs to the calling thread.
struct Own {
  ~Own() {
    if (born != forks.load(std::memory_order_relaxed)) team.release();
  }

  Team* GetTeam() {
    if (born != forks.load(std::memory_order_relaxed)) {
      team.release();  // its workers stayed in the parent: nothing that could be ended
      frames.clear();
      born = forks.load(std::memory_order_relaxed);
    }
    if (team == nullptr) {
      static const int handler = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); });
      static_cast<void>(handler);
      team = std::make_unique<Team>();
    }
    return team.get();
  }

  int max = DefaultMax();
  int born = forks.load(std::memory_order_relaxed);
  std::unique_ptr<Team> team;
  std::vector<Frame> frames;  // regions the thread is in, the innermost last
};

Own& Self() {
  thread_local Own own;
  return own;
}

}  // namespace

InRegion::InRegion(Team* team, int id, int count, int max) : max_before_(Self().max) {
  Self().max = max;
  Self().frames.push_back({team, id, count, max});
}

InRegion::~InRegion() {
  Self().frames.pop_back();
  Self().max = max_before_;
}

int Max() { return Self().max; }

void SetMax(int count) { Self().max = std::clamp(count, 1, kMostThreads); }

int Reserve(int count) { return InParallel() ? 1 : Self().GetTeam()->Reserve(count); }

void Begin(Body body, void* data, int count) {
  Own& own = Self();
  if (count <= 0) count = own.max;
  count = std::min(count, kMostThreads);
  if (count == 1 || InParallel()) {
    own.frames.push_back({nullptr, 0, 1, own.max});
    return;
  }
  Team* team = own.GetTeam();
  team->Reserve(count);
  own.frames.push_back({team, 0, count, own.max});
  team->Start(body, data, count, own.max);
}

void Parallel(Body body, void* data, int count) {
  Begin(body, data, count);
  body(data);
  End();
}

void End() {
  Own& own = Self();
  if (Team* team = own.frames.back().team) {
    team->Finish([&](int id) {
      own.frames.back().id = id;
      own.max = own.frames.back().max;
    });
  }
  own.max = own.frames.back().max;
  own.frames.pop_back();
}

void Barrier() {
  const Own& own = Self();
  if (!own.frames.empty() && own.frames.back().team != nullptr) own.frames.back().team->Barrier();
}

int Id() { return Self().frames.empty() ? 0 : Self().frames.back().id; }

int Count() { return Self().frames.empty() ? 1 : Self().frames.back().count; }

bool InParallel() {
  const Own& own = Self();
  for (const Frame& frame : own.frames) {
    if (frame.count > 1) return true;
  }
  return false;
}

bool TakeInvalid() {
  Own& own = Self();
  bool found = own.team != nullptr && own.team->TakeInvalid();
  if (std::fetestexcept(FE_INVALID) != 0) {
    std::feclearexcept(FE_INVALID);
    found = true;
  }
  return found;
}

}  // namespace threads
}  // namespace byoc
