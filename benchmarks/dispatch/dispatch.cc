/*
 * What dispatch costs, and what overlap gains; one JSON object on stdout.
 *
 *   cmake -S . -B build/bench -G Ninja && ninja -C build/bench byoc_dispatch_bench
 *   build/bench/benchmarks/dispatch/byoc_dispatch_bench
 *
 * Figures are medians over rounds (p10: the quickest tenth). Needs two idle cores: the threads of
 * the two processors are held on one each, for what is measured is the queues, not the scheduler.
 */
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/event.h"
#include "core/thread_pool.h"
#include "plan/executor.h"

namespace {

namespace ffi = tvm::ffi;
using byoc::Executor;
using byoc::MemorySpace;
using byoc::PlanTensor;
using byoc::SteadyNow;
using byoc::TaskKind;

/*! \brief Plans whose tasks read and write one float each. */
class Maker {
 public:
  Maker() {
    plan_.inputs.push_back({"x", 0});
    plan_.outputs.push_back({"y", 1});
    Tensor(MemorySpace::kInput, 0);
    Tensor(MemorySpace::kOutput, 0);
  }

  size_t Arena() {
    plan_.arena_bytes += 64;
    return Tensor(MemorySpace::kArena, plan_.arena_bytes - 64);
  }

  size_t Task(const ffi::Function& function, std::vector<size_t> args, std::vector<size_t> deps,
              const std::string& processor) {
    plan_.tasks.push_back(
        {TaskKind::kSegment, "f", std::move(args), 1, std::move(deps), processor, {}});
    callees_.push_back({function, "bench"});
    return plan_.tasks.size() - 1;
  }

  /*! \brief `count` tasks one after the other; `processor(i)` says where. */
  template <typename F>
  std::shared_ptr<Executor> Chain(size_t count, const ffi::Function& function, F processor) {
    size_t from = 0;
    for (size_t i = 0; i < count; ++i) {
      const size_t to = i + 1 == count ? 1 : Arena();
      Task(function, {from, to}, i > 0 ? std::vector<size_t>{i - 1} : std::vector<size_t>{},
           processor(i));
      from = to;
    }
    return Make();
  }

  std::shared_ptr<Executor> Make() {
    return std::make_shared<Executor>(plan_, callees_, ffi::Array<ffi::Tensor>());
  }

 private:
  size_t Tensor(MemorySpace space, int64_t offset) {
    plan_.tensors.push_back(PlanTensor{{1}, {kDLFloat, 32, 1}, space, 0, offset, 4});
    return plan_.tensors.size() - 1;
  }
  byoc::Plan plan_{{}, {}, {}, {}, 0};
  std::vector<Executor::Callee> callees_;
};

ffi::Function Nothing() {
  return ffi::Function::FromPacked([](ffi::PackedArgs, ffi::Any*) {});
}

/*! \brief Keeps a core busy for `ns`. */
ffi::Function Busy(int64_t ns) {
  return ffi::Function::FromPacked([ns](ffi::PackedArgs, ffi::Any*) {
    const int64_t end = SteadyNow() + ns;
    while (SteadyNow() < end) byoc::CpuRelax();
  });
}

void Run(Executor* executor, bool anywhere = false) {
  alignas(64) float x = 1, y = 0;
  void* in[] = {&x};
  void* out[] = {&y};
  executor->Run(in, out, anywhere);
}

/*! \brief Holds the thread that runs it on the `index`-th of the cores this process may use. */
ffi::Function HoldOn(int index) {
  return ffi::Function::FromPacked([index](ffi::PackedArgs, ffi::Any*) {
    cpu_set_t allowed, one;
    sched_getaffinity(getpid(), sizeof(allowed), &allowed);
    CPU_ZERO(&one);
    int left = index % CPU_COUNT(&allowed);
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &allowed) && left-- == 0) CPU_SET(core, &one);
    }
    pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
  });
}

template <typename F>
double MedianNs(int rounds, F body) {
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const int64_t begin = SteadyNow();
    body();
    times.push_back(static_cast<double>(SteadyNow() - begin));
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

double TimeNs(const std::function<void()>& body) {
  const int64_t begin = SteadyNow();
  body();
  return static_cast<double>(SteadyNow() - begin);
}

/*!
 * \brief Time of `body` over that of `base`: median of the ratios of many neighbouring pairs, first
 * the one, then the other first. What disturbs some pairs, or all of them alike, does not show.
 */
double Ratio(int pairs, const std::function<void()>& body, const std::function<void()>& base) {
  std::vector<double> ratios;
  for (int i = 0; i < pairs; ++i) {
    const bool swap = i % 2 != 0;
    const double first = TimeNs(swap ? base : body), second = TimeNs(swap ? body : base);
    ratios.push_back(swap ? second / first : first / second);
  }
  std::sort(ratios.begin(), ratios.end());
  return ratios[ratios.size() / 2];
}

/*! \brief One request, waited for. */
void Request(const std::shared_ptr<Executor>& executor, bool traced) {
  alignas(64) float x = 1, y = 0;
  byoc::Event done;
  auto request = std::make_shared<Executor::Request>();
  request->ports = {&x, &y};
  request->traced = traced;
  request->done = [&done](std::exception_ptr) { done.Set(); };
  Executor::Start(executor, std::move(request));
  done.Wait();
}

/*! \brief Some arithmetic on 16 KiB. */
ffi::Function Work() {
  auto values = std::make_shared<std::vector<float>>(4096, 1.0f);
  return ffi::Function::FromPacked([values](ffi::PackedArgs, ffi::Any*) {
    for (int round = 0; round < 64; ++round) {
      for (float& value : *values) value = value * 0.5f + 0.5f;
    }
  });
}

/*! \brief The tasks of a plan by hand: no queue, no thread, no context. */
void Walk(const ffi::Function& function, size_t tasks) {
  DLTensor from{}, to{};
  const ffi::AnyView args[] = {&from, &to};
  const auto* object = static_cast<const ffi::FunctionObj*>(function.get());
  for (size_t i = 0; i < tasks; ++i) {
    ffi::Any result;
    object->CallPacked(args, 2, &result);
  }
}

/*! \brief Requests one after the other, at most `limit` on their way. */
void Stream(const std::shared_ptr<Executor>& executor, int count, size_t limit) {
  alignas(64) static float x = 1;
  std::vector<float> outputs(static_cast<size_t>(count) * 16);
  std::vector<std::future<void>> done;
  for (int i = 0; i < count; ++i) {
    if (done.size() >= limit) done[done.size() - limit].wait();
    auto promise = std::make_shared<std::promise<void>>();
    done.push_back(promise->get_future());
    auto request = std::make_shared<Executor::Request>();
    request->ports = {&x, &outputs[static_cast<size_t>(i) * 16]};
    request->done = [promise](std::exception_ptr) { promise->set_value(); };
    Executor::Start(executor, std::move(request));
  }
  for (auto& future : done) future.wait();
}

}  // namespace

int main() {
  constexpr int kRounds = 201;
  constexpr size_t kTasks = 1000;
  const auto cpu = [](size_t) { return std::string("cpu"); };
  const auto turns = [](size_t i) { return std::string(i % 2 == 0 ? "cpu" : "npu"); };
  for (int i = 0; i < 2; ++i) {
    Run(Maker().Chain(1, HoldOn(i), [&](size_t) { return turns(static_cast<size_t>(i)); }).get());
  }

  // A call with one task, and one with a thousand: the difference is the tasks.
  auto one = Maker().Chain(1, Nothing(), cpu);
  auto many = Maker().Chain(kTasks, Nothing(), cpu);
  const double call = MedianNs(kRounds, [&] { Run(one.get()); });
  const double same = (MedianNs(kRounds, [&] { Run(many.get()); }) - call) / (kTasks - 1);

  // The same as a request, which may be stopped and may keep its times.
  const auto request = [&](const std::shared_ptr<Executor>& executor, bool traced) {
    return MedianNs(kRounds, [&] { Request(executor, traced); });
  };
  const double untraced = (request(many, false) - request(one, false)) / (kTasks - 1);
  const double traced = (request(many, true) - request(one, true)) / (kTasks - 1);

  // A plan of two hundred tasks of some 10 µs, run, and called by this thread as a plain loop. With
  // a width of one thread it runs here; else it is handed to the processor's thread and back. The
  // loop beside itself tells what this machine makes of two equal things just now.
  constexpr size_t kWalk = 200;
  constexpr int kPairs = 301;
  const ffi::Function work = Work();
  auto worked = Maker().Chain(kWalk, work, cpu);
  const auto run = [&] { Run(worked.get(), /*anywhere=*/true); };
  const auto walk = [&] { Walk(work, kWalk); };
  const int threads = byoc::thread_pool::NumThreads();
  byoc::thread_pool::SetNumThreads(1);
  const double walk_us = MedianNs(21, walk) / 1000;
  const double over_walk = Ratio(kPairs, run, walk);
  const double itself = Ratio(kPairs, walk, walk);
  const double anywhere = MedianNs(kRounds, [&] { Run(one.get(), /*anywhere=*/true); });
  byoc::thread_pool::SetNumThreads(std::max(threads, 2));
  const double handed = Ratio(kPairs, run, walk);

  // The same on a plan of two lanes, where tasks are counted down.
  const auto beside = [](size_t tasks) {
    Maker lanes;
    lanes.Task(Nothing(), {0, lanes.Arena()}, {}, "npu");
    size_t from = 0;
    for (size_t i = 0; i < tasks; ++i) {
      const size_t to = i + 1 == tasks ? 1 : lanes.Arena();
      lanes.Task(Nothing(), {from, to}, i > 0 ? std::vector<size_t>{i} : std::vector<size_t>{},
                 "cpu");
      from = to;
    }
    return lanes.Make();
  };
  auto alone_beside = beside(1), many_beside = beside(kTasks);
  const double same_lane = (MedianNs(kRounds, [&] { Run(many_beside.get()); }) -
                            MedianNs(kRounds, [&] { Run(alone_beside.get()); })) /
                           (kTasks - 1);

  // A task each in turn: a chain of many hops and one of few, the difference is the hops.
  constexpr size_t kFew = 20, kMany = 220;
  auto few = Maker().Chain(kFew, Nothing(), turns), more = Maker().Chain(kMany, Nothing(), turns);
  std::vector<double> hops;
  for (int i = 0; i < 200; ++i) {
    const double base = MedianNs(11, [&] { Run(few.get()); });
    hops.push_back((MedianNs(11, [&] { Run(more.get()); }) - base) / (kMany - kFew));
  }
  std::sort(hops.begin(), hops.end());
  const double hop = hops[hops.size() / 2], quiet_hop = hops[hops.size() / 10];

  // Two chains of ten 2 ms tasks that do not know of each other.
  constexpr int64_t kMs = 1000000;
  const auto two = [&](const char* second) {
    Maker maker;
    size_t last[2] = {0, 0};
    size_t task[2] = {0, 0};
    for (int i = 0; i < 10; ++i) {
      for (int chain = 0; chain < 2; ++chain) {
        const size_t to = maker.Arena();
        task[chain] = maker.Task(Busy(2 * kMs), {last[chain], to},
                                 i > 0 ? std::vector<size_t>{task[chain]} : std::vector<size_t>{},
                                 chain == 0 ? "cpu" : second);
        last[chain] = to;
      }
    }
    maker.Task(Nothing(), {last[0], last[1], 1}, {task[0], task[1]}, "cpu");
    return maker.Make();
  };
  auto serial = two("cpu"), parallel = two("npu");
  const double overlap =
      MedianNs(7, [&] { Run(serial.get()); }) / MedianNs(7, [&] { Run(parallel.get()); });

  // Two stages of 1 ms, forty requests, one or four on their way.
  auto stages = Maker().Chain(2, Busy(kMs), turns);
  const double alone = MedianNs(5, [&] { Stream(stages, 40, 1); });
  const double piped = MedianNs(5, [&] { Stream(stages, 40, 4); });

  const std::pair<const char*, double> figures[] = {
      {"call_ns", call},
      {"same_queue_task_ns", same},
      {"same_queue_task_in_lanes_ns", same_lane},
      {"request_task_ns", untraced},
      {"traced_task_ns", traced},
      {"plan_over_walk", over_walk},
      {"walk_over_walk", itself},
      {"handed_plan_over_walk", handed},
      {"walk_us", walk_us},
      {"call_on_caller_ns", anywhere},
      {"cross_queue_hop_ns", hop},
      {"cross_queue_hop_p10_ns", quiet_hop},
      {"two_chains_speedup", overlap},
      {"pipeline_speedup", alone / piped},
      {"spin_rounds", static_cast<double>(byoc::SpinRounds())},
  };
  const char* separator = "{";
  for (const auto& [name, value] : figures) {
    std::printf("%s\"%s\": %.4g", separator, name, value);
    separator = ", ";
  }
  std::printf("}\n");
  return 0;
}
