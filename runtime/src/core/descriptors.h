/// \file
/// Files and processes as the system gives them: owned numbers, and waiting on them.
#ifndef BYOC_RUNTIME_DESCRIPTORS_H_
#define BYOC_RUNTIME_DESCRIPTORS_H_

#include <poll.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>

namespace byoc {

/// One second in ns.
inline constexpr int64_t kSecond = 1'000'000'000;
/// A time that never comes, for `PollUntil`.
inline constexpr int64_t kNever = INT64_MAX;

/// Throws RuntimeError: `what`, and what errno says.
[[noreturn]] void ThrowSystem(const std::string& what);

/// A file descriptor that is closed with its owner.
class Fd {
 public:
  Fd() = default;
  /// Takes ownership of `fd`.
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// Returns a descriptor that becomes readable when the process ends; none on kernels before 5.3.
Fd PidFd(pid_t pid);

/// Returns the time `seconds` from now, in ns of the steady clock.
int64_t After(double seconds);

/// Polls until `due` (ns of the steady clock, or `kNever`); an interruption does not end it.
int PollUntil(pollfd* fds, nfds_t count, int64_t due);

}  // namespace byoc

#endif  // BYOC_RUNTIME_DESCRIPTORS_H_
