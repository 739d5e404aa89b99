#include "processor.h"

#include <sys/wait.h>
#include <unistd.h>

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
