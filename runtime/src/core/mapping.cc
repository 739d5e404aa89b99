#include "core/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "core/errors.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

struct Region {
  uintptr_t end;
  std::shared_ptr<FileWatch> watch;  // null: nobody watches
  // Of the bytes from `named` on: what they are called; empty: not known.
  std::string name;
  uintptr_t named = 0;
  size_t named_size = 0;
};

/// Begin → region of every live mapping. Dropping pages of anonymous memory would erase it, so an
/// address is looked up here, and a mapping leaves the table before its addresses are free.
struct Table {
  std::mutex mutex;
  std::map<uintptr_t, Region> regions;

  /// The region of an address, or null; the mutex is held.
  Region* Find(uintptr_t address) {
    const auto region = regions.upper_bound(address);
    if (region == regions.begin() || address >= std::prev(region)->second.end) return nullptr;
    return &std::prev(region)->second;
  }
};

Table& Mappings() {
  static auto* table = new Table;  // tensors may outlive static destruction
  return *table;
}

struct Mapping {
  void* data;
  size_t size;
  void AllocData(DLTensor* t) { t->data = data; }
  void FreeData(DLTensor*) {
    Table& table = Mappings();
    std::shared_ptr<FileWatch> last;  // goes after the lock
    std::lock_guard<std::mutex> lock(table.mutex);
    const auto region = table.regions.find(reinterpret_cast<uintptr_t>(data));
    last = std::move(region->second.watch);
    table.regions.erase(region);
    munmap(data, size);
  }
};

}  // namespace

struct FileWatch::State {
  int fd;
  std::mutex mutex;
  Stamp stamp;
  std::function<bool()> verify;
  bool changed = false;
};

FileWatch::Stamp FileWatch::StampOf(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0) return {-1, 0, 0};
  return {static_cast<int64_t>(status.st_size), static_cast<int64_t>(status.st_mtim.tv_sec),
          static_cast<int64_t>(status.st_mtim.tv_nsec)};
}

FileWatch::FileWatch(int fd, Stamp stamp, std::function<bool()> verify)
    : state_(new State{fcntl(fd, F_DUPFD_CLOEXEC, 0), {}, stamp, std::move(verify)}) {}

FileWatch::~FileWatch() {
  if (state_->fd >= 0) close(state_->fd);
}

bool FileWatch::Same() {
  const Stamp found = StampOf(state_->fd);
  std::lock_guard<std::mutex> lock(state_->mutex);
  if (state_->changed) return false;
  if (found == state_->stamp) return true;
  if (found.size == state_->stamp.size && state_->verify()) {  // touched, or written with the same
    state_->stamp = found;
    return true;
  }
  state_->changed = true;
  return false;
}

void FileWatch::Check() {
  if (Same()) return;
  ThrowExecutionError(
      "the model's file was written to while it is in use, so that its weights are no longer those "
      "that were verified; load the model again, and replace model files by renaming a new one "
      "over the old (mv, or byoc's save), never in place (cp)");
}

ffi::Tensor MapFile(int64_t fd, int64_t offset, int64_t size) {
  return MapFile(fd, offset, size, nullptr);
}

ffi::Tensor MapFile(int64_t fd, int64_t offset, int64_t size, std::shared_ptr<FileWatch> watch) {
  Table& table = Mappings();
  std::lock_guard<std::mutex> lock(table.mutex);
  void* data = mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_SHARED, static_cast<int>(fd),
                    static_cast<off_t>(offset));
  if (data == MAP_FAILED) {
    ThrowArtifactError("cannot map " + std::to_string(size) + " bytes: " + std::strerror(errno));
  }
  const auto begin = reinterpret_cast<uintptr_t>(data);
  table.regions[begin] = {begin + static_cast<uintptr_t>(size), std::move(watch), ""};
  return ffi::Tensor::FromNDAlloc(Mapping{data, static_cast<size_t>(size)}, ffi::Shape({size}),
                                  DLDataType{kDLUInt, 8, 1}, DLDevice{kDLCPU, 0});
}

void NoteContent(const void* data, size_t size, std::string name) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  Table& table = Mappings();
  std::lock_guard<std::mutex> lock(table.mutex);
  Region* region = table.Find(address);
  if (region == nullptr) return;
  region->name = std::move(name);
  region->named = address;
  region->named_size = size;
}

std::string KnownContent(const void* data, size_t size) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  Table& table = Mappings();
  std::lock_guard<std::mutex> lock(table.mutex);
  const Region* region = table.Find(address);
  const bool known = region != nullptr && region->named == address && region->named_size == size;
  return known ? region->name : "";
}

void DropPages(int64_t address, int64_t size) {
  if (size <= 0) return;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = static_cast<uintptr_t>(address);
  const uintptr_t end = begin + static_cast<uintptr_t>(size);
  Table& table = Mappings();
  std::lock_guard<std::mutex> lock(table.mutex);
  const Region* region = table.Find(begin);
  if (region == nullptr || end > region->end) return;
  // Rounded outwards: a neighbour's page is read again, small arrays would otherwise stay for ever.
  const uintptr_t first = begin / page * page;
  const uintptr_t last =
      std::min((end + page - 1) / page * page, (region->end + page - 1) / page * page);
  madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

bool IsMapped(int64_t address) {
  Table& table = Mappings();
  std::lock_guard<std::mutex> lock(table.mutex);
  return table.Find(static_cast<uintptr_t>(address)) != nullptr;
}

std::vector<std::shared_ptr<FileWatch>> WatchesOf(const std::vector<const void*>& arrays) {
  std::vector<std::shared_ptr<FileWatch>> watches;
  Table& table = Mappings();
  std::lock_guard<std::mutex> lock(table.mutex);
  for (const void* array : arrays) {
    const Region* region = table.Find(reinterpret_cast<uintptr_t>(array));
    if (region == nullptr || region->watch == nullptr) continue;
    if (std::find(watches.begin(), watches.end(), region->watch) == watches.end()) {
      watches.push_back(region->watch);
    }
  }
  return watches;
}

}  // namespace byoc
