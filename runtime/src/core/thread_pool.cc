#include "core/thread_pool.h"

#include <tvm/ffi/error.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/function.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>

#include "byoc/threads.h"
#include "core/workspace.h"
#include "threads/cpu_limit.h"

namespace byoc {
namespace thread_pool {
namespace {

constexpr int kMaxThreads = 1024;

/// Positive number in environment variable `name` (OpenMP allows a list), or 0.
int FromEnvironment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return 0;
  char* end = nullptr;
  errno = 0;
  const long value = std::strtol(text, &end, 10);
  while (*end == ' ') ++end;
  if (errno != 0 || end == text || (*end != '\0' && *end != ',') || value < 1 ||
      value > kMaxThreads) {
    TVM_FFI_THROW(ValueError) << "environment variable " << name << " must be a number of threads "
                              << "from 1 to " << kMaxThreads << ", found '" << text << "'";
  }
  return static_cast<int>(value);
}

int Default() {
  if (int count = FromEnvironment("BYOC_NUM_THREADS")) return count;
  if (int count = FromEnvironment("OMP_NUM_THREADS")) return count;
  return std::min(kMaxThreads, threads::UsableProcessors(""));
}

std::atomic<int> requested{0};

}  // namespace

// An error is raised in the thread that meets it, and carried over to the calling thread: that is
// where the kernel reports it from.
int ParallelLaunch(Body body, void* closure, int num_task) {
  const int most = threads::InParallel() ? 1 : threads::Max();
  int count = num_task == 0 ? most : std::min(num_task, most);
  // Tasks may wait for each other.
  if (count > 1) count = threads::Reserve(count);
  struct Launch {
    Body body;
    void* closure;
    GroupEnv env;
    std::atomic<TVMFFIObjectHandle> first_error{nullptr};
    std::atomic<bool> failed{false};
  };
  if (count <= 1) {
    GroupEnv env{nullptr, 1};
    return body(0, &env, closure);
  }
  Launch launch{body, closure, {nullptr, count}};
  threads::Parallel(
      [](void* data) {
        auto* launch = static_cast<Launch*>(data);
        if (launch->body(threads::Id(), &launch->env, launch->closure) == 0) return;
        launch->failed.store(true, std::memory_order_relaxed);
        TVMFFIObjectHandle error = nullptr, none = nullptr;
        TVMFFIErrorMoveFromRaised(&error);
        if (error != nullptr && !launch->first_error.compare_exchange_strong(none, error)) {
          TVMFFIObjectDecRef(error);
        }
      },
      &launch, count);
  if (!launch.failed.load(std::memory_order_relaxed)) return 0;
  if (TVMFFIObjectHandle error = launch.first_error.load()) {
    TVMFFIErrorSetRaised(error);
    TVMFFIObjectDecRef(error);
  } else {
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", "a parallel task of a kernel failed");
  }
  return -1;
}

int ParallelBarrier(int /*task_id*/, GroupEnv* env) {
  // A single task is in no region of its own: around it may be another one.
  if (env->num_task > 1) threads::Barrier();
  return 0;
}

void Install() {
  const auto install = [](const char* name, auto* function) {
    TVM_FFI_CHECK_SAFE_CALL(
        TVMFFIEnvModRegisterContextSymbol(name, reinterpret_cast<void*>(function)));
  };
  install("__TVMBackendParallelLaunch", &ParallelLaunch);
  install("__TVMBackendParallelBarrier", &ParallelBarrier);
  install("__TVMBackendAllocWorkspace", &AllocWorkspace);
  install("__TVMBackendFreeWorkspace", &FreeWorkspace);
  // TVM's runtime registers these for tvm-ffi; without it we do.
  install("__TVMFFIFunctionCall", &TVMFFIFunctionCall);
  install("__TVMFFIErrorSetRaisedFromCStr", &TVMFFIErrorSetRaisedFromCStr);
  install("__TVMFFIErrorSetRaisedFromCStrParts", &TVMFFIErrorSetRaisedFromCStrParts);
  install("__TVMFFIEnvModLookupFromImports", &TVMFFIEnvModLookupFromImports);
  install("__TVMFFIHandleInitOnce", &TVMFFIHandleInitOnce);
}

int NumThreads() {
  const int count = requested.load(std::memory_order_relaxed);
  if (count > 0) return count;
  static const int fallback = Default();
  return fallback;
}

void SetNumThreads(int count) {
  if (count < 1 || count > kMaxThreads) {
    TVM_FFI_THROW(ValueError) << "number of threads must be from 1 to " << kMaxThreads << ", found "
                              << count;
  }
  requested.store(count, std::memory_order_relaxed);
}

void ApplyToThisThread(bool is_cpu) {
  thread_local int applied = 0;
  const int wanted = is_cpu ? NumThreads() : 1;
  if (wanted != applied) {
    threads::SetMax(wanted);
    applied = wanted;
  }
}

OneThread::OneThread() : before_(threads::Max()) {
  if (before_ != 1) threads::SetMax(1);
}

OneThread::~OneThread() {
  if (before_ != 1) threads::SetMax(before_);
}

}  // namespace thread_pool
}  // namespace byoc
