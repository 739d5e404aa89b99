/// \file
/// One pool for everything: TVM's parallel kernels on the threads (byoc/threads.h) oneDNN uses.
///
/// Compiled kernels reach their thread pool through context symbols, pointers that tvm-ffi writes
/// into a library when it is loaded. `Install` makes them point here, so kernels need no
/// libtvm_runtime and never start a second pool.
#ifndef BYOC_RUNTIME_THREAD_POOL_H_
#define BYOC_RUNTIME_THREAD_POOL_H_

#include <cstdint>

namespace byoc {
namespace thread_pool {

/// TVMParallelGroupEnv of tvm/runtime/c_backend_api.h: part of every kernel's ABI.
struct GroupEnv {
  void* sync_handle;
  int32_t num_task;
};
/// A parallel kernel's body: one call for each task; returns 0, or -1 with an error raised.
using Body = int (*)(int task_id, GroupEnv* env, void* closure);

/// Runs `body` for task ids 0..n-1 at once; n is `num_task` but at most all threads (0: all).
/// Returns 0, or -1 with an error raised in the calling thread when a task failed.
int ParallelLaunch(Body body, void* closure, int num_task);

/// Waits until every task of the launch has come here; called by all of them.
int ParallelBarrier(int task_id, GroupEnv* env);

/// Serves libraries loaded from now on. Call before every load: TVM's own runtime claims the same
/// symbols whenever it is loaded, and the last one wins.
void Install();

/// Returns the number of threads used by parallel work: what `SetNumThreads` said, else
/// BYOC_NUM_THREADS, else OMP_NUM_THREADS, else the cores this process may run on, but no more than
/// the CPU quota of its control group (see cpu_limit.h). Throws ValueError on a bad value.
int NumThreads();

/// Sets the number of threads for work that starts after this. Any thread.
///
/// \param count 1 to 1024; else ValueError is thrown.
void SetNumThreads(int count);

/// Gives the calling processor thread its number of threads: all threads for "cpu", else one.
void ApplyToThisThread(bool is_cpu);

/// While it lives, the calling thread (any one) computes alone.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  const int before_;
};

}  // namespace thread_pool
}  // namespace byoc

#endif  // BYOC_RUNTIME_THREAD_POOL_H_
