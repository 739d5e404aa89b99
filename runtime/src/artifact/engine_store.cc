#include "artifact/engine_store.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <system_error>
#include <utility>

#include "core/mapping.h"
#include "core/tensors.h"
#include "core/vendor_services.h"

namespace byoc {

namespace ffi = tvm::ffi;
namespace fs = std::filesystem;

namespace {

constexpr const char* kEnding = ".engine";
constexpr const char* kAside = ".aside";
constexpr const char* kPart = ".part";
constexpr uint64_t kPage = 4096;
constexpr uint64_t kMagic = 0x31656e69676e6562;  // "bengine1"

/*! \brief The beginning of a file. */
struct Header {
  uint64_t checksum;  // of all that follows it
  uint64_t magic;
  uint64_t about;  // bytes
  uint64_t data;   // likewise
};

uint64_t DataAt(uint64_t about) { return (sizeof(Header) + about + kPage - 1) / kPage * kPage; }

/*!
 * \brief A checksum against damage, not against people, at the speed of memory.
 *
 * A step maps a lane one to one, by the word and by what the lane was, so that a word that changes
 * always shows. Four lanes, because a multiplication takes as long as four can be begun in.
 */
class Checksum {
 public:
  /*! \brief A multiple of 32 bytes, but for the last piece. */
  void Update(const void* bytes, uint64_t size) {
    const auto* data = static_cast<const char*>(bytes);
    size_ += size;
    for (; size >= sizeof(lanes_); data += sizeof(lanes_), size -= sizeof(lanes_)) Block(data);
    if (size == 0) return;
    char last[sizeof(lanes_)] = {};
    std::memcpy(last, data, size);
    Block(last);
  }
  uint64_t Value() const {
    uint64_t value = size_;
    for (uint64_t lane : lanes_) value = Step(value, lane);
    return value;
  }

 private:
  static uint64_t Step(uint64_t state, uint64_t word) {
    const uint64_t mixed = (state ^ word) * 0x9fb21c651e98df25;
    return mixed << 29 | mixed >> 35;
  }
  void Block(const char* data) {
    std::array<uint64_t, 4> words;
    std::memcpy(words.data(), data, sizeof(words));
    for (size_t i = 0; i < words.size(); ++i) lanes_[i] = Step(lanes_[i], words[i]);
  }
  std::array<uint64_t, 4> lanes_ = {1, 2, 3, 4};
  uint64_t size_ = 0;
};

/*! \brief What is wrong with the bytes of a file; empty: nothing. `whole`: every byte is read. */
std::string Problem(const char* file, uint64_t size, bool whole) {
  Header header;
  if (size < sizeof(header)) return "it is cut short";
  std::memcpy(&header, file, sizeof(header));
  if (header.magic != kMagic) return "it is no engine of this byoc";
  const uint64_t rest = size - sizeof(header);
  if (header.about > rest || header.data > rest || DataAt(header.about) + header.data != size) {
    return "it is cut short";
  }
  if (!whole) return "";
  Checksum sum;
  sum.Update(file + sizeof(header.checksum), size - sizeof(header.checksum));
  return sum.Value() == header.checksum ? "" : "its bytes have changed";
}

/*! \brief A file of the store, mapped; nothing where it cannot be. */
std::optional<ffi::Tensor> MapWhole(const std::string& path, uint64_t* size) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  struct stat status;
  if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  *size = static_cast<uint64_t>(status.st_size);
  if (*size == 0) return std::nullopt;
  try {
    return MapFile(file.get(), 0, status.st_size);
  } catch (const ffi::Error&) {
    return std::nullopt;
  }
}

/*! \brief Write all, or say why not. */
std::string WriteAll(int fd, const void* data, uint64_t size) {
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t wrote = write(fd, bytes, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return wrote < 0 ? std::strerror(errno) : "nothing was written";
    bytes += wrote;
    size -= static_cast<uint64_t>(wrote);
  }
  return "";
}

enum class Lock { kTaken, kHeld, kUnknown };

/*! \brief Take a lock of an open file, not of the process; not known where there are no locks. */
Lock TryLock(int fd, int64_t start, int64_t length) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  int result;
  do {
    result = fcntl(fd, F_OFD_SETLK, &lock);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return Lock::kTaken;
  return errno == EAGAIN || errno == EACCES ? Lock::kHeld : Lock::kUnknown;
}

std::string RandomName() {
  std::random_device source;
  char text[17];
  std::snprintf(text, sizeof(text), "%08x%08x", source(), source());
  return text;
}

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/*! \brief A file that counts, before it is opened. */
struct Entry {
  std::string path;
  bool engine;
  uint64_t bytes;
  double used;
};

std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code problem;
  for (fs::directory_iterator it(folder, problem), end; !problem && it != end;
       it.increment(problem)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/*! \brief Engines and what was set aside, those that were not used for longest first. */
std::vector<Entry> Entries(const std::string& folder) {
  std::vector<Entry> entries;
  for (const std::string& name : Names(folder)) {
    const bool engine = EndsWith(name, kEnding);
    struct stat status;
    const std::string path = folder + "/" + name;
    if ((!engine && !EndsWith(name, kAside)) || lstat(path.c_str(), &status) != 0) continue;
    if (!S_ISREG(status.st_mode)) continue;
    const double used = static_cast<double>(status.st_mtim.tv_sec) +
                        1e-9 * static_cast<double>(status.st_mtim.tv_nsec);
    entries.push_back({path, engine, static_cast<uint64_t>(status.st_size), used});
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.used < b.used; });
  return entries;
}

/*! \brief Whether a file larger than this may be written; a larger one would end the process. */
bool MayWrite(uint64_t size) {
  struct rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
         size <= limit.rlim_cur;
}

}  // namespace

BuildLock::BuildLock(const std::string& folder, const std::string& key)
    : file_(folder.empty() ? -1
                           : open((folder + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)),
      place_(static_cast<int64_t>(std::hash<std::string>()(key) >> 2)) {}

bool BuildLock::Try() { return !file_ || TryLock(file_.get(), place_, 1) != Lock::kHeld; }

EngineStore::EngineStore(std::string folder) : folder_(std::move(folder)) {}

EngineStore EngineStore::OfUser() {
  const std::string folder = CacheFolder("engines");
  // Engines are code: nobody else is to plant any.
  if (!folder.empty()) chmod(folder.c_str(), 0700);
  return EngineStore(folder);
}

std::string EngineStore::Path(const std::string& key) const {
  return folder_ + "/" + key + kEnding;
}

std::optional<ffi::Tensor> EngineStore::Find(const std::string& key) const {
  if (folder_.empty()) return std::nullopt;
  const std::string path = Path(key);
  uint64_t size = 0;
  const std::optional<ffi::Tensor> file = MapWhole(path, &size);
  if (!file) return std::nullopt;
  const auto* bytes = static_cast<const char*>(file->data_ptr());
  if (!Problem(bytes, size, true).empty()) {
    SetAside(key);
    return std::nullopt;
  }
  utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
  Header header;
  std::memcpy(&header, bytes, sizeof(header));
  const auto length = static_cast<int64_t>(header.data);
  return WrapMemory(static_cast<char*>(file->data_ptr()) + DataAt(header.about),
                    ffi::ShapeView(&length, 1), DLDataType{kDLUInt, 8, 1}, *file);
}

std::string EngineStore::Keep(const std::string& key, const std::string& about, const void* data,
                              uint64_t size, uint64_t limit) const {
  if (folder_.empty()) return "no folder for it can be written";
  const uint64_t begin = DataAt(about.size());
  if (size > limit || begin + size > limit) {
    return "it has " + std::to_string(size) + " bytes, and all together may have " +
           std::to_string(limit);
  }
  if (!MayWrite(begin + size)) return "files of this process may not be as large as it";
  Header header{0, kMagic, about.size(), size};
  std::string head(begin, '\0');
  std::memcpy(head.data(), &header, sizeof(header));
  std::memcpy(head.data() + sizeof(header), about.data(), about.size());
  Checksum sum;
  // As it is read: one piece from behind the checksum on. The two pieces here are cut at a multiple
  // of 32 bytes behind that.
  const char* bytes = static_cast<const char*>(data);
  const uint64_t offset = sizeof(header.checksum);
  const uint64_t borrowed = std::min<uint64_t>(size, offset);
  std::string first = head.substr(offset);
  first.append(bytes, borrowed);
  sum.Update(first.data(), first.size());
  if (size > borrowed) sum.Update(bytes + borrowed, size - borrowed);
  header.checksum = sum.Value();
  std::memcpy(head.data(), &header, sizeof(header));

  const std::string part = folder_ + "/." + key + "." + RandomName() + kPart;
  const Fd file(open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return std::strerror(errno);
  TryLock(file.get(), 0, 0);  // as long as we live: see Prune
  std::string problem = WriteAll(file.get(), head.data(), head.size());
  if (problem.empty()) problem = WriteAll(file.get(), data, size);
  if (problem.empty() && rename(part.c_str(), Path(key).c_str()) != 0) {
    problem = std::strerror(errno);
  }
  if (!problem.empty()) {
    unlink(part.c_str());
    return problem;
  }
  Prune(limit);
  return "";
}

void EngineStore::SetAside(const std::string& key) const {
  const std::string path = Path(key);
  const std::string aside = folder_ + "/" + key + "." + RandomName() + kAside;
  if (rename(path.c_str(), aside.c_str()) != 0) unlink(path.c_str());
}

std::vector<StoredEngine> EngineStore::List(bool whole) const {
  std::vector<StoredEngine> found;
  if (folder_.empty()) return found;
  for (const Entry& entry : Entries(folder_)) {
    StoredEngine engine{fs::path(entry.path).stem().string(), "", entry.bytes, entry.used, ""};
    if (!entry.engine) {
      engine.problem = "set aside";
      found.push_back(std::move(engine));
      continue;
    }
    uint64_t size = 0;
    const std::optional<ffi::Tensor> file = MapWhole(entry.path, &size);
    const char* bytes = file ? static_cast<const char*>(file->data_ptr()) : "";
    engine.problem = file ? Problem(bytes, size, whole) : "it cannot be read";
    if (engine.problem.empty()) {
      Header header;
      std::memcpy(&header, bytes, sizeof(header));
      engine.about.assign(bytes + sizeof(header), header.about);
    } else if (whole) {
      SetAside(engine.key);
    }
    found.push_back(std::move(engine));
  }
  return found;
}

bool EngineStore::Remove(const std::string& key) const {
  if (folder_.empty() || key.find('/') != std::string::npos) return false;
  return unlink(Path(key).c_str()) == 0 || unlink((folder_ + "/" + key + kAside).c_str()) == 0;
}

int64_t EngineStore::Prune(uint64_t limit) const {
  if (folder_.empty()) return 0;
  for (const std::string& name : Names(folder_)) {
    if (!EndsWith(name, kPart)) continue;
    const std::string path = folder_ + "/" + name;
    const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    if (file && TryLock(file.get(), 0, 0) == Lock::kTaken) unlink(path.c_str());
  }
  const std::vector<Entry> entries = Entries(folder_);
  uint64_t total = 0;
  for (const Entry& entry : entries) total += entry.bytes;
  int64_t removed = 0;
  for (const Entry& entry : entries) {
    if (total <= limit) break;
    if (unlink(entry.path.c_str()) != 0) continue;
    total -= entry.bytes;
    removed += entry.engine ? 1 : 0;
  }
  return removed;
}

}  // namespace byoc
