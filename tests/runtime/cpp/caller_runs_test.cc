/* Callers that work themselves: `Processor::CallAnywhere`. */
#include <byoc/threads.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "core/processor.h"
#include "core/thread_pool.h"

namespace byoc {
namespace {

std::thread::id Here() { return std::this_thread::get_id(); }

/*! \brief A width of so many threads, for one test. */
class Width {
 public:
  explicit Width(int threads) : before_(thread_pool::NumThreads()) {
    thread_pool::SetNumThreads(threads);
  }
  ~Width() { thread_pool::SetNumThreads(before_); }

 private:
  const int before_;
};

TEST(CallerRunsOnAnIdleProcessor) {
  const Width one(1);
  Processor* processor = Processor::Get("lock");  // never used: it has no thread either
  const int width = threads::Max();
  std::fesetround(FE_UPWARD);
  std::thread::id first, nested;
  Processor* inside = nullptr;
  int inner_width = 0, rounding = 0;
  processor->CallAnywhere([&] {
    first = Here(), inside = Processor::Current();
    inner_width = threads::Max(), rounding = std::fegetround();
    processor->Call([&] { nested = Here(); });
  });
  CHECK(first == Here() && nested == Here());
  CHECK(inside == processor && Processor::Current() == nullptr);
  CHECK_EQ(inner_width, 1);
  CHECK_EQ(threads::Max(), width);
  CHECK_EQ(rounding, FE_TONEAREST);
  CHECK_EQ(std::fegetround(), FE_UPWARD);
  std::fesetround(FE_TONEAREST);
  // An error leaves the lock free.
  for (int i = 0; i < 2; ++i) {
    bool caught = false;
    try {
      processor->CallAnywhere([&] {
        first = Here();
        throw std::out_of_range("far");
      });
    } catch (const std::out_of_range&) {
      caught = true;
    }
    CHECK(caught && first == Here());
  }
}

TEST(CallerDoesNotRunWhereThereIsATeam) {
  const Width two(2);
  std::thread::id id;
  Processor::Get("lock of a team")->CallAnywhere([&] { id = Here(); });
  CHECK(id != Here());
}

TEST(CallersRunOneAtATime) {
  const Width one(1);
  Processor* processor = Processor::Get("lock of many");
  constexpr int kThreads = 8, kCalls = 400;
  int count = 0;  // only who has the lock touches it
  std::atomic<int> inside{0}, worst{0}, callers{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const auto id = Here();
      const auto work = [&] {
        if (++inside > 1) ++worst;
        ++count;
        if (Here() == id) ++callers;
        --inside;
      };
      for (int i = 0; i < kCalls; ++i) {
        if ((i + t) % 7 == 0) {
          processor->Call(work);
          std::this_thread::sleep_for(std::chrono::microseconds(50));  // its thread falls asleep
        } else {
          processor->CallAnywhere(work);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(count, kThreads * kCalls);
  CHECK_EQ(worst.load(), 0);
  CHECK(callers > 0);
}

TEST(OwnerLockIsLentWhileTheCallerWaits) {
  const Width one(1);
  Processor* cpu = Processor::Get("lock to lend");
  Processor* npu = Processor::Get("npu");
  std::thread::id outer, inner;
  Processor* after = nullptr;
  cpu->CallAnywhere([&] {
    outer = Here();
    npu->Call([&] { cpu->Call([&] { inner = Here(); }); });  // would wait for us for ever
    after = Processor::Current();
  });
  CHECK(outer == Here() && inner != Here() && inner != std::thread::id());
  CHECK(after == cpu);
}

TEST(CallerLeavesTheLockToJobsThatWait) {
  struct Note final : Job {
    std::atomic<bool> done{false};
    void Run() noexcept override { done = true; }
  } note;
  const Width one(1);
  Processor* processor = Processor::Get("lock in demand");
  bool submitted = false;
  long calls = 0;
  while (!note.done && calls < 10000000) {  // a caller that never pauses
    processor->CallAnywhere([&] {
      if (!std::exchange(submitted, true)) processor->Submit(&note);
    });
    ++calls;
  }
  CHECK(note.done.load());
}

TEST(OwnerLockOfAForkedChildIsFree) {
  const Width one(1);
  Processor* processor = Processor::Get("lock before a fork");
  pid_t child = -1;
  processor->CallAnywhere([&] {
    child = fork();
    if (child != 0) return;
    int answer = 0;
    processor->CallAnywhere([&] { answer += 40; });
    processor->Call([&] { answer += 2; });
    _exit(answer);
  });
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 42);
}

}  // namespace
}  // namespace byoc
