#include "core/mapping.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <string>

#include "core/errors.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

/// Begin → end of every live mapping. Dropping pages of anonymous memory would erase it, so an
/// address is looked up here, and a mapping leaves the table before its addresses are free.
struct Table {
  std::mutex mutex;
  std::map<uintptr_t, uintptr_t> regions;
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
    std::lock_guard<std::mutex> lock(table.mutex);
    table.regions.erase(reinterpret_cast<uintptr_t>(data));
    munmap(data, size);
  }
};

}  // namespace

ffi::Tensor MapFile(int64_t fd, int64_t offset, int64_t size) {
  Table& table = Mappings();
  std::lock_guard<std::mutex> lock(table.mutex);
  void* data = mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_SHARED, static_cast<int>(fd),
                    static_cast<off_t>(offset));
  if (data == MAP_FAILED) {
    ThrowArtifactError("cannot map " + std::to_string(size) + " bytes: " + std::strerror(errno));
  }
  const auto begin = reinterpret_cast<uintptr_t>(data);
  table.regions[begin] = begin + static_cast<uintptr_t>(size);
  return ffi::Tensor::FromNDAlloc(Mapping{data, static_cast<size_t>(size)}, ffi::Shape({size}),
                                  DLDataType{kDLUInt, 8, 1}, DLDevice{kDLCPU, 0});
}

void DropPages(int64_t address, int64_t size) {
  if (size <= 0) return;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = static_cast<uintptr_t>(address);
  const uintptr_t end = begin + static_cast<uintptr_t>(size);
  Table& table = Mappings();
  std::lock_guard<std::mutex> lock(table.mutex);
  auto region = table.regions.upper_bound(begin);
  if (region == table.regions.begin()) return;
  region = std::prev(region);
  if (end > region->second) return;
  // Rounded outwards: a neighbour's page is read again, small arrays would otherwise stay for ever.
  const uintptr_t first = begin / page * page;
  const uintptr_t last =
      std::min((end + page - 1) / page * page, (region->second + page - 1) / page * page);
  madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

bool IsMapped(int64_t address) {
  const auto at = static_cast<uintptr_t>(address);
  Table& table = Mappings();
  std::lock_guard<std::mutex> lock(table.mutex);
  const auto region = table.regions.upper_bound(at);
  return region != table.regions.begin() && at < std::prev(region)->second;
}

}  // namespace byoc
