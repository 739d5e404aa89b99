/* The threads of the CPU: `byoc/threads.h`. */
#include "byoc/threads.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <numeric>
#include <thread>
#include <vector>

#include "check.h"

namespace byoc {
namespace {

/*! \brief Run a callable for each id. */
template <typename Body>
void ForIds(int count, const Body& body) {
  threads::Parallel([](void* data) { (*static_cast<const Body*>(data))(); },
                    const_cast<Body*>(&body), count);
}

/*! \brief A number of threads, for one test. */
class MaxThreads {
 public:
  explicit MaxThreads(int count) : before_(threads::Max()) { threads::SetMax(count); }
  ~MaxThreads() { threads::SetMax(before_); }

 private:
  const int before_;
};

TEST(ThreadsRunEveryIdOnce) {
  for (int count : {1, 2, 3, 5, 8}) {
    for (int round = 0; round < 300; ++round) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
      std::atomic<int> wrong{0};
      ForIds(count, [&] {
        if (threads::Count() != count || threads::InParallel() != (count > 1)) ++wrong;
        ++runs[static_cast<size_t>(threads::Id())];
      });
      for (const auto& n : runs) CHECK_EQ(n.load(), 1);
      CHECK_EQ(wrong.load(), 0);
      CHECK_EQ(threads::Id(), 0);
      CHECK_EQ(threads::Count(), 1);
      CHECK(!threads::InParallel());
    }
  }
}

TEST(ThreadsSeeWhatWasWrittenBeforeAndShowWhatTheyWrite) {
  std::vector<int> data(4);
  for (int round = 0; round < 2000; ++round) {
    std::fill(data.begin(), data.end(), round);
    ForIds(4, [&] { data[static_cast<size_t>(threads::Id())] += threads::Id(); });
    CHECK_EQ(std::accumulate(data.begin(), data.end(), 0), 4 * round + 6);
  }
}

TEST(ThreadsTakeTheCallersMaximum) {
  const MaxThreads three(3);
  std::atomic<int> ids{0}, wrong{0};
  ForIds(0, [&] {
    ++ids;
    if (threads::Max() != 3) ++wrong;
    threads::SetMax(7);  // of this id alone
  });
  CHECK_EQ(ids.load(), 3);
  CHECK_EQ(wrong.load(), 0);
  std::thread([] { CHECK(threads::Max() >= 1); }).join();
}

TEST(ThreadsNestInOneThread) {
  std::atomic<int> inner{0}, wrong{0};
  ForIds(3, [&] {
    const int outer = threads::Id();
    ForIds(4, [&] {
      ++inner;
      if (threads::Id() != 0 || threads::Count() != 1 || !threads::InParallel()) ++wrong;
    });
    if (threads::Id() != outer || threads::Count() != 3) ++wrong;
  });
  CHECK_EQ(inner.load(), 3);
  CHECK_EQ(wrong.load(), 0);
}

TEST(ThreadsMeetAtBarriers) {
  constexpr int kCount = 4, kRounds = 200;
  CHECK_EQ(threads::Reserve(kCount), kCount);
  std::atomic<int> arrived{0}, early{0};
  ForIds(kCount, [&] {
    for (int round = 1; round <= kRounds; ++round) {
      ++arrived;
      threads::Barrier();
      if (arrived.load() < kCount * round) ++early;
      threads::Barrier();
    }
  });
  CHECK_EQ(arrived.load(), kCount * kRounds);
  CHECK_EQ(early.load(), 0);
  threads::Barrier();  // outside of a region: nobody to wait for
}

TEST(ThreadsServeSeveralCallersAtOnce) {
  std::atomic<int> total{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) ForIds(1 + round % 3, [&] { ++total; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQ(total.load(), 4 * (67 * 1 + 67 * 2 + 66 * 3));
}

/*! \brief 0 / 0, which leaves the mark. */
void BeInvalid() {
  volatile double zero = 0;
  volatile double nan = zero / zero;
  static_cast<void>(nan);
}

TEST(ThreadsCollectInvalidOperations) {
  threads::TakeInvalid();
  CHECK(!threads::TakeInvalid());
  for (int where = 0; where < 4; ++where) {
    for (int round = 0; round < 50; ++round) {
      ForIds(4, [&] {
        if (threads::Id() == where) BeInvalid();
      });
      ForIds(2, [] {});  // a smaller region in between loses nothing
      CHECK(threads::TakeInvalid());
      CHECK(!threads::TakeInvalid());
    }
  }
}

TEST(ThreadsLiveInAForkedChild) {
  std::atomic<int> ids{0};
  ForIds(3, [&] { ++ids; });
  CHECK_EQ(ids.load(), 3);
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<int> runs{0};
    for (int round = 0; round < 100; ++round) ForIds(3, [&] { ++runs; });
    _exit(runs.load() == 300 ? 0 : 1);
  }
  int status = -1;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 0);
  ForIds(3, [&] { ++ids; });
  CHECK_EQ(ids.load(), 6);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(ThreadsRunEveryIdWhereTheSystemGivesNoThread) {
  const pid_t child = fork();
  if (child == 0) {
    // Nowhere is there room for such a stack.
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstacksize(&attributes, size_t{1} << 46) != 0 ||
        pthread_setattr_default_np(&attributes) != 0) {
      _exit(2);
    }
    std::atomic<int> runs{0};
    ForIds(4, [&] { ++runs; });
    _exit(threads::Reserve(4) == 1 && runs.load() == 4 ? 0 : 1);
  }
  int status = -1;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 0);
}
#endif

}  // namespace
}  // namespace byoc
