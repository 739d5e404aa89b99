/*! \brief Files and processes as the system gives them: owned numbers, and waiting on them. */
#ifndef BYOC_RUNTIME_DESCRIPTORS_H_
#define BYOC_RUNTIME_DESCRIPTORS_H_

#include <poll.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>

namespace byoc {

inline constexpr int64_t kSecond = 1'000'000'000;
inline constexpr int64_t kNever = INT64_MAX;

/*! \brief Throw RuntimeError: `what`, and what errno says. */
[[noreturn]] void ThrowSystem(const std::string& what);

/*! \brief Owned file descriptor. */
class Fd {
 public:
  Fd() = default;
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

/*! \brief Becomes readable when the process ends; empty on kernels before 5.3. */
Fd PidFd(pid_t pid);

/*! \brief `seconds` from now, on the steady clock, ns. */
int64_t After(double seconds);

/*! \brief poll until `due` (steady clock, ns); an interruption is no end. */
int PollUntil(pollfd* fds, nfds_t count, int64_t due);

}  // namespace byoc

#endif  // BYOC_RUNTIME_DESCRIPTORS_H_
