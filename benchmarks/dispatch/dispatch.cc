/*
 * What dispatch costs, and what overlap gains; one JSON object on stdout.
 *
 *   cmake -S . -B build/bench -G Ninja && ninja -C build/bench byoc_dispatch_bench
 *   build/bench/benchmarks/dispatch/byoc_dispatch_bench
 *
 * Figures are medians over rounds (p10: the quickest tenth). Needs two idle cores.
 */
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "event.h"
#include "executor.h"

namespace {

namespace ffi = tvm::ffi;
using byoc::Executor;
using byoc::Place;
using byoc::PlanTensor;
using byoc::SteadyNow;
using byoc::TaskKind;

/*! \brief Plans whose tasks read and write one float each. */
class Maker {
 public:
  Maker() {
    plan_.inputs.push_back({"x", 0});
    plan_.outputs.push_back({"y", 1});
    Tensor(Place::kInput, 0);
    Tensor(Place::kOutput, 0);
  }

  size_t Arena() {
    plan_.arena_bytes += 64;
    return Tensor(Place::kArena, plan_.arena_bytes - 64);
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
  size_t Tensor(Place place, int64_t offset) {
    plan_.tensors.push_back(PlanTensor{{1}, {kDLFloat, 32, 1}, place, 0, offset, 4});
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

void Run(Executor* executor) {
  alignas(64) float x = 1, y = 0;
  void* in[] = {&x};
  void* out[] = {&y};
  executor->Run(in, out);
}

/*! \brief `share` of the rounds are quicker than this. */
template <typename F>
double QuantileNs(double share, int rounds, F body) {
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const int64_t begin = SteadyNow();
    body();
    times.push_back(static_cast<double>(SteadyNow() - begin));
  }
  std::sort(times.begin(), times.end());
  return times[static_cast<size_t>(share * rounds)];
}

template <typename F>
double MedianNs(int rounds, F body) {
  return QuantileNs(0.5, rounds, body);
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

  // A call with one task, and one with a thousand: the difference is the tasks.
  auto one = Maker().Chain(1, Nothing(), cpu);
  auto many = Maker().Chain(kTasks, Nothing(), cpu);
  const double call = MedianNs(kRounds, [&] { Run(one.get()); });
  const double same = (MedianNs(kRounds, [&] { Run(many.get()); }) - call) / (kTasks - 1);

  // The same on a plan of two lanes, where tasks are counted down.
  Maker lanes;
  const size_t aside = lanes.Arena();
  lanes.Task(Nothing(), {0, aside}, {}, "npu");
  size_t from = 0;
  for (size_t i = 0; i < kTasks; ++i) {
    const size_t to = i + 1 == kTasks ? 1 : lanes.Arena();
    lanes.Task(Nothing(), {from, to}, i > 0 ? std::vector<size_t>{i} : std::vector<size_t>{},
               "cpu");
    from = to;
  }
  auto counted = lanes.Make();
  const double same_lane = MedianNs(kRounds, [&] { Run(counted.get()); }) / kTasks;

  // Short runs: the quickest tenth is what a machine shared with others would do alone.
  constexpr size_t kHops = 100;
  auto ping = Maker().Chain(kHops + 1, Nothing(), turns);
  const auto bounce = [&] { Run(ping.get()); };
  const double hop = MedianNs(2000, bounce) / kHops;
  const double quiet_hop = QuantileNs(0.1, 2000, bounce) / kHops;

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

  std::printf(
      "{\"call_ns\": %.0f, \"same_queue_task_ns\": %.1f, \"same_queue_task_in_lanes_ns\": %.1f, "
      "\"cross_queue_hop_ns\": %.0f, \"cross_queue_hop_p10_ns\": %.0f, \"two_chains_speedup\": "
      "%.3f, \"pipeline_speedup\": %.3f, "
      "\"spin_rounds\": %d}\n",
      call, same, same_lane, hop, quiet_hop, overlap, alone / piped, byoc::SpinRounds());
  return 0;
}
