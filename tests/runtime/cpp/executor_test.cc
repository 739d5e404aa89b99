#include "plan/executor.h"

#include <atomic>
#include <cstring>
#include <numeric>
#include <random>
#include <stdexcept>
#include <thread>

#include "check.h"
#include "core/tensors.h"
#include "core/thread_pool.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

/*! \brief Builds plans over float vectors of one length. */
class Maker {
 public:
  explicit Maker(int64_t length) : length_(length) {}

  size_t Tensor(MemorySpace space, size_t index = 0) {
    PlanTensor t{{length_}, {kDLFloat, 32, 1}, space, index, 0, length_ * 4};
    if (space == MemorySpace::kArena) {
      t.offset = plan_.arena_bytes;
      plan_.arena_bytes += (t.nbytes + 63) / 64 * 64;
    }
    plan_.tensors.push_back(t);
    return plan_.tensors.size() - 1;
  }
  size_t Input() {
    plan_.inputs.push_back({"x" + std::to_string(plan_.inputs.size()), plan_.tensors.size()});
    return Tensor(MemorySpace::kInput, plan_.inputs.size() - 1);
  }
  size_t Output() {
    plan_.outputs.push_back({"y" + std::to_string(plan_.outputs.size()), plan_.tensors.size()});
    return Tensor(MemorySpace::kOutput, plan_.outputs.size() - 1);
  }
  size_t Task(TaskKind kind, std::vector<size_t> args, std::vector<size_t> deps = {},
              std::string processor = "cpu", ffi::Function function = Sum()) {
    const bool copy = kind == TaskKind::kCopy;
    plan_.tasks.push_back({kind,
                           copy ? "" : "sum",
                           std::move(args),
                           1,
                           std::move(deps),
                           std::move(processor),
                           {"node" + std::to_string(plan_.tasks.size())}});
    callees_.push_back(
        {copy ? nullptr : std::move(function), kind == TaskKind::kSegment ? "acme" : ""});
    return plan_.tasks.size() - 1;
  }
  std::unique_ptr<Executor> Make(ffi::Array<ffi::Tensor> constants = {}) {
    return std::make_unique<Executor>(plan_, callees_, constants);
  }

  /*! \brief last = 1 + sum of the others; checks that host kernels get aligned memory. */
  static ffi::Function Sum() {
    return ffi::Function::FromPacked([](ffi::PackedArgs args, ffi::Any*) {
      const DLTensor* out = args[args.size() - 1].cast<DLTensor*>();
      for (int64_t i = 0; i < out->shape[0]; ++i) {
        float sum = 1;
        for (int a = 0; a + 1 < args.size(); ++a) {
          sum += static_cast<float*>(args[a].cast<DLTensor*>()->data)[i];
        }
        static_cast<float*>(out->data)[i] = sum;
      }
    });
  }
  static ffi::Function Aligned() {
    return ffi::Function::FromPacked([](ffi::PackedArgs args, ffi::Any* result) {
      for (int a = 0; a < args.size(); ++a) {
        if (!IsAligned(args[a].cast<DLTensor*>()->data, kAlignment)) {
          TVM_FFI_THROW(ValueError) << "argument " << a << " is not aligned";
        }
      }
      Sum().CallPacked(args, result);
    });
  }

 private:
  int64_t length_;
  Plan plan_{{}, {}, {}, {}, 0};
  std::vector<Executor::Callee> callees_;
};

std::vector<float> Run(Executor* executor, std::vector<float> x) {
  std::vector<float> y(x.size());
  void* in[] = {x.data()};
  void* out[] = {y.data()};
  executor->Run(in, out);
  return y;
}

TEST(ChainRunsInOrder) {
  Maker maker(5);
  const size_t x = maker.Input(), y = maker.Output(), a = maker.Tensor(MemorySpace::kArena);
  maker.Task(TaskKind::kSegment, {x, a});
  maker.Task(TaskKind::kSegment, {a, x, y}, {0});
  auto executor = maker.Make();
  for (int round = 0; round < 3; ++round) {
    const float v = static_cast<float>(round);
    CHECK(Run(executor.get(), {v, 1, 2, 3, 4}) == (std::vector<float>{2 * v + 2, 4, 6, 8, 10}));
  }
}

TEST(HostKernelsGetAlignedMemory) {
  Maker maker(7);
  const size_t x = maker.Input(), y = maker.Output(), c = maker.Tensor(MemorySpace::kConstant);
  maker.Task(TaskKind::kHost, {x, c, y}, {}, "cpu", Maker::Aligned());
  std::vector<float> memory(9, 2.0f);
  for (size_t shift : {0u, 1u}) {  // a constant somewhere, likely unaligned
    ffi::Tensor constant =
        WrapMemory(memory.data() + shift, ffi::Shape({7}), {kDLFloat, 32, 1}, {});
    auto executor = maker.Make({constant});
    std::vector<float> in(20, 5.0f), out(20, 0.0f);
    for (size_t at = 0; at < 4; ++at) {
      void* inputs[] = {in.data() + at};
      void* outputs[] = {out.data() + at};
      executor->Run(inputs, outputs);
      for (size_t i = 0; i < 7; ++i) CHECK_EQ(out[at + i], 8.0f);
    }
  }
}

TEST(OutputsMayOverlapInputs) {
  Maker maker(4);
  const size_t x0 = maker.Input(), x1 = maker.Input(), y0 = maker.Output(), y1 = maker.Output();
  maker.Task(TaskKind::kSegment, {x0, y0});
  maker.Task(TaskKind::kSegment, {x0, x1, y1});
  auto executor = maker.Make();
  std::vector<float> a{1, 2, 3, 4}, b{10, 20, 30, 40};
  void* inputs[] = {a.data(), b.data()};
  void* outputs[] = {a.data(), b.data()};
  executor->Run(inputs, outputs);
  CHECK(a == (std::vector<float>{2, 3, 4, 5}));
  CHECK(b == (std::vector<float>{12, 23, 34, 45}));
}

TEST(CopiesAndEmptyTensors) {
  Maker maker(0);
  const size_t x = maker.Input(), y = maker.Output(), a = maker.Tensor(MemorySpace::kArena);
  maker.Task(TaskKind::kCopy, {x, a});
  maker.Task(TaskKind::kHost, {a, y}, {0}, "cpu", Maker::Aligned());
  void* none[] = {nullptr};
  maker.Make()->Run(none, none);

  Maker copy(3);
  const size_t from = copy.Input(), to = copy.Output();
  copy.Task(TaskKind::kCopy, {from, to});
  CHECK(Run(copy.Make().get(), {1, 2, 3}) == (std::vector<float>{1, 2, 3}));
}

TEST(FailuresNameTheTask) {
  Maker maker(2);
  const size_t x = maker.Input(), y = maker.Output(), a = maker.Tensor(MemorySpace::kArena);
  std::atomic<bool> fail{true};
  maker.Task(TaskKind::kSegment, {x, a});
  maker.Task(TaskKind::kSegment, {a, y}, {0}, "cpu",
             ffi::Function::FromPacked([&](ffi::PackedArgs args, ffi::Any* rv) {
               if (fail) TVM_FFI_THROW(ValueError) << "no luck";
               Maker::Sum().CallPacked(args, rv);
             }));
  auto executor = maker.Make();
  CHECK_THROWS(Run(executor.get(), {1, 2}),
               "byoc.ExecutionError: segment 'sum' (task 1, from 'node1') of vendor 'acme' failed: "
               "ValueError: no luck");
  fail = false;  // the session goes on
  CHECK(Run(executor.get(), {1, 2}) == (std::vector<float>{3, 4}));
}

TEST(ForeignExceptionsAreNamedToo) {
  Maker maker(1);
  const size_t x = maker.Input(), y = maker.Output();
  maker.Task(TaskKind::kSegment, {x, y}, {}, "cpu",
             ffi::Function::FromPacked(
                 [](ffi::PackedArgs, ffi::Any*) { throw std::runtime_error("an SDK's own"); }));
  CHECK_THROWS(Run(maker.Make().get(), {1}), "an SDK's own");
}

TEST(ThreadsShareAnExecutor) {
  Maker maker(64);
  const size_t x = maker.Input(), y = maker.Output();
  size_t last = x;
  for (int i = 0; i < 10; ++i) {
    const size_t a = maker.Tensor(MemorySpace::kArena);
    maker.Task(TaskKind::kSegment, {last, a});
    last = a;
  }
  maker.Task(TaskKind::kCopy, {last, y});
  auto executor = maker.Make();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const float v = static_cast<float>(100 * t + i);
        if (Run(executor.get(), std::vector<float>(64, v)) != std::vector<float>(64, v + 10)) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0);
}

/*! \brief Random graphs on several processors against a plain evaluation. */
TEST(LanesKeepDependencies) {
  std::mt19937 random(7);
  const char* const processors[] = {"cpu", "npu", "dsp"};
  for (int round = 0; round < 60; ++round) {
    Maker maker(3);
    std::vector<size_t> values{maker.Input()};
    std::vector<size_t> writers{static_cast<size_t>(-1)};
    std::vector<float> expected{2.0f};
    const size_t count = 1 + random() % 20;
    for (size_t i = 0; i < count; ++i) {
      const size_t out = i + 1 == count ? maker.Output() : maker.Tensor(MemorySpace::kArena);
      std::vector<size_t> args, deps;
      float sum = 1;
      for (unsigned n = 1 + random() % 3; n > 0; --n) {
        const size_t from = random() % values.size();
        args.push_back(values[from]);
        sum += expected[from];
        if (from > 0) deps.push_back(writers[from]);
      }
      args.push_back(out);
      writers.push_back(maker.Task(TaskKind::kSegment, args, deps, processors[random() % 3]));
      values.push_back(out);
      expected.push_back(sum);
    }
    auto executor = maker.Make();
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 20; ++i) {
          if (Run(executor.get(), {2, 2, 2}) != std::vector<float>(3, expected.back())) ++wrong;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK_EQ(wrong.load(), 0);
  }
}

TEST(AFailingLaneEndsTheCall) {
  Maker maker(1);
  const size_t x = maker.Input(), y = maker.Output(), a = maker.Tensor(MemorySpace::kArena),
               b = maker.Tensor(MemorySpace::kArena);
  maker.Task(TaskKind::kSegment, {x, a}, {}, "npu",
             ffi::Function::FromPacked(
                 [](ffi::PackedArgs, ffi::Any*) { TVM_FFI_THROW(ValueError) << "npu broke"; }));
  maker.Task(TaskKind::kSegment, {x, b}, {}, "cpu");
  maker.Task(TaskKind::kSegment, {a, b, y}, {0, 1}, "cpu");
  auto executor = maker.Make();
  for (int i = 0; i < 20; ++i) CHECK_THROWS(Run(executor.get(), {1}), "npu broke");
}

/*! \brief One request and what became of it. */
struct Flying {
  std::vector<float> x, y;
  std::shared_ptr<Executor::Request> request = std::make_shared<Executor::Request>();
  std::string error;
  std::atomic<bool> done{false};

  void Start(const std::shared_ptr<Executor>& executor, std::vector<float> input) {
    x = std::move(input);
    y.assign(x.size(), 0.0f);
    request->ports = {x.data(), y.data()};
    request->done = [this](std::exception_ptr e) {
      try {
        if (e) std::rethrow_exception(e);
      } catch (const ffi::Error& caught) {
        error = caught.message();
      }
      done.store(true);
    };
    Executor::Start(executor, request);
  }
  void Wait() const {
    while (!done.load()) std::this_thread::yield();
  }
};

TEST(RequestsAreInFlightTogether) {
  for (const char* second : {"cpu", "npu"}) {
    Maker maker(16);
    const size_t x = maker.Input(), y = maker.Output(), a = maker.Tensor(MemorySpace::kArena);
    maker.Task(TaskKind::kSegment, {x, a}, {}, "cpu");
    maker.Task(TaskKind::kSegment, {a, x, y}, {0}, second);
    std::shared_ptr<Executor> executor = maker.Make();
    std::vector<Flying> all(200);
    for (size_t i = 0; i < all.size(); ++i) {
      all[i].request->traced = i % 2 == 0;
      all[i].Start(executor, std::vector<float>(16, static_cast<float>(i)));
    }
    executor.reset();  // requests keep it
    for (size_t i = 0; i < all.size(); ++i) {
      all[i].Wait();
      CHECK_EQ(all[i].error, "");
      CHECK(all[i].y == std::vector<float>(16, 2.0f * static_cast<float>(i) + 2.0f));
      const std::vector<int64_t>& t = all[i].request->trace;
      CHECK_EQ(t.size(), i % 2 == 0 ? 9u : 0u);
      if (!t.empty()) {  // submitted, begin, end, t0 begin, end, t1 begin, end, devices
        CHECK(t[0] <= t[1] && t[1] <= t[3] && t[3] <= t[4] && t[4] <= t[5] && t[5] <= t[6]);
        CHECK(t[6] <= t[2]);
      }
    }
  }
}

TEST(StoppedRequestsLeaveTheRestOut) {
  for (const char* second : {"cpu", "npu"}) {
    std::atomic<int> entered{0}, after{0};
    std::atomic<bool> open{false};
    Maker maker(1);
    const size_t x = maker.Input(), y = maker.Output(), a = maker.Tensor(MemorySpace::kArena);
    maker.Task(TaskKind::kSegment, {x, a}, {}, "cpu",
               ffi::Function::FromPacked([&](ffi::PackedArgs, ffi::Any*) {
                 ++entered;
                 while (!open.load()) std::this_thread::yield();
               }));
    maker.Task(TaskKind::kSegment, {a, y}, {0}, second,
               ffi::Function::FromPacked([&](ffi::PackedArgs, ffi::Any*) { ++after; }));
    std::shared_ptr<Executor> executor = maker.Make();
    Flying first, waiting;
    first.Start(executor, {1});
    waiting.Start(executor, {1});
    while (entered.load() == 0) std::this_thread::yield();
    first.request->stop.Cancel();
    waiting.request->stop.Cancel();
    open.store(true);
    first.Wait();
    waiting.Wait();
    CHECK_EQ(first.error, "the request was cancelled");
    CHECK_EQ(waiting.error, "the request was cancelled");
    CHECK_EQ(entered.load(), 1);
    CHECK_EQ(after.load(), 0);
  }
}

TEST(FailedRequestsSayWhy) {
  for (const char* processor : {"cpu", "npu"}) {
    Maker maker(1);
    const size_t x = maker.Input(), y = maker.Output(), a = maker.Tensor(MemorySpace::kArena);
    maker.Task(TaskKind::kSegment, {x, a}, {}, "cpu");
    maker.Task(TaskKind::kSegment, {a, y}, {0}, processor,
               ffi::Function::FromPacked(
                   [](ffi::PackedArgs, ffi::Any*) { TVM_FFI_THROW(ValueError) << "no luck"; }));
    std::shared_ptr<Executor> executor = maker.Make();
    Flying flying;
    flying.Start(executor, {1});
    flying.Wait();
    CHECK(
        flying.error.find("(task 1, from 'node1') of vendor 'acme' failed: ValueError: no luck") !=
        std::string::npos);
  }
}

TEST(PlanOnOneProcessorRunsWhereItIsTold) {
  thread_pool::SetNumThreads(1);
  std::thread::id ran;
  const auto where = ffi::Function::FromPacked(
      [&ran](ffi::PackedArgs, ffi::Any*) { ran = std::this_thread::get_id(); });
  Maker maker(4);
  const size_t x = maker.Input(), y = maker.Output();
  maker.Task(TaskKind::kSegment, {x, y}, {}, "cpu of one plan", where);
  auto executor = maker.Make();
  alignas(64) float in[4] = {}, out[4] = {};
  void *inputs[] = {in}, *outputs[] = {out};
  executor->Run(inputs, outputs, /*anywhere=*/true);
  CHECK(ran == std::this_thread::get_id());
  executor->Run(inputs, outputs);
  CHECK(ran != std::this_thread::get_id());
  thread_pool::SetNumThreads(2);
}

}  // namespace
}  // namespace byoc
