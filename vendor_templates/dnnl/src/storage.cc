// Packed constants are found again by the address of their source and both layouts. Those of the
// artifact are shared by all models of the process: artifacts are mapped, so two models loaded from
// one file read weights at the same address. The table holds them weakly; the instances own them.
#include "storage.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "error.h"

namespace byoc::onednn {

std::shared_ptr<void> Allocate(size_t bytes) {
  constexpr size_t kLine = 64, kHugePage = size_t{2} << 20;
  size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kLine;
  bytes = (std::max(bytes, kLine) + kLine - 1) / kLine * kLine;
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, bytes) != 0) {
    Fail("out of memory: ", bytes, " bytes wanted");
  }
#ifdef __linux__
  if (alignment == kHugePage) {  // whole ones only: the rest of the last would be there, unused
    madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);  // advice only
  }
#endif
  return std::shared_ptr<void>(memory, std::free);
}

const dnnl::engine& Engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

bool ConstantStore::IsConstant(const void* data) const {
  return std::any_of(constants_.begin(), constants_.end(),
                     [data](const Constant& c) { return c.data == data; });
}

std::shared_ptr<const void> ConstantStore::Pack(const void* data, const Desc& from,
                                                const Desc& to) {
  static Table* shared = new Table;  // never torn down: models may outlive static destruction
  Table& table = IsConstant(data) ? *shared : own_;
  std::lock_guard<std::mutex> lock(table.mutex);
  const auto drop_dead = [](std::vector<Packed>* known) {
    known->erase(std::remove_if(known->begin(), known->end(),
                                [](const Packed& p) { return p.memory.expired(); }),
                 known->end());
  };
  if (table.packed.size() > 2 * table.swept + 64) {
    for (auto it = table.packed.begin(); it != table.packed.end();) {
      drop_dead(&it->second);
      it = it->second.empty() ? table.packed.erase(it) : std::next(it);
    }
    table.swept = table.packed.size();
  }
  std::vector<Packed>& known = table.packed[data];
  drop_dead(&known);
  for (const Packed& packed : known) {
    if (packed.from != from || packed.to != to) continue;
    if (std::shared_ptr<const void> memory = packed.memory.lock()) return memory;
  }
  std::shared_ptr<void> memory = Allocate(to.get_size());
  dnnl::memory source(from, Engine(), const_cast<void*>(data));
  dnnl::memory target(to, Engine(), memory.get());
  dnnl::stream stream(Engine());
  dnnl::reorder(source, target).execute(stream, source, target);
  stream.wait();
  if (release_ != nullptr) release_(data, from.get_size());
  known.push_back({from, to, memory});
  return memory;
}

}  // namespace byoc::onednn
