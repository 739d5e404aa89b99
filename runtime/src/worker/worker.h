/// \file
/// A vendor's segments in a process of their own: what breaks there does not break here.
///
///   this process                                    worker (a fresh program, not a fork)
///   thread of the processor ──"run 2"──▶ socket ──▶ Serve: segment 2
///     copies inputs ──▶ [   shared memory, no name   ] ◀── reads and writes in place
///     copies outputs ◀───────"done"──── socket ◀──
///
/// Either end learns from the socket, at once, when the other is gone. A worker that does not
/// answer in time is killed; the next call starts another one. When this process ends, however it
/// ends, its workers end too, and their memory with them.
#ifndef BYOC_RUNTIME_WORKER_H_
#define BYOC_RUNTIME_WORKER_H_

#include <sys/types.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace byoc {

struct WorkerAnswer;

/// The worker process of one vendor, started when it is first needed. Any thread may call it.
class Worker {
 public:
  /// What is started, and with what.
  struct Settings {
    std::string vendor;
    std::vector<std::string> argv;       // the program; its last argument will be our process id
    std::vector<tvm::ffi::Tensor> load;  // what it loads: dense, 64-byte aligned in kWorkerLoad
    double start_seconds = 0;            // to load its segments
  };

  /// Starts nothing yet.
  explicit Worker(Settings settings);
  /// Lets the process go: it ends on its own, within seconds.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Starts the process unless it runs; waits for nothing.
  void Start();
  /// Waits until its segments are loaded. Throws as `Run`.
  void WaitUntilReady();

  /// How a segment is called.
  struct Segment {
    std::string name;
    int64_t number = 0;   // in the worker
    size_t outputs = 0;   // the last so many arguments are written
    double deadline = 0;  // seconds of one call; 0: none
    bool patient = true;  // wait for a worker that is starting, else throw kRestarting
    std::string advice;   // appended to what is thrown when the worker breaks
  };

  /// Calls a segment; calls from several threads run one after the other. Throws what the segment
  /// threw, or an error of kind kCrash, kDeadline, kRestarting (errors.h).
  void Run(const Segment& segment, tvm::ffi::PackedArgs args);

  /// Ends the process, after the call that runs; the next one starts another.
  void Stop();

  /// Id of the process that runs, or 0.
  int64_t pid();

 private:
  struct State;

  State* Here();
  static void Leave(State* state);
  void RunLocked(State* state, const Segment& segment, tvm::ffi::PackedArgs args);
  void Launch(State* state);
  bool Ready(State* state, bool wait, const std::string& advice);
  WorkerAnswer Understand(State* state, int64_t number, const std::string& during,
                          const std::string& advice);
  std::string Who(State* state) const;
  [[noreturn]] void ThrowGone(State* state, const std::string& during, const std::string& advice);
  [[noreturn]] static void ThrowKilled(State* state, const char* kind, const std::string& text);

  const Settings settings_;
  /// Of this process: a forked child starts a worker of its own.
  std::atomic<State*> state_;
};

/// File numbers open in the worker: its socket, the shared memory, what it is to load.
inline constexpr int kWorkerSocket = 3;
inline constexpr int kWorkerMemory = 4;
inline constexpr int kWorkerLoad = 5;

}  // namespace byoc

#endif  // BYOC_RUNTIME_WORKER_H_
