#include "core/descriptors.h"

#include <sys/syscall.h>
#include <time.h>
#include <tvm/ffi/error.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/event.h"

namespace byoc {

void ThrowSystem(const std::string& what) {
  TVM_FFI_THROW(RuntimeError) << what << ": " << std::strerror(errno);
}

Fd PidFd(pid_t pid) {
#ifdef SYS_pidfd_open
  const auto fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
#else
  const auto fd = static_cast<int>(syscall(434, pid, 0));
#endif
  return Fd(fd);
}

int64_t After(double seconds) {
  constexpr double kLongest = 1e9;
  return SteadyNow() + static_cast<int64_t>(std::min(seconds, kLongest) * 1e9);
}

int PollUntil(pollfd* fds, nfds_t count, int64_t due) {
  for (;;) {
    timespec left{}, *timeout = nullptr;
    if (due != kNever) {
      const int64_t ns = std::max<int64_t>(0, due - SteadyNow());
      left = {static_cast<time_t>(ns / kSecond), static_cast<long>(ns % kSecond)};
      timeout = &left;
    }
    const int found = ppoll(fds, count, timeout, nullptr);
    if (found >= 0 || errno != EINTR) return found;
  }
}

}  // namespace byoc
