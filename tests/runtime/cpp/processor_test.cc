#include "core/processor.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"

namespace byoc {
namespace {

TEST(JobsRunInOrderOnOneThread) {
  Processor* cpu = Processor::Get("cpu");
  CHECK(cpu == Processor::Get("cpu"));
  CHECK(cpu != Processor::Get("npu"));
  std::vector<int> order;
  std::thread::id first, second;
  cpu->Call([&] { order.push_back(1), first = std::this_thread::get_id(); });
  cpu->Call([&] { order.push_back(2), second = std::this_thread::get_id(); });
  CHECK(order == (std::vector<int>{1, 2}));
  CHECK(first == second);
  CHECK(first != std::this_thread::get_id());
  CHECK(Processor::Current() == nullptr);
}

TEST(ExceptionsComeBack) {
  bool caught = false;
  try {
    Processor::Get("cpu")->Call([] { throw std::out_of_range("far"); });
  } catch (const std::out_of_range& error) {
    caught = std::string(error.what()) == "far";
  }
  CHECK(caught);
}

TEST(ManyCallersShareAQueue) {
  Processor* cpu = Processor::Get("cpu");
  constexpr int kThreads = 8, kCalls = 500;
  int count = 0;  // only the processor's thread touches it
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kCalls; ++i) cpu->Call([&] { ++count; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(count, kThreads * kCalls);
}

TEST(CallsNest) {
  Processor* cpu = Processor::Get("cpu");
  Processor* npu = Processor::Get("npu");
  int depth = 0;
  cpu->Call([&] {
    cpu->Call([&] { ++depth; });
    // From one processor to another and back: "cpu" works its queue off while it waits.
    npu->Call([&] { cpu->Call([&] { ++depth; }); });
  });
  CHECK_EQ(depth, 2);
}

TEST(QueuesTakeTurns) {
  struct Note final : Job {
    std::vector<int>* order;
    std::atomic<int>* left;
    int id;
    void Run() noexcept override {
      order->push_back(id);
      --*left;
    }
  };
  Processor* processor = Processor::Get("turns");
  SubmissionQueue a, b;
  std::vector<int> order;
  std::atomic<int> left{7};
  std::vector<Note> notes(7);
  std::atomic<bool> ready{false}, go{false};
  std::thread blocker([&] {
    processor->Call([&] {
      ready = true;
      while (!go) std::this_thread::yield();
    });
  });
  while (!ready) std::this_thread::yield();
  for (int i = 0; i < 7; ++i) {
    notes[i].order = &order;
    notes[i].left = &left;
    notes[i].id = i;
    processor->Submit(&notes[i], i < 5 ? &a : &b);  // five of a, then two of b
  }
  go = true;
  blocker.join();
  while (left > 0) std::this_thread::yield();
  CHECK(order == (std::vector<int>{0, 5, 1, 6, 2, 3, 4}));
}

TEST(ForkedChildStartsItsOwnThread) {
  Processor* cpu = Processor::Get("cpu");
  cpu->Call([] {});
  const pid_t child = fork();
  if (child == 0) {
    int answer = 0;
    cpu->Call([&] { answer = 42; });
    Processor::Get("fresh")->Call([&] { answer += 1; });
    _exit(answer);
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 43);
  cpu->Call([] {});
}

}  // namespace
}  // namespace byoc
