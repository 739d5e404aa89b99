/// \file
/// One worker process from its start to its end, as the program that started it sees it.
#ifndef BYOC_RUNTIME_WORKER_PROCESS_H_
#define BYOC_RUNTIME_WORKER_PROCESS_H_

#include <sys/types.h>
#include <tvm/ffi/container/tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/descriptors.h"

namespace byoc {

/// A running worker process and what connects to it. One thread at a time.
class WorkerProcess {
 public:
  /// Starts a program with the files of worker.h open; waits for nothing.
  ///
  /// argv: its last argument will be our process id. Throws RuntimeError.
  static std::unique_ptr<WorkerProcess> Start(const std::vector<std::string>& argv,
                                              const std::vector<tvm::ffi::Tensor>& load);
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  /// Id of the process.
  pid_t pid() const { return pid_; }

  /// Makes the shared memory at least `size` bytes large. Throws RuntimeError.
  void Reserve(size_t size);
  /// First byte of the shared memory; changes with `Reserve`.
  char* data() const { return data_; }

  /// Sends a call; false when nobody is there to take it.
  bool Send(const std::vector<int64_t>& words) const;

  /// How waiting ended: a packet came, the process is gone, it is too late.
  enum class Wait { kPacket, kGone, kLate };
  /// Waits for a packet until `due` (steady clock, ns); `packet` is what came, or its begin.
  Wait Receive(int64_t due, std::string* packet) const;

  /// Waits for the end of a process that has hung up, and returns how it ended, in words.
  std::string Reap();
  /// Kills the process and what it has started.
  void Kill();
  /// Tells a process to end; waits for nothing. Null: nothing happens.
  static void LetGo(std::unique_ptr<WorkerProcess> process);

 private:
  WorkerProcess() = default;
  bool Gone(int64_t due) const;
  void SendKill() const;
  int WaitForStatus() const;

  pid_t pid_ = 0;
  Fd socket_, memory_, pidfd_;
  char* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_WORKER_PROCESS_H_
