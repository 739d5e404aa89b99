/*
 * A worker that does everything wrong that a vendor's library can: this program, started once more,
 * is the worker (see Child).
 */
#include "worker/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "core/errors.h"
#include "core/tensors.h"
#include "worker/worker_messages.h"
#include "worker/worker_serve.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

// -- the worker ---------------------------------------------------------------------------------

enum Number : int64_t { kDouble, kBreak, kSay, kFail, kCut, kNumbers };

const float* In(const DLTensor* t) { return static_cast<const float*>(t->data); }

void Double(const DLTensor* x, const DLTensor* y) {
  const int64_t count = std::accumulate(x->shape, x->shape + x->ndim, int64_t{1},
                                        [](int64_t a, int64_t b) { return a * b; });
  for (int64_t i = 0; i < count; ++i) static_cast<float*>(y->data)[i] = In(x)[i] * 2;
}

/*! \brief Ways to break, by the first element. */
void Break(int how) {
  switch (how) {
    case 1:
      signal(SIGSEGV, SIG_DFL);  // sanitizers answer it otherwise
      raise(SIGSEGV);
      break;
    case 2:
      signal(SIGABRT, SIG_DFL);
      raise(SIGABRT);
      break;
    case 3:
      _exit(7);
    case 4:
      for (;;) pause();
    case 5:
      raise(SIGKILL);  // as a system does that runs out of memory
      break;
    case 6:
      close(kWorkerSocket);
      for (;;) pause();
    default:
      break;
  }
}

/*! \brief Every byte of the packet is an element; first: 1 before the answer, 2 soon after it. */
void Say(const DLTensor* x) {
  std::string packet;
  for (int64_t i = 1; i < x->shape[0]; ++i) packet += static_cast<char>(In(x)[i]);
  const auto say = [packet] { send(kWorkerSocket, packet.data(), packet.size(), MSG_NOSIGNAL); };
  if (In(x)[0] == 1) return say();
  std::thread([say] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    say();
  }).detach();
}

void Fail(int how) {
  if (how == 1) throw std::bad_alloc();
  if (how == 2) throw 42;
  if (how == 3) throw ffi::Error("ValueError", std::string(100'000, 'x'), "");
  throw std::runtime_error("caf\xe9 \xff ok");
}

std::vector<ffi::Function> Segments() {
  const auto make = [](std::function<void(const DLTensor*, const DLTensor*)> body) {
    return ffi::Function::FromPacked([body = std::move(body)](ffi::PackedArgs args, ffi::Any*) {
      body(args[0].cast<DLTensor*>(), args[args.size() - 1].cast<DLTensor*>());
    });
  };
  return {make(Double),
          make([](const DLTensor* x, const DLTensor*) { Break(static_cast<int>(In(x)[0])); }),
          make([](const DLTensor* x, const DLTensor*) { Say(x); }),
          make([](const DLTensor* x, const DLTensor*) { Fail(static_cast<int>(In(x)[0])); }),
          make([](const DLTensor*, const DLTensor* y) {  // would end the other process
            static_cast<float*>(y->data)[0] = static_cast<float>(ftruncate(kWorkerMemory, 0));
          })};
}

/*! \brief Arguments: --child, file that counts, what goes wrong at loading, process of the parent.
 */
int Child(int, char** argv) {
  std::ofstream(argv[2], std::ios::app) << '.';
  WatchParent(std::atoll(argv[4]));
  const std::string how = argv[3];
  if (how == "crash") Break(1);
  if (how == "hang") Break(4);
  if (how == "garbage") send(kWorkerSocket, "junk", 4, 0);
  if (how == "refuse") {
    ReportFailure("ValueError", "the device is not there");
    return 0;
  }
  if (how == "slow") std::this_thread::sleep_for(std::chrono::milliseconds(300));
  if (how == "parts") {  // "abc" and, at the next multiple of 64, "de"
    std::string loaded(66, '?');
    if (pread(kWorkerLoad, loaded.data(), 66, 0) != 66) return 1;
    if (loaded != "abc" + std::string(61, '\0') + "de") return 2;
  }
  Serve(Segments());
  return 0;
}

const bool registered = (check::TheChild() = Child) != nullptr;

// -- the program --------------------------------------------------------------------------------

/*! \brief Worker, and how often its process was started. */
class Host {
 public:
  explicit Host(const std::string& how = "", double start_seconds = 60,
                std::vector<ffi::Tensor> load = {})
      : count_(Unique()), worker_({"acme", Program(how), std::move(load), start_seconds}) {}
  ~Host() { std::filesystem::remove(count_); }

  Worker* operator->() { return &worker_; }

  std::vector<float> Run(int64_t number, std::vector<float> x, double deadline = 0,
                         bool patient = true) {
    std::vector<float> y(x.size(), -1);
    int64_t size = static_cast<int64_t>(x.size());
    DLTensor in{x.data(), {kDLCPU, 0}, 1, {kDLFloat, 32, 1}, &size, nullptr, 0}, out = in;
    out.data = y.data();
    const ffi::AnyView views[] = {&in, &out};
    worker_.Run({"seg", number, 1, deadline, patient, "; advice"}, ffi::PackedArgs(views, 2));
    return y;
  }

  bool Works() { return Run(kDouble, {1, 2, 3}) == std::vector<float>{2, 4, 6}; }

  size_t Starts() const {
    std::error_code error;
    const auto size = std::filesystem::file_size(count_, error);
    return error ? 0 : size;
  }

 private:
  static std::string Unique() {
    static std::atomic<int> hosts{0};
    const std::string name =
        "byoc-worker-" + std::to_string(getpid()) + "-" + std::to_string(++hosts);
    return std::filesystem::temp_directory_path() / name;
  }

  std::vector<std::string> Program(const std::string& how) {
    return {std::filesystem::read_symlink("/proc/self/exe"), "--child", count_, how};
  }

  const std::string count_;
  Worker worker_;
};

bool Alive(int64_t pid) { return kill(static_cast<pid_t>(pid), 0) == 0; }

bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 6000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

size_t OpenFiles() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

TEST(WorkerAnswers) {
  Host host;
  for (const size_t size : {3, 0, 1, 1 << 20, 5, 3 << 20, 2}) {
    std::vector<float> x(size), doubled(size);
    for (size_t i = 0; i < size; ++i) x[i] = static_cast<float>(i % 1000);
    std::transform(x.begin(), x.end(), doubled.begin(), [](float v) { return 2 * v; });
    CHECK(host.Run(kDouble, x) == doubled);
  }
  CHECK_EQ(host.Starts(), 1u);
  CHECK_THROWS(host.Run(kNumbers, {1}), "RuntimeError: the worker has no segment 5");
  CHECK_THROWS(host.Run(-1, {1}), "makes no sense: a number is negative");
  CHECK(host.Works());
  CHECK_EQ(host.Starts(), 1u);
}

TEST(WorkerGetsWhatItIsToLoad) {
  const auto bytes = [](const std::string& text) {
    ffi::Tensor t = NewTensor(ffi::Shape({static_cast<int64_t>(text.size())}), {kDLUInt, 8, 1});
    std::copy(text.begin(), text.end(), static_cast<char*>(t.data_ptr()));
    return t;
  };
  Host host("parts", 60, {bytes("abc"), bytes("de")});
  CHECK(host.Works());
}

TEST(WorkerThatBreaksIsStartedAgain) {
  Host host;
  const std::pair<float, const char*> ways[] = {
      {1, "was killed by SIGSEGV (invalid memory access) while it ran segment 'seg'; advice"},
      {2, "was killed by SIGABRT (abort) while it ran segment 'seg'"},
      {3, "exited with status 7 while it ran segment 'seg'"},
      {5, "was killed by SIGKILL (out of memory, perhaps: see the system's log) while it ran"}};
  size_t starts = 1;
  for (const auto& [how, text] : ways) {
    CHECK(host.Works());
    const int64_t pid = host->pid();
    CHECK_EQ(host.Starts(), starts);
    CHECK_THROWS(host.Run(kBreak, {how}), text);
    CHECK(!Alive(pid));  // reaped
    CHECK_EQ(host->pid(), 0);
    CHECK_EQ(host.Starts(), starts++);  // nothing starts before somebody calls
    CHECK_THROWS(host.Run(kBreak, {how}), "Crash: the worker process (pid ");
    ++starts;
  }
  CHECK(host.Works());
  CHECK_EQ(host.Starts(), starts);
}

TEST(WorkerThatHangsIsKilled) {
  Host host;
  CHECK(host.Works());
  const int64_t pid = host->pid();
  const std::string text = "Deadline: no answer within 0.2 s; the worker process (pid " +
                           std::to_string(pid) +
                           ") of vendor 'acme' was killed while it ran segment 'seg'; advice";
  CHECK_THROWS(host.Run(kBreak, {4}, 0.2), text.c_str());
  CHECK(!Alive(pid));
  CHECK(host.Works());
  CHECK_EQ(host.Starts(), 2u);
}

TEST(WorkerThatHangsUpIsKilled) {
  Host host;
  CHECK(host.Works());
  CHECK_THROWS(host.Run(kBreak, {6}), "closed its socket and was killed while it ran segment");
  CHECK(host.Works());
}

TEST(WorkerIsKilledInTheMiddleAndWhileIdle) {
  Host host;
  CHECK(host.Works());
  for (const bool busy : {true, false}) {
    const auto pid = static_cast<pid_t>(host->pid());
    CHECK(pid > 0);
    std::thread killer([&] {
      if (busy) std::this_thread::sleep_for(std::chrono::milliseconds(50));
      kill(pid, SIGKILL);
    });
    if (!busy) killer.join();
    CHECK_THROWS(host.Run(busy ? kBreak : kDouble, {4}), "was killed by SIGKILL");
    if (busy) killer.join();
    CHECK(host.Works());
  }
  CHECK_EQ(host.Starts(), 3u);
}

std::vector<float> Spoken(float when, const std::string& packet) {
  std::vector<float> x{when};
  x.insert(x.end(), packet.begin(), packet.end());
  return x;
}

TEST(WorkerThatWritesToItsSocketIsKilled) {
  Host host;
  CHECK(host.Works());
  std::string unfinished = EncodeFailure(2, "Kind", "text");
  unfinished.erase(unfinished.find('\0', 9));
  const std::string packets[] = {"X",
                                 "R",
                                 "hello, world\n",
                                 EncodeDone(1),
                                 EncodeDone(2) + "more",
                                 EncodeDone(-1),
                                 EncodeFailure(7, "RuntimeError", "forged"),
                                 unfinished,
                                 std::string(40'000, 'E')};
  size_t starts = 1;
  for (const std::string& packet : packets) {
    CHECK(host.Works());  // call 1 of this process
    CHECK_THROWS(host.Run(kSay, Spoken(1, packet)),
                 "bytes that are no answer while it ran segment 'seg', and was killed; advice");
    CHECK_EQ(host->pid(), 0);
    ++starts;
  }
  CHECK(host.Works());
  CHECK_EQ(host.Starts(), starts);
  host.Run(kSay, Spoken(2, "late"));  // the answer came first; the next call finds it
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK_THROWS(host.Run(kDouble, {1}), "Crash: the worker process");
  CHECK(host.Works());
}

TEST(WorkerThatFailsStays) {
  Host host;
  CHECK(host.Works());
  const int64_t pid = host->pid();
  CHECK_THROWS(host.Run(kFail, {1}), "RuntimeError: std::bad_alloc");
  CHECK_THROWS(host.Run(kFail, {2}), "RuntimeError: unknown C++ exception");
  CHECK_THROWS(host.Run(kFail, {3}), "ValueError: xxxxx");
  CHECK_THROWS(host.Run(kFail, {4}), "RuntimeError: caf? ? ok");  // UTF-8 for who reads it
  CHECK_EQ(host.Run(kCut, {1})[0], -1.0f);  // memory that is mapped here is not cut there
  CHECK(host.Works());
  CHECK_EQ(host->pid(), pid);
}

TEST(WorkerRefusesWhatIsTooLarge) {
  Host host;
  CHECK(host.Works());
  const int64_t pid = host->pid();
  std::vector<float> x{1}, y{0};
  std::vector<int64_t> ones(8, 1);
  DLTensor in{x.data(), {kDLCPU, 0}, 8, {kDLFloat, 32, 1}, ones.data(), nullptr, 0}, out = in;
  out.data = y.data();
  const auto run = [&](size_t count) {
    std::vector<ffi::AnyView> views(count, &in);
    views.back() = &out;
    host->Run({"wide", kDouble, 1, 0, true, ""},
              ffi::PackedArgs(views.data(), static_cast<int32_t>(count)));
  };
  run(1489);  // 11 words each, 4 more: 16,383 of 16,384
  CHECK_EQ(y[0], 2.0f);
  CHECK_THROWS(run(1490),
               "ValueError: segment 'wide' has 1490 inputs and outputs, whose "
               "description takes 131152 bytes, at most 131072 go to a worker process");
  CHECK(host.Works());
  CHECK_EQ(host->pid(), pid);
}

TEST(WorkerThatDoesNotLoad) {
  const std::pair<const char*, const char*> ways[] = {
      {"crash", "Crash: the worker process (pid "},
      {"hang", "Deadline: the worker process of vendor 'acme' had not loaded its segments after"},
      {"garbage", "sent 4 bytes that are no answer while it loaded its segments, and was killed"},
      {"refuse", "ValueError: the device is not there"}};
  for (const auto& [how, text] : ways) {
    Host host(how, how == std::string("hang") ? 1 : 60);
    for (size_t starts = 1; starts < 3; ++starts) {
      CHECK_THROWS(host->WaitUntilReady(), text);
      CHECK_EQ(host->pid(), 0);
      if (how != std::string("hang")) CHECK_EQ(host.Starts(), starts);
    }
    CHECK_THROWS(host.Run(kDouble, {1}), text);
  }
  Worker none({"acme", {"/nowhere/to/be/found"}, {}, 5});
  CHECK_THROWS(none.Start(), "RuntimeError: vendor 'acme': cannot start /nowhere/to/be/found: No");
}

TEST(WorkerThatStartsKeepsNobodyWaiting) {
  Host host("slow");
  host->Start();
  CHECK_THROWS(host.Run(kDouble, {1}, 0, /*patient=*/false), "Restarting: ");
  CHECK(Eventually([&] {
    try {
      return host.Run(kDouble, {4}, 0, /*patient=*/false)[0] == 8;
    } catch (const ffi::Error& error) {
      return error.kind() != kRestarting;
    }
  }));
  CHECK_EQ(host.Starts(), 1u);
}

TEST(WorkerLeavesNothing) {
  {
    Host().Works();
  }
  CHECK(Eventually([] { return OpenFiles() < 20; }));
  size_t files = 0;
  for (int round = 0; round < 4; ++round) {
    int64_t stopped, dropped;
    {
      Host host;
      CHECK(host.Works());
      stopped = host->pid();
      host->Stop();
      CHECK_EQ(host->pid(), 0);
      CHECK(host.Works());
      dropped = host->pid();
      CHECK(dropped != stopped);
    }
    CHECK(Eventually([&] { return !Alive(stopped) && !Alive(dropped); }));  // not even a zombie
    if (round == 0) CHECK(Eventually([&] { return (files = OpenFiles()) < 20; }));
    CHECK(Eventually([&] { return OpenFiles() <= files; }));
  }
}

TEST(WorkerOfManyThreads) {
  Host host;
  CHECK(host.Works());
  std::atomic<int> wrong{0}, crashed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        try {
          if (t == 0 && i % 8 == 7) host->Stop();
          if (t == 1 && i % 10 == 9) host.Run(kBreak, {3});
          wrong += !host.Works();
        } catch (const ffi::Error& error) {
          ++(error.kind() == kCrash ? crashed : wrong);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0);
  CHECK_EQ(crashed.load(), 2);
  CHECK(host.Starts() >= 3 && host.Starts() <= 6);
}

}  // namespace
}  // namespace byoc
