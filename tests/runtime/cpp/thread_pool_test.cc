#include "core/thread_pool.h"

#include <tvm/ffi/function.h>

#include <atomic>
#include <cstring>
#include <vector>

#include "check.h"
#include "core/processor.h"
#include "core/workspace.h"

namespace byoc {
namespace {

struct Counts {
  std::atomic<int> calls{0}, tasks{0};
  std::atomic<int> phase[2] = {{0}, {0}};
  bool ordered = true;
};

TEST(LaunchCoversEveryTask) {
  thread_pool::SetNumThreads(3);
  Processor::Get("cpu")->Call([] {
    for (int wanted : {0, 1, 2, 3}) {
      Counts counts;
      const int status = thread_pool::ParallelLaunch(
          [](int id, thread_pool::GroupEnv* env, void* closure) {
            auto* counts = static_cast<Counts*>(closure);
            counts->calls++;
            counts->tasks += 1 << id;
            return env->num_task >= 1 ? 0 : -1;
          },
          &counts, wanted);
      CHECK_EQ(status, 0);
      const int expected = wanted == 0 ? 3 : wanted;
      CHECK_EQ(counts.calls.load(), expected);
      CHECK_EQ(counts.tasks.load(), (1 << expected) - 1);
    }
  });
}

TEST(BarrierKeepsPhasesApart) {
  thread_pool::SetNumThreads(4);
  Processor::Get("cpu")->Call([] {
    Counts counts;
    thread_pool::ParallelLaunch(
        [](int id, thread_pool::GroupEnv* env, void* closure) {
          auto* counts = static_cast<Counts*>(closure);
          for (int round = 1; round <= 50; ++round) {
            counts->phase[0]++;
            thread_pool::ParallelBarrier(id, env);
            if (counts->phase[0] != round * env->num_task) counts->ordered = false;
            thread_pool::ParallelBarrier(id, env);
          }
          return 0;
        },
        &counts, 0);
    CHECK(counts.ordered);
  });
}

TEST(ErrorsReachTheCaller) {
  thread_pool::SetNumThreads(2);
  Processor::Get("cpu")->Call([] {
    const int status = thread_pool::ParallelLaunch(
        [](int id, thread_pool::GroupEnv*, void*) {
          if (id != 1) return 0;
          TVMFFIErrorSetRaisedFromCStr("ValueError", "task one is unhappy");
          return -1;
        },
        nullptr, 0);
    CHECK_EQ(status, -1);
    CHECK_THROWS(throw tvm::ffi::details::MoveFromSafeCallRaised(), "task one is unhappy");
  });
}

TEST(NumberOfThreadsIsChecked) {
  CHECK_THROWS(thread_pool::SetNumThreads(0), "from 1 to 1024, found 0");
  CHECK_THROWS(thread_pool::SetNumThreads(5000), "found 5000");
  thread_pool::SetNumThreads(2);
  CHECK_EQ(thread_pool::NumThreads(), 2);
}

TEST(WorkspaceIsAlignedAndReused) {
  void* a = AllocWorkspace(1, 0, 1000, 2, 32);
  void* b = AllocWorkspace(1, 0, 5, 2, 32);
  CHECK(a != nullptr && b != nullptr && a != b);
  CHECK_EQ(reinterpret_cast<uintptr_t>(a) % 64, 0u);
  std::memset(a, 1, 1000);
  CHECK_EQ(FreeWorkspace(1, 0, b), 0);
  CHECK_EQ(FreeWorkspace(1, 0, a), 0);
  CHECK(AllocWorkspace(1, 0, 990, 2, 32) == a);
  CHECK_EQ(FreeWorkspace(1, 0, a), 0);
  CHECK(AllocWorkspace(1, 0, UINT64_MAX - 3, 2, 32) == nullptr);
  std::vector<void*> many;
  for (int i = 0; i < 40; ++i) many.push_back(AllocWorkspace(1, 0, 100, 2, 32));
  for (void* p : many) FreeWorkspace(1, 0, p);
}

}  // namespace
}  // namespace byoc
