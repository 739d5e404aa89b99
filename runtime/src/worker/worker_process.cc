#include "worker/worker_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <tvm/ffi/error.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "core/event.h"
#include "worker/worker.h"
#include "worker/worker_messages.h"

extern char** environ;

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

constexpr int kUnknown = -1;  // how it ended: somebody else asked first

/// The same file beyond the numbers that the worker finds its own under.
Fd Beyond(Fd fd) {
  constexpr int kBeyond = 16;
  if (fd.get() >= kBeyond) return fd;
  const int moved = fcntl(fd.get(), F_DUPFD_CLOEXEC, kBeyond);
  if (moved < 0) ThrowSystem("cannot open a file for a worker process");
  return Fd(moved);
}

Fd Memory(const char* name, unsigned flags) {
  Fd fd(memfd_create(name, MFD_CLOEXEC | flags));
  if (!fd) ThrowSystem("cannot get shared memory for a worker process");
  return Beyond(std::move(fd));
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
  if (status == kUnknown) return "is gone";
  if (WIFSIGNALED(status)) return "was killed by " + SignalName(WTERMSIG(status));
  if (WIFEXITED(status)) return "exited with status " + std::to_string(WEXITSTATUS(status));
  return "ended";
}

}  // namespace

std::unique_ptr<WorkerProcess> WorkerProcess::Start(const std::vector<std::string>& arguments,
                                                    const std::vector<ffi::Tensor>& load) {
  std::unique_ptr<WorkerProcess> process(new WorkerProcess);
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    ThrowSystem("cannot open a socket for a worker process");
  }
  process->socket_ = Fd(pair[0]);
  const Fd theirs = Beyond(Fd(pair[1]));
  process->memory_ = Memory("byoc:tensors", MFD_ALLOW_SEALING);
  // What it would cut off there is mapped here: touching it would end this process.
  if (fcntl(process->memory_.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
    ThrowSystem("cannot seal the shared memory of a worker process");
  }
  const Fd loaded = Memory("byoc:segments", 0);
  Fill(loaded.get(), load);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  // Its results are not those of this program: what it prints is talk.
  if (fcntl(2, F_GETFD) >= 0) posix_spawn_file_actions_adddup2(&files, 2, 1);
  posix_spawn_file_actions_adddup2(&files, theirs.get(), kWorkerSocket);
  posix_spawn_file_actions_adddup2(&files, process->memory_.get(), kWorkerMemory);
  posix_spawn_file_actions_adddup2(&files, loaded.get(), kWorkerLoad);
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
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(const_cast<char*>(parent.c_str()));
  argv.push_back(nullptr);
  const int error = posix_spawn(&process->pid_, argv[0], &files, &how, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&how);
  if (error != 0) {
    errno = error;
    ThrowSystem("cannot start " + arguments[0]);
  }
  process->pidfd_ = PidFd(process->pid_);
  return process;
}

WorkerProcess::~WorkerProcess() {
  if (data_ != nullptr) munmap(data_, capacity_);
}

void WorkerProcess::Reserve(size_t size) {
  if (size <= capacity_) return;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t wanted = (std::max(size, 2 * capacity_) + page - 1) / page * page;
  // Taken now: without room a write to it would be answered by SIGBUS, here as there.
  const int error = posix_fallocate(memory_.get(), 0, static_cast<off_t>(wanted));
  if (error != 0) {
    errno = error;
    ThrowSystem("cannot get " + std::to_string(wanted) + " bytes of shared memory");
  }
  void* mapped = mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_SHARED, memory_.get(), 0);
  if (mapped == MAP_FAILED) ThrowSystem("cannot map shared memory");
  if (data_ != nullptr) munmap(data_, capacity_);
  data_ = static_cast<char*>(mapped);
  capacity_ = wanted;
}

bool WorkerProcess::Send(const std::vector<int64_t>& words) const {
  ssize_t sent;
  do {
    sent = send(socket_.get(), words.data(), words.size() * sizeof(int64_t), MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent >= 0;
}

WorkerProcess::Wait WorkerProcess::Receive(int64_t due, std::string* packet) const {
  packet->resize(kMaxAnswer + 1);  // one that is too long is seen to be
  for (;;) {
    const ssize_t size = recv(socket_.get(), packet->data(), packet->size(), MSG_DONTWAIT);
    if (size > 0) {
      packet->resize(static_cast<size_t>(size));
      return Wait::kPacket;
    }
    if (size == 0) return Wait::kGone;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return Wait::kGone;
    pollfd fds[2] = {{socket_.get(), POLLIN, 0}, {pidfd_.get(), POLLIN, 0}};
    const int found = PollUntil(fds, pidfd_ ? 2 : 1, due);
    if (found == 0) return Wait::kLate;
    if (found < 0) return Wait::kGone;
    // What a process said before it ended is still there to be read.
    if ((fds[0].revents & POLLIN) == 0) return Wait::kGone;
  }
}

/// True when it has ended, by `due` at the latest; it is still to be reaped then.
bool WorkerProcess::Gone(int64_t due) const {
  if (pidfd_) {
    pollfd fd{pidfd_.get(), POLLIN, 0};
    return PollUntil(&fd, 1, due) > 0;
  }
  for (;;) {
    siginfo_t info{};
    const int found = waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT | WNOHANG);
    if (found != 0 || info.si_pid != 0) return true;
    if (SteadyNow() >= due) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// Before it is reaped its number is nobody else's.
void WorkerProcess::SendKill() const {
  kill(-pid_, SIGKILL);
  kill(pid_, SIGKILL);  // it may not have become the leader of its group yet
}

int WorkerProcess::WaitForStatus() const {
  int status = 0;
  pid_t reaped;
  do {
    reaped = waitpid(pid_, &status, 0);
  } while (reaped < 0 && errno == EINTR);
  return reaped == pid_ ? status : kUnknown;
}

std::string WorkerProcess::Reap() {
  constexpr int64_t kPatience = 5 * kSecond;  // a core may be written
  const int64_t begin = SteadyNow();
  Gone(begin + kPatience);
  // Who is killed hangs up and ends at the same moment. Otherwise a library has closed the socket.
  const bool lingered = SteadyNow() - begin > kSecond;
  SendKill();
  const int status = WaitForStatus();
  const bool killed = status != kUnknown && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  return lingered && killed ? "closed its socket and was killed" : HowItEnded(status);
}

void WorkerProcess::Kill() {
  SendKill();
  WaitForStatus();
}

void WorkerProcess::LetGo(std::unique_ptr<WorkerProcess> process) {
  if (process == nullptr) return;
  shutdown(process->socket_.get(), SHUT_RDWR);
  // It ends when it sees that; somebody has to ask how, or it stays as a zombie.
  constexpr int64_t kGrace = 2 * kSecond;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  WorkerProcess* ending = process.get();
  try {
    std::thread([ending] {
      const std::unique_ptr<WorkerProcess> owned(ending);
      owned->Gone(SteadyNow() + kGrace);
      owned->Kill();
    }).detach();
    process.release();
  } catch (...) {
    process->Kill();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace byoc
