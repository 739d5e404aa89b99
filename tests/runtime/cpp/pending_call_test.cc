/*
 * Vendors with a queue, in C++: several calls in flight, ended once, from any thread; cancelled,
 * abandoned, healed; several devices.
 */
#include "core/pending_call.h"

#include <sys/wait.h>
#include <tvm/ffi/reflection/registry.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "byoc/vendor.h"
#include "check.h"
#include "core/tensors.h"
#include "guard/guard.h"
#include "plan/binding.h"
#include "plan/executor.h"
#include "plan/vendor_calls.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/*! \brief What the device does with the calls it gets. */
enum class Way { kWell, kFail, kDrop, kTwice, kThrow, kThrowLate, kNever, kHeedful };

/*! \brief One engine: a thread that works off calls one after the other. */
class Engine {
 public:
  Engine() : thread_([this] { Loop(); }) {}
  ~Engine() {
    Put(nullptr);
    thread_.join();
  }
  void Put(std::function<void()> work) {
    std::lock_guard<std::mutex> lock(mutex_);
    work_.push_back(std::move(work));
    changed_.notify_one();
  }

 private:
  void Loop() {
    for (;;) {
      std::function<void()> work;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return !work_.empty(); });
        work = std::move(work_.front());
        work_.pop_front();
      }
      if (work == nullptr) return;
      work();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  std::thread thread_;
};

std::atomic<Way> way{Way::kWell};
std::atomic<int> told{0}, now{0}, most{0};
std::atomic<int> milliseconds_each{0};
std::mutex kept_mutex;
std::vector<Done>* kept = new std::vector<Done>;  // of calls that never end
std::set<std::string>* processors = new std::set<std::string>;

/*! \brief y = x + 1, by way of two engines. */
class Device : public QueuedSegmentRuntime {
 public:
  size_t InputCount() const override { return 1; }
  size_t OutputCount() const override { return 1; }
  size_t QueueDepth() const override { return 3; }
  void Submit(TensorSpan inputs, TensorSpan outputs, Done done) const override {
    const Way how = way;
    if (how == Way::kThrow) throw std::runtime_error("refused");
    if (how == Way::kDrop) return;
    if (how == Way::kNever) {
      done.OnCancel([] { ++told; });
      std::lock_guard<std::mutex> lock(kept_mutex);
      kept->push_back(std::move(done));
      return;
    }
    if (how == Way::kHeedful) done.OnCancel([] { ++told; });
    most = std::max<int>(most, ++now);
    first_.Put([this, inputs, outputs, done, how] {
      std::this_thread::sleep_for(milliseconds(milliseconds_each));
      second_.Put([inputs, outputs, done, how] {
        std::this_thread::sleep_for(milliseconds(milliseconds_each));
        for (int64_t i = 0; i < outputs[0]->shape[0]; ++i) {
          static_cast<float*>(outputs[0]->data)[i] = static_cast<float*>(inputs[0]->data)[i] + 1;
        }
        --now;
        if (how == Way::kFail) {
          done.Fail("too hot");
          return;
        }
        done();
        if (how == Way::kTwice) done();
      });
    });
    if (how == Way::kThrowLate) throw std::runtime_error("half begun");
  }

 private:
  mutable Engine second_, first_;
};

std::unique_ptr<SegmentRuntime> Init(const SegmentInit& init) {
  processors->insert(init.processor);
  return std::make_unique<Device>();
}

size_t CountDevices() { return 2; }

BYOC_REGISTER_VENDOR(queuetest, Init)
BYOC_REGISTER_DEVICES(queuetest, CountDevices)

/*! \brief The functions of byoc that a vendor's library asks for, which the bindings register. */
TVM_FFI_STATIC_INIT_BLOCK() {
  ffi::reflection::GlobalDef()
      .def("byoc.runtime.segment_queue", MakeSegmentQueue)
      .def("byoc.runtime.segment_context", SegmentContext);
}

ffi::Function Bind(const std::string& processor) {
  const auto init = ffi::Function::GetGlobalRequired("byoc.vendor.queuetest.init");
  const ffi::Tensor blob = NewTensor(ffi::Shape{0}, DLDataType{kDLUInt, 8, 1});
  Binding binding =
      BindSegment(init, {"queuetest", "1", processor, "{}", "s", blob, {}, {1, 1}, {}, {}});
  CHECK_EQ(binding.depth, 3u);
  return std::move(binding.execute);
}

/*! \brief y = x + parts: segments one after the other on one processor. */
std::shared_ptr<Executor> Chain(const std::string& processor, const ffi::Function& execute,
                                size_t parts) {
  Plan plan{{{"x", 0}}, {{"y", 1}}, {}, {}, 0};
  const auto tensor = [&](MemorySpace space) {
    plan.tensors.push_back(PlanTensor{{4}, {kDLFloat, 32, 1}, space, 0, plan.arena_bytes, 16});
    if (space == MemorySpace::kArena) plan.arena_bytes += 64;
    return plan.tensors.size() - 1;
  };
  tensor(MemorySpace::kInput), tensor(MemorySpace::kOutput);
  plan.tensors[0].offset = plan.tensors[1].offset = 0;
  std::vector<Executor::Callee> callees;
  size_t at = 0;
  for (size_t i = 0; i < parts; ++i) {
    const size_t next = i + 1 == parts ? 1 : tensor(MemorySpace::kArena);
    std::vector<size_t> deps;
    if (i > 0) deps.push_back(i - 1);
    plan.tasks.push_back({TaskKind::kSegment, "s", {at, next}, 1, deps, processor, {"n"}});
    callees.push_back({execute, "queuetest"});
    at = next;
  }
  return std::make_shared<Executor>(std::move(plan), std::move(callees), ffi::Array<ffi::Tensor>());
}

float Run(Executor* executor, float x) {
  std::vector<float> in(4, x), out(4, -1);
  void* from[] = {in.data()};
  void* to[] = {out.data()};
  executor->Run(from, to);
  for (float value : out) CHECK_EQ(value, out[0]);
  return out[0];
}

/*! \brief A request in flight, and its end. */
struct InFlight {
  std::vector<float> in, out;
  std::shared_ptr<Executor::Request> request = std::make_shared<Executor::Request>();
  std::shared_ptr<std::atomic<int>> state = std::make_shared<std::atomic<int>>(0);
  std::shared_ptr<std::string> error = std::make_shared<std::string>();

  InFlight(std::shared_ptr<Executor> executor, float x) : in(4, x), out(4, -1) {
    request->ports = {in.data(), out.data()};
    request->done = [state = state, error = error](std::exception_ptr failed) {
      try {
        if (failed) std::rethrow_exception(failed);
      } catch (const ffi::Error& e) {
        *error = std::string(e.message());
      }
      state->store(1);
    };
    Executor::Start(std::move(executor), request);
  }
  void Wait() const {
    while (state->load() == 0) std::this_thread::sleep_for(milliseconds(1));
  }
};

void Until(const std::atomic<int>& value, int wanted) {
  while (value.load() < wanted) std::this_thread::sleep_for(milliseconds(1));
}

/*! \brief A way of the device for as long as it lives. */
struct Set {
  explicit Set(Way how, int each = 0) {
    way = how;
    milliseconds_each = each;
  }
  ~Set() {
    way = Way::kWell;
    milliseconds_each = 0;
  }
};

TEST(QueuedCallsOverlap) {
  auto executor = Chain("queue", Bind("queue"), 1);
  CHECK_EQ(Run(executor.get(), 1), 2.0f);  // the first call is watched
  const Set set(Way::kWell, 10);
  most = 0;
  std::vector<std::unique_ptr<InFlight>> all;
  constexpr int kCount = 12;
  for (int i = 0; i < kCount; ++i) all.push_back(std::make_unique<InFlight>(executor, i));
  for (int i = 0; i < kCount; ++i) {
    all[i]->Wait();
    CHECK_EQ(*all[i]->error, "");
    CHECK_EQ(all[i]->out[3], i + 1.0f);
  }
  CHECK(most <= 3);
  CHECK(most >= 2);
}

TEST(QueuedChainsAndCallers) {
  auto executor = Chain("queue", Bind("queue"), 3);
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i)
        CHECK_EQ(Run(executor.get(), t * 100.0f + i), t * 100 + i + 3.0f);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(QueuedCallsThatFail) {
  for (const auto& [how, message] :
       std::vector<std::pair<Way, const char*>>{{Way::kFail, "vendor 'queuetest': too hot"},
                                                {Way::kDrop, "let go of done without calling it"},
                                                {Way::kThrow, "refused"},
                                                {Way::kThrowLate, "half begun"}}) {
    auto executor = Chain("queue", Bind("queue"), 2);
    {
      const Set set(how, 1);
      CHECK_THROWS(Run(executor.get(), 1), message);
    }
    CHECK_EQ(Run(executor.get(), 1), 3.0f);  // another call is fine
  }
}

TEST(QueuedDoneTwice) {
  auto executor = Chain("queue", Bind("queue"), 1);
  CHECK_EQ(Run(executor.get(), 1), 2.0f);
  {
    const Set set(Way::kTwice);
    try {
      Run(executor.get(), 1);  // the second done may come after the answer
    } catch (const ffi::Error&) {
    }
  }
  std::this_thread::sleep_for(milliseconds(20));
  CHECK_THROWS(Run(executor.get(), 1), "called done twice");
  executor = Chain("queue", Bind("queue"), 1);  // another segment
  CHECK_EQ(Run(executor.get(), 1), 2.0f);
}

TEST(QueuedCancellation) {
  auto executor = Chain("queue", Bind("queue"), 2);
  CHECK_EQ(Run(executor.get(), 1), 3.0f);
  const Set set(Way::kHeedful, 30);
  told = 0;
  InFlight request(executor, 1);
  std::this_thread::sleep_for(milliseconds(10));
  request.request->stop.Cancel();
  request.request->stop.Cancel();
  Until(told, 1);
  request.Wait();
  CHECK_EQ(*request.error, "the request was cancelled");
  CHECK_EQ(told.load(), 1);  // of the second segment nothing was begun
  CHECK(!request.request->stop.HasAbandoned());
}

TEST(QueuedCallsThatNeverEnd) {
  auto executor = Chain("queue", Bind("queue"), 1);
  CHECK_EQ(Run(executor.get(), 1), 2.0f);
  const Set set(Way::kNever);
  told = 0;
  auto request = std::make_unique<InFlight>(executor, 1);
  while (true) {
    std::lock_guard<std::mutex> lock(kept_mutex);
    if (!kept->empty()) break;
  }
  request->request->stop.Cancel();
  request->Wait();
  CHECK(request->error->find("did not call done within 1000 ms") != std::string::npos);
  CHECK(request->request->stop.HasAbandoned());
  const std::weak_ptr<Executor> alive = executor;
  executor.reset();
  request.reset();
  CHECK(alive.lock() != nullptr);  // the device may use its memory, and the vendor's segment
  std::vector<Done> late;
  {
    std::lock_guard<std::mutex> lock(kept_mutex);
    late.swap(*kept);
  }
  CHECK(late[0].Cancelled());
  late[0]();
  while (alive.lock() != nullptr) std::this_thread::sleep_for(milliseconds(1));
}

TEST(QueuedRunWithin) {
  auto executor = Chain("queue", Bind("queue"), 1);
  std::vector<float> in(4, 1), out(4, -1);
  void* from[] = {in.data()};
  void* to[] = {out.data()};
  CHECK(Executor::RunWithin(executor, from, to, 10));
  CHECK_EQ(out[2], 2.0f);
  const Set set(Way::kHeedful, 100);
  told = 0;
  const auto begin = Clock::now();
  CHECK(!Executor::RunWithin(executor, from, to, 0.02));
  CHECK(Clock::now() - begin < milliseconds(90));
  CHECK_EQ(told.load(), 1);
  out.assign(4, 7);
  executor.reset();  // the session is closed while the device works
  std::this_thread::sleep_for(milliseconds(300));
  CHECK_EQ(out[0], 7.0f);
}

TEST(QueuedGuardWithDeadline) {
  const auto twin = ffi::Function::FromPacked([](ffi::PackedArgs args, ffi::Any*) {
    static_cast<float*>(args[1].cast<DLTensor*>()->data)[3] = 42;
    for (int i = 0; i < 3; ++i) static_cast<float*>(args[1].cast<DLTensor*>()->data)[i] = 42;
  });
  std::atomic<int> faults{0};
  auto guard = std::make_shared<Guard>(
      "s", Bind("queue"), 1, [twin] { return twin; }, Guard::Limits{99, 0.02, true},
      [&](const std::string& kind, const std::string&, int64_t, bool) {
        faults += kind == "deadline" ? 1 : 100;
      });
  auto executor = Chain(
      "queue",
      ffi::Function::FromPacked([guard](ffi::PackedArgs args, ffi::Any*) { guard->Call(args); }),
      1);
  const Set set(Way::kHeedful, 60);
  told = most = 0;
  std::vector<std::unique_ptr<InFlight>> all;
  for (int i = 0; i < 3; ++i) all.push_back(std::make_unique<InFlight>(executor, i));
  for (const auto& request : all) {
    request->Wait();
    CHECK_EQ(request->out[3], 42.0f);
  }
  CHECK_EQ(most.load(), 3);  // they waited at the same time
  CHECK_EQ(faults.load(), 3);
  Until(told, 3);
  std::this_thread::sleep_for(milliseconds(400));  // what is late comes to an end
}

TEST(QueuedDevicesShareRequests) {
  const std::vector<std::string> names = DevicesOf("queuetest", "twin", -1);
  CHECK(names == (std::vector<std::string>{"twin:0", "twin:1"}));
  CHECK(DevicesOf("queuetest", "twin:1", -1) == std::vector<std::string>{"twin:1"});
  CHECK_THROWS(DevicesOf("queuetest", "twin:2", -1), "there is no device 'twin:2'; there are 2");
  CHECK_THROWS(DevicesOf("queuetest", "twin", 0), "there is no device");
  CHECK_THROWS(DevicesOf("queuetest", "twin", 3), "stands for 2 devices, and for 3 elsewhere");
  CHECK_THROWS(DevicesOf("queuetest", "cpu", -1), "name a processor of its own");
  CHECK(DevicesOf("nobody", "cpu", -1) == std::vector<std::string>{"cpu"});
  std::vector<ffi::Function> functions;
  for (const std::string& name : names) functions.push_back(Bind(name));
  CHECK_EQ(processors->count("twin:0") + processors->count("twin:1"), 2u);
  auto executor = Chain("twin", OfDevices(functions), 2);
  CHECK_EQ(Run(executor.get(), 1), 3.0f);
  CHECK_EQ(Run(executor.get(), 1), 3.0f);
  const Set set(Way::kWell, 5);
  std::vector<std::unique_ptr<InFlight>> all;
  constexpr int kCount = 16;
  std::set<int64_t> used;
  for (int i = 0; i < kCount; ++i) all.push_back(std::make_unique<InFlight>(executor, i));
  for (int i = 0; i < kCount; ++i) {
    all[i]->Wait();
    CHECK_EQ(all[i]->out[3], i + 2.0f);
  }
  CHECK_EQ(Processor::Get("twin:0")->load().load(), 0);
  CHECK_EQ(Processor::Get("twin:1")->load().load(), 0);
}

TEST(QueuedCallsInAForkedChild) {
  const auto queue = std::make_shared<SegmentQueue>("queuetest");
  CHECK(queue->Begin() != nullptr);
  const pid_t child = fork();
  if (child == 0) {
    int code = 1;
    try {
      queue->Begin();
    } catch (const ffi::Error& error) {
      const std::string message(error.message());
      code = message.find("load the model in the child") != std::string::npos ? 0 : 2;
    }
    _exit(code);
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 0);
}

TEST(QueuesNeedAProcessorOfTheirOwn) {
  CHECK_THROWS(Bind("cpu"), "runs on processor 'cpu', where one call runs at a time");
}

TEST(AProcessorOfSeveralThreadsIsOneAtATime) {
  Processor* processor = Processor::Get("several");
  processor->SetDepth(4);
  int count = 0;  // guarded by being at work
  std::atomic<int> aside{0}, most_aside{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        processor->Call([&] {
          ++count;
          {
            const Processor::Aside waiting;
            most_aside = std::max<int>(most_aside, ++aside);
            std::this_thread::yield();
            --aside;
          }
          ++count;
          if (i % 10 == 0) processor->Call([&] { ++count; });  // nested: at once
          if (i % 10 == 5) {  // from one processor to another and back
            Processor::Get("other")->Call([&] { processor->Call([&] { ++count; }); });
          }
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(count, 8 * (200 + 10 + 10));
  CHECK(most_aside <= 4);
}

}  // namespace
}  // namespace byoc
