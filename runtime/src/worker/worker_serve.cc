#include "worker/worker_serve.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <tvm/ffi/error.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "core/descriptors.h"
#include "core/event.h"
#include "worker/worker_messages.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

void Say(int socket, const std::string& packet) {
  while (send(socket, packet.data(), packet.size(), MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

/// The memory both ends see; it grows.
class Shared {
 public:
  explicit Shared(int fd) : fd_(fd) {}
  ~Shared() {
    if (data_ != nullptr) munmap(data_, size_);
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  /// At least `wanted` bytes. Throws RuntimeError.
  char* Get(size_t wanted) {
    if (data_ != nullptr && wanted <= size_) return data_;
    const off_t end = lseek(fd_, 0, SEEK_END);
    if (end <= 0 || static_cast<size_t>(end) < wanted) {
      TVM_FFI_THROW(RuntimeError) << "a call to the worker makes no sense: it speaks of " << wanted
                                  << " bytes of shared memory, there are " << end;
    }
    if (data_ != nullptr) munmap(std::exchange(data_, nullptr), size_);
    size_ = static_cast<size_t>(end);
    void* mapped = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (mapped == MAP_FAILED) ThrowSystem("the worker cannot map shared memory");
    data_ = static_cast<char*>(mapped);
    return data_;
  }

 private:
  const int fd_;
  char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace

void ReportFailure(const std::string& kind, const std::string& message) {
  Say(kWorkerSocket, EncodeFailure(0, kind, message));
}

void WatchParent(int64_t parent) {
  Fd alive = PidFd(static_cast<pid_t>(parent));
  if (getppid() != parent) kill(0, SIGKILL);  // it was gone before we looked
  std::thread([alive = std::move(alive)] {
    // The socket only where the parent cannot be watched itself: a file that a thread waits for
    // stays open though a library closes it, and the parent would wait for an answer for ever.
    pollfd fd = alive ? pollfd{alive.get(), POLLIN, 0} : pollfd{kWorkerSocket, 0, 0};
    PollUntil(&fd, 1, kNever);
    kill(0, SIGKILL);
  }).detach();
}

void Serve(const std::vector<ffi::Function>& segments, int socket, int memory) {
  std::vector<int64_t> words(kMaxCall / sizeof(int64_t));
  Shared shared(memory);
  Say(socket, EncodeDone(0));
  for (;;) {
    const ssize_t size = recv(socket, words.data(), words.size() * sizeof(int64_t), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;
    const size_t count = static_cast<size_t>(size) / sizeof(int64_t);
    const int64_t number = count > 0 ? words[0] : 0;
    const auto failed = [&](std::string_view kind, std::string_view message) {
      Say(socket, EncodeFailure(number, kind, message));
    };
    try {
      WorkerCall call(words.data(), count);
      if (call.segment() >= segments.size()) {
        TVM_FFI_THROW(RuntimeError) << "the worker has no segment " << call.segment();
      }
      call.Run(segments[call.segment()], shared.Get(std::max<size_t>(call.bytes(), 1)));
      Say(socket, EncodeDone(number));
    } catch (const ffi::Error& error) {
      failed(error.kind(), error.message());
    } catch (const std::exception& error) {
      failed("RuntimeError", error.what());
    } catch (...) {
      failed("RuntimeError", "unknown C++ exception");
    }
  }
}

}  // namespace byoc
