/*
 * Packets on the socket (SOCK_SEQPACKET, both ends on one machine):
 *
 *   to the worker    int64: segment | bytes of shared memory | arguments | per argument:
 *                    dtype | offset | rank | dims…
 *   from the worker  'R' ready or done, or 'E' kind '\0' message
 */
#include "worker.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <tvm/ffi/error.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "buffer.h"
#include "errors.h"
#include "event.h"

extern char** environ;

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

constexpr size_t kMaxMessage = size_t{32} << 10;
constexpr size_t kMaxPacket = size_t{128} << 10;
constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kGrace = 2 * kSecond;  // of a worker that was told to end
constexpr int64_t kNever = INT64_MAX;

size_t RoundUp(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

[[noreturn]] void ThrowSystem(const std::string& what) {
  TVM_FFI_THROW(RuntimeError) << what << ": " << std::strerror(errno);
}

/*! \brief Owned file descriptor, closed on exec. */
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

  /*! \brief The same file beyond the numbers that the worker finds its own under. */
  static Fd Beyond(Fd fd) {
    constexpr int kBeyond = 16;
    if (fd.get() >= kBeyond) return fd;
    const int moved = fcntl(fd.get(), F_DUPFD_CLOEXEC, kBeyond);
    if (moved < 0) ThrowSystem("cannot open a file for a worker process");
    return Fd(moved);
  }

 private:
  int fd_ = -1;
};

Fd Memory(const char* name) {
  Fd fd(memfd_create(name, MFD_CLOEXEC));
  if (!fd) ThrowSystem("cannot get shared memory for a worker process");
  return Fd::Beyond(std::move(fd));
}

/*! \brief Becomes readable when the process ends; empty on kernels before 5.3. */
Fd PidFd(pid_t pid) {
#ifdef SYS_pidfd_open
  const auto fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
#else
  const auto fd = static_cast<int>(syscall(434, pid, 0));
#endif
  return Fd(fd);
}

/*! \brief poll until `due` (steady clock, ns); an interruption is no end. */
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

int64_t After(double seconds) {
  constexpr double kLongest = 1e9;
  return SteadyNow() + static_cast<int64_t>(std::min(seconds, kLongest) * 1e9);
}

void Fill(int fd, const std::vector<ffi::Tensor>& parts) {
  size_t offset = 0;
  for (const ffi::Tensor& part : parts) {
    const DLTensor& t = *part.GetDLTensorPtr();
    const char* data = static_cast<const char*>(t.data) + t.byte_offset;
    const size_t size = ffi::GetDataSize(t);
    for (size_t done = 0; done < size;) {
      const ssize_t written =
          pwrite(fd, data + done, size - done, static_cast<off_t>(offset + done));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) ThrowSystem("cannot hand a segment to its worker process");
      done += static_cast<size_t>(written);
    }
    offset = RoundUp(offset + size);
  }
}

std::string Seconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g s", seconds);
  return text;
}

std::string SignalName(int signal) {
  switch (signal) {
    case SIGSEGV:
      return "SIGSEGV (invalid memory access)";
    case SIGABRT:
      return "SIGABRT (abort)";
    case SIGBUS:
      return "SIGBUS (invalid memory access)";
    case SIGFPE:
      return "SIGFPE (arithmetic)";
    case SIGILL:
      return "SIGILL (instruction this CPU does not have)";
    case SIGKILL:
      return "SIGKILL (out of memory, perhaps: see the system's log)";
    case SIGTERM:
      return "SIGTERM";
    default:
      return "signal " + std::to_string(signal);
  }
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) return "was killed by " + SignalName(WTERMSIG(status));
  if (WIFEXITED(status)) return "exited with status " + std::to_string(WEXITSTATUS(status));
  return "ended";
}

}  // namespace

/*! \brief One process from its start to its end. */
struct Worker::Process {
  pid_t pid = 0;
  Fd socket, memory, pidfd;
  char* data = nullptr;
  size_t capacity = 0;
  bool ready = false;
  int64_t due = kNever;  // to be ready

  ~Process() {
    if (data != nullptr) munmap(data, capacity);
  }

  /*! \brief True when it has ended, by `due_at` at the latest; it is still to be reaped then. */
  bool Gone(int64_t due_at) const {
    if (pidfd) {
      pollfd fd{pidfd.get(), POLLIN, 0};
      return PollUntil(&fd, 1, due_at) > 0;
    }
    for (;;) {
      siginfo_t info{};
      const int found = waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT | WNOHANG);
      if (found != 0 || info.si_pid != 0) return true;
      if (SteadyNow() >= due_at) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  /*! \brief Kill it, and what it has started. Before it is reaped its number is nobody else's. */
  void Kill() const {
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL);  // it may not have become the leader of its group yet
  }

  /*! \brief Wait for its end, for which there is every reason; how it ended. */
  std::string Reap() {
    constexpr int64_t kPatience = 5 * kSecond;  // a core may be written
    Gone(SteadyNow() + kPatience);
    Kill();
    int status = 0;
    pid_t reaped;
    do {
      reaped = waitpid(pid, &status, 0);
    } while (reaped < 0 && errno == EINTR);
    return reaped == pid ? HowItEnded(status) : "is gone";
  }

  /*! \brief Room for `size` bytes in the shared memory. */
  void Reserve(size_t size) {
    if (size <= capacity) return;
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t wanted = (std::max(size, 2 * capacity) + page - 1) / page * page;
    // Taken now: without room a write to it would be answered by SIGBUS, here as there.
    const int error = posix_fallocate(memory.get(), 0, static_cast<off_t>(wanted));
    if (error != 0) {
      errno = error;
      ThrowSystem("cannot get " + std::to_string(wanted) + " bytes of shared memory");
    }
    void* mapped = mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
    if (mapped == MAP_FAILED) ThrowSystem("cannot map shared memory");
    if (data != nullptr) munmap(data, capacity);
    data = static_cast<char*>(mapped);
    capacity = wanted;
  }

  enum class Wait { kPacket, kGone, kLate };

  /*! \brief Wait for a packet; `packet` is what came. */
  Wait Receive(int64_t due_at, std::string* packet) {
    packet->resize(kMaxMessage + 64);
    for (;;) {
      const ssize_t size = recv(socket.get(), packet->data(), packet->size(), MSG_DONTWAIT);
      if (size > 0) {
        packet->resize(static_cast<size_t>(size));
        return Wait::kPacket;
      }
      if (size == 0) return Wait::kGone;
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return Wait::kGone;
      pollfd fds[2] = {{socket.get(), POLLIN, 0}, {pidfd.get(), POLLIN, 0}};
      const int found = PollUntil(fds, pidfd ? 2 : 1, due_at);
      if (found == 0) return Wait::kLate;
      if (found < 0) return Wait::kGone;
      // What a process said before it ended is still there to be read.
      if ((fds[0].revents & POLLIN) == 0) return Wait::kGone;
    }
  }
};

struct Worker::State {
  pid_t owner = getpid();
  std::mutex mutex;
  std::unique_ptr<Process> process;
  std::vector<int64_t> words;
  std::string packet;
  std::atomic<pid_t> pid{0};       // of the process, for who may not wait for the lock
  std::atomic<bool> leave{false};  // the process is to end after the call that runs

  void Forget() {
    pid.store(0);
    process.reset();
  }
};

Worker::Worker(Settings settings) : settings_(std::move(settings)), state_(new State) {}

Worker::~Worker() {
  std::unique_ptr<State> state(state_.load());
  if (state->owner != getpid()) {
    state.release();  // a parent's; its lock may be held
    return;
  }
  LetGo(std::move(state->process));
}

/*! \brief Tell a process to end; waits for nothing. */
void Worker::LetGo(std::unique_ptr<Process> process) {
  if (process == nullptr) return;
  shutdown(process->socket.get(), SHUT_RDWR);
  // It ends when it sees that; somebody has to ask how, or it stays as a zombie.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Process* ending = process.get();
  try {
    std::thread([ending] {
      const std::unique_ptr<Process> owned(ending);
      if (!owned->Gone(SteadyNow() + kGrace)) owned->Kill();
      owned->Reap();
    }).detach();
    process.release();
  } catch (...) {
    process->Kill();
    process->Reap();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Worker::State* Worker::Here() {
  State* state = state_.load(std::memory_order_acquire);
  if (state->owner == getpid()) return state;
  auto fresh = std::make_unique<State>();  // the old one belongs to the parent: leave it
  if (!state_.compare_exchange_strong(state, fresh.get())) return state;
  return fresh.release();
}

void Worker::Launch(State* state) {
  auto process = std::make_unique<Process>();
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    ThrowSystem("cannot open a socket for a worker process");
  }
  process->socket = Fd(pair[0]);
  const Fd theirs = Fd::Beyond(Fd(pair[1]));
  process->memory = Memory("byoc:tensors");
  const Fd load = Memory("byoc:segments");
  Fill(load.get(), settings_.load);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  // Its results are not those of this program: what it prints is talk.
  if (fcntl(2, F_GETFD) >= 0) posix_spawn_file_actions_adddup2(&files, 2, 1);
  posix_spawn_file_actions_adddup2(&files, theirs.get(), kWorkerSocket);
  posix_spawn_file_actions_adddup2(&files, process->memory.get(), kWorkerMemory);
  posix_spawn_file_actions_adddup2(&files, load.get(), kWorkerLoad);
  posix_spawnattr_t how;
  posix_spawnattr_init(&how);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigfillset(&defaults);
  posix_spawnattr_setsigmask(&how, &none);
  posix_spawnattr_setsigdefault(&how, &defaults);
  posix_spawnattr_setpgroup(&how, 0);  // Ctrl-C is for this program; and it ends with its children
  posix_spawnattr_setflags(&how,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  const std::string parent = std::to_string(getpid());
  std::vector<char*> argv;
  for (const std::string& arg : settings_.argv) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(const_cast<char*>(parent.c_str()));
  argv.push_back(nullptr);
  const int error = posix_spawn(&process->pid, argv[0], &files, &how, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&how);
  if (error != 0) {
    errno = error;
    ThrowSystem("cannot start " + settings_.argv[0] + " as the worker process of vendor '" +
                settings_.vendor + "'");
  }
  process->pidfd = PidFd(process->pid);
  process->due = After(settings_.start_seconds);
  state->pid.store(process->pid);
  state->process = std::move(process);
}

void Worker::ThrowGone(State* state, const std::string& during, const std::string& advice) {
  const std::string how = state->process->Reap(), pid = std::to_string(state->process->pid);
  state->Forget();
  throw ffi::Error(kCrash,
                   "the worker process (pid " + pid + ") of vendor '" + settings_.vendor + "' " +
                       how + " while it " + during + advice,
                   "");
}

bool Worker::Ready(State* state, bool wait, const std::string& advice) {
  Process* process = state->process.get();
  if (process->ready) return true;
  const bool overdue = SteadyNow() >= process->due;
  switch (process->Receive(wait ? process->due : 0, &state->packet)) {
    case Process::Wait::kPacket:
      break;
    case Process::Wait::kGone:
      ThrowGone(state, "loaded its segments", advice);
    case Process::Wait::kLate:
      if (!wait && !overdue) return false;
      process->Kill();
      process->Reap();
      state->Forget();
      throw ffi::Error(kDeadline,
                       "the worker process of vendor '" + settings_.vendor +
                           "' had not loaded its segments after " +
                           Seconds(settings_.start_seconds) + " and was killed" + advice,
                       "");
  }
  if (state->packet[0] == 'R') return process->ready = true;
  const std::string text = state->packet.substr(1);
  process->Kill();
  process->Reap();
  state->Forget();
  const size_t end = std::min(text.find('\0'), text.size());
  throw ffi::Error(text.substr(0, end), text.substr(std::min(end + 1, text.size())), "");
}

void Worker::Start() {
  State* state = Here();
  std::lock_guard<std::mutex> lock(state->mutex);
  if (state->process == nullptr) Launch(state);
}

void Worker::WaitUntilReady() {
  State* state = Here();
  std::lock_guard<std::mutex> lock(state->mutex);
  if (state->process == nullptr) Launch(state);
  Ready(state, /*wait=*/true, "");
}

void Worker::Run(const Segment& segment, ffi::PackedArgs args) {
  State* state = Here();
  try {
    std::lock_guard<std::mutex> lock(state->mutex);
    RunLocked(state, segment, args);
  } catch (...) {
    Leave(state);
    throw;
  }
  Leave(state);
}

void Worker::RunLocked(State* state, const Segment& segment, ffi::PackedArgs args) {
  if (state->process == nullptr) Launch(state);
  if (!Ready(state, segment.patient, segment.advice)) {
    throw ffi::Error(kRestarting, "the worker process is starting", "");
  }
  Process* process = state->process.get();

  const auto count = static_cast<size_t>(args.size());
  std::vector<int64_t>& words = state->words;
  words.assign({segment.number, 0, static_cast<int64_t>(count)});
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i) {
    const DLTensor* t = args[static_cast<int>(i)].cast<DLTensor*>();
    words.push_back(t->dtype.code | t->dtype.bits << 8 | t->dtype.lanes << 16);
    words.push_back(static_cast<int64_t>(bytes));
    words.push_back(t->ndim);
    words.insert(words.end(), t->shape, t->shape + t->ndim);
    bytes += RoundUp(ffi::GetDataSize(*t));
  }
  words[1] = static_cast<int64_t>(bytes);
  process->Reserve(std::max<size_t>(bytes, 1));

  const auto copy = [&](size_t first, size_t last, bool back) {
    size_t at = 0;
    for (size_t i = 0; i < last; ++i) {
      const DLTensor* t = args[static_cast<int>(i)].cast<DLTensor*>();
      const size_t size = ffi::GetDataSize(*t);
      char* mine = static_cast<char*>(t->data) + t->byte_offset;
      if (i >= first && size != 0) {
        std::memcpy(back ? mine : process->data + at, back ? process->data + at : mine, size);
      }
      at += RoundUp(size);
    }
  };
  copy(0, count - segment.outputs, /*back=*/false);

  const std::string during = "ran segment '" + segment.name + "'";
  ssize_t sent;
  do {
    sent = send(process->socket.get(), words.data(), words.size() * sizeof(int64_t), MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno == EMSGSIZE) ThrowSystem("segment '" + segment.name + "'");
  if (sent < 0) ThrowGone(state, "waited for work", segment.advice);
  const int64_t due = segment.deadline > 0 ? After(segment.deadline) : kNever;
  switch (process->Receive(due, &state->packet)) {
    case Process::Wait::kPacket:
      break;
    case Process::Wait::kGone:
      ThrowGone(state, during, segment.advice);
    case Process::Wait::kLate: {
      process->Kill();
      process->Reap();
      const std::string pid = std::to_string(process->pid);
      state->Forget();
      throw ffi::Error(kDeadline,
                       "no answer within " + Seconds(segment.deadline) +
                           "; the worker process (pid " + pid + ") of vendor '" + settings_.vendor +
                           "' was killed while it " + during + segment.advice,
                       "");
    }
  }
  const std::string& packet = state->packet;
  if (packet[0] != 'R') {
    const size_t end = std::min(packet.find('\0', 1), packet.size());
    throw ffi::Error(packet.substr(1, end - 1), packet.substr(std::min(end + 1, packet.size())),
                     "");
  }
  copy(count - segment.outputs, count, /*back=*/true);
}

void Worker::Stop() {
  State* state = Here();
  state->leave.store(true);
  Leave(state);
}

/*! \brief End the process if that is asked for; not while a call runs, which does it afterwards. */
void Worker::Leave(State* state) {
  while (state->leave.load() && state->mutex.try_lock()) {
    std::lock_guard<std::mutex> lock(state->mutex, std::adopt_lock);
    if (!state->leave.exchange(false)) continue;
    state->pid.store(0);
    LetGo(std::move(state->process));
  }
}

int64_t Worker::pid() { return Here()->pid.load(); }

// -- in the worker ------------------------------------------------------------------------------

namespace {

void Reply(const std::string& packet) {
  while (send(kWorkerSocket, packet.data(), packet.size(), MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

/*! \brief One call as the socket brought it. */
class Request {
 public:
  /*! \brief Throws when it makes no sense. */
  Request(const int64_t* words, size_t count) : words_(words), left_(count) {
    segment_ = Next();
    bytes_ = static_cast<size_t>(Next());
    const int64_t args = Next();
    tensors_.reserve(static_cast<size_t>(args));
    for (int64_t i = 0; i < args; ++i) {
      const int64_t type = Next();
      DLTensor t{};
      t.dtype = {static_cast<uint8_t>(type), static_cast<uint8_t>(type >> 8),
                 static_cast<uint16_t>(type >> 16)};
      t.device = {kDLCPU, 0};
      t.data = reinterpret_cast<void*>(Next());  // an offset still
      t.ndim = static_cast<int32_t>(Next());
      t.shape = const_cast<int64_t*>(words_);
      for (int32_t k = 0; k < t.ndim; ++k) Next();
      tensors_.push_back(t);
    }
  }

  size_t segment() const { return static_cast<size_t>(segment_); }
  size_t bytes() const { return bytes_; }

  void Call(const ffi::Function& function, char* memory) {
    std::vector<ffi::AnyView> args;
    for (DLTensor& t : tensors_) {
      t.data = memory + reinterpret_cast<intptr_t>(t.data);
      args.emplace_back(&t);
    }
    ffi::Any result;
    function.CallPacked(args.data(), static_cast<int32_t>(args.size()), &result);
  }

 private:
  int64_t Next() {
    if (left_ == 0) TVM_FFI_THROW(RuntimeError) << "a request to the worker is cut short";
    --left_;
    return *words_++;
  }

  const int64_t* words_;
  size_t left_;
  int64_t segment_ = 0;
  size_t bytes_ = 0;
  std::vector<DLTensor> tensors_;
};

}  // namespace

void ReportFailure(const std::string& kind, const std::string& message) {
  Reply('E' + kind + '\0' + message.substr(0, kMaxMessage - std::min(kMaxMessage, kind.size())));
}

void WatchParent(int64_t parent) {
  Fd alive = PidFd(static_cast<pid_t>(parent));
  if (getppid() != parent) kill(0, SIGKILL);  // it was gone before we looked
  std::thread([alive = std::move(alive)] {
    pollfd fds[2] = {{kWorkerSocket, 0, 0}, {alive.get(), POLLIN, 0}};
    PollUntil(fds, alive ? 2 : 1, kNever);  // the other end of the socket hangs up, or it dies
    // Nobody asks any more: `Serve` returns and the process ends in order. Unless it hangs, or is
    // all that is left.
    if (alive) PollUntil(&fds[1], 1, SteadyNow() + kGrace);
    kill(0, SIGKILL);
  }).detach();
}

void Serve(const std::vector<ffi::Function>& segments) {
  std::vector<int64_t> words(kMaxPacket / sizeof(int64_t));
  char* memory = nullptr;
  size_t capacity = 0;
  const std::string done = "R";
  Reply(done);
  for (;;) {
    const ssize_t size = recv(kWorkerSocket, words.data(), words.size() * sizeof(int64_t), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;
    try {
      Request request(words.data(), static_cast<size_t>(size) / sizeof(int64_t));
      if (request.segment() >= segments.size()) {
        TVM_FFI_THROW(RuntimeError) << "the worker has no segment " << request.segment();
      }
      if (request.bytes() > capacity || memory == nullptr) {
        if (memory != nullptr) munmap(memory, capacity);
        const off_t end = lseek(kWorkerMemory, 0, SEEK_END);
        capacity = static_cast<size_t>(std::max<off_t>(end, 1));
        void* mapped =
            mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, kWorkerMemory, 0);
        memory = mapped == MAP_FAILED ? nullptr : static_cast<char*>(mapped);
        if (memory == nullptr) ThrowSystem("the worker cannot map shared memory");
      }
      request.Call(segments[request.segment()], memory);
      Reply(done);
    } catch (const ffi::Error& error) {
      ReportFailure(std::string(error.kind()), std::string(error.message()));
    } catch (const std::exception& error) {
      ReportFailure("RuntimeError", error.what());
    } catch (...) {
      ReportFailure("RuntimeError", "unknown C++ exception");
    }
  }
}

}  // namespace byoc
