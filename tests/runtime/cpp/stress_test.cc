/*
 * Many threads and many executors at once, for the sanitizers: calls, requests, requests that are
 * stopped, on plans of one to three lanes. BYOC_STRESS_SECONDS says for how long (default 1).
 */
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "plan/executor.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;
constexpr int64_t kLength = 32;

/*! \brief y = x + `tasks`, task i on processor i modulo `lanes`; a copy in the middle. */
std::shared_ptr<Executor> Adder(size_t tasks, size_t lanes) {
  const char* const names[] = {"cpu", "npu", "dsp"};
  Plan plan{{}, {}, {}, {}, 0};
  std::vector<Executor::Callee> callees;
  const auto tensor = [&](MemorySpace space) {
    PlanTensor t{{kLength}, {kDLFloat, 32, 1}, space, 0, 0, kLength * 4};
    if (space == MemorySpace::kArena)
      t.offset = std::exchange(plan.arena_bytes, plan.arena_bytes + 128);
    plan.tensors.push_back(t);
    return plan.tensors.size() - 1;
  };
  plan.inputs.push_back({"x", tensor(MemorySpace::kInput)});
  plan.outputs.push_back({"y", tensor(MemorySpace::kOutput)});
  const ffi::Function add = ffi::Function::FromPacked([](ffi::PackedArgs args, ffi::Any*) {
    const auto* from = static_cast<const float*>(args[0].cast<DLTensor*>()->data);
    auto* to = static_cast<float*>(args[1].cast<DLTensor*>()->data);
    for (int64_t i = 0; i < kLength; ++i) to[i] = from[i] + 1;
  });
  size_t from = 0;
  for (size_t i = 0; i < tasks + 1; ++i) {
    const bool copy = i == tasks / 2;
    const size_t to = i == tasks ? 1 : tensor(MemorySpace::kArena);
    plan.tasks.push_back({copy ? TaskKind::kCopy : TaskKind::kSegment,
                          copy ? "" : "add",
                          {from, to},
                          1,
                          i > 0 ? std::vector<size_t>{i - 1} : std::vector<size_t>{},
                          names[i % lanes],
                          {}});
    callees.push_back({copy ? ffi::Function(nullptr) : add, copy ? "" : "acme"});
    from = to;
  }
  return std::make_shared<Executor>(std::move(plan), std::move(callees), ffi::Array<ffi::Tensor>());
}

bool Right(const std::vector<float>& y, float expected) {
  return y == std::vector<float>(kLength, expected);
}

/*! \brief A call. */
bool Call(Executor* executor, float value, size_t tasks) {
  std::vector<float> x(kLength, value), y(kLength);
  void* in[] = {x.data()};
  void* out[] = {y.data()};
  executor->Run(in, out);
  return Right(y, value + static_cast<float>(tasks));
}

/*! \brief Some requests together, every third stopped on its way, every second with its times. */
bool Requests(const std::shared_ptr<Executor>& executor, float value, size_t tasks) {
  struct One {
    std::vector<float> x, y;
    std::shared_ptr<Executor::Request> request = std::make_shared<Executor::Request>();
    std::atomic<bool> failed{false};
    Event done;
  };
  std::vector<std::unique_ptr<One>> all;
  for (int i = 0; i < 6; ++i) {
    auto one = std::make_unique<One>();
    one->x.assign(kLength, value + static_cast<float>(i));
    one->y.assign(kLength, 0);
    one->request->ports = {one->x.data(), one->y.data()};
    one->request->traced = i % 2 == 0;
    one->request->done = [o = one.get()](std::exception_ptr error) {
      o->failed.store(error != nullptr);
      o->done.Set();
    };
    Executor::Start(executor, one->request);
    all.push_back(std::move(one));
  }
  for (size_t i = 0; i < all.size(); i += 3) all[i]->request->stop.Cancel();
  bool right = true;
  for (size_t i = 0; i < all.size(); ++i) {
    all[i]->done.Wait();
    const float expected = value + static_cast<float>(i + tasks);
    // One that was stopped after its end is an error with the answer there: not looked at.
    right &= all[i]->failed ? i % 3 == 0 : Right(all[i]->y, expected);
  }
  return right;
}

double Seconds() {
  const char* text = std::getenv("BYOC_STRESS_SECONDS");
  return text != nullptr ? std::atof(text) : 1.0;
}

TEST(StressLanesWithThreads) {
  const size_t tasks[] = {1, 7, 12, 30};
  std::vector<std::shared_ptr<Executor>> executors;
  for (size_t i = 0; i < 4; ++i) executors.push_back(Adder(tasks[i], 1 + i % 3));
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(Seconds());
  std::atomic<int> wrong{0}, runs{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      while (std::chrono::steady_clock::now() < end) {
        const size_t which = random() % executors.size();
        const auto value = static_cast<float>(random() % 1000);
        const bool right = random() % 2 == 0 ? Call(executors[which].get(), value, tasks[which])
                                             : Requests(executors[which], value, tasks[which]);
        wrong += right ? 0 : 1;
        ++runs;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0);
  CHECK(runs.load() > 0);
}

/*! \brief 64 at once, 200 times; LeakSanitizer tells what stays behind. */
TEST(StressLanesOpenedAndClosed) {
  for (int round = 0; round < 200; ++round) {
    std::vector<std::shared_ptr<Executor>> executors;
    for (size_t i = 0; i < 64; ++i) executors.push_back(Adder(1 + i % 5, 1 + i % 3));
    for (size_t i = 0; i < 64; i += 16) CHECK(Call(executors[i].get(), 5, 1 + i % 5));
    CHECK(Requests(executors[3], 7, 4));
  }
}

}  // namespace
}  // namespace byoc
