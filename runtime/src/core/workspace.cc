/*
 * Kernels free in the reverse order of allocation and ask for the same sizes on every call, so the
 * last few blocks are kept, best fit first:
 *
 *   [ header: size | 64 bytes ][ what the kernel sees ............ ]
 */
#include "core/workspace.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <utility>
#include <vector>

#include "core/buffer.h"

namespace byoc {
namespace {

constexpr size_t kMaxKept = 16;             // blocks of a workspace
constexpr size_t kMaxKeptBytes = 64 << 20;  // of a workspace

struct Block {
  size_t size;  // of what the kernel sees
};

}  // namespace

class Workspace {
 public:
  ~Workspace() {
    for (Block* block : blocks_) std::free(block);
  }

  Block* Take(size_t size) {
    auto best = blocks_.end();
    for (auto it = blocks_.begin(); it != blocks_.end(); ++it) {
      const size_t has = (*it)->size;
      if (has >= size && has / 2 <= size && (best == blocks_.end() || has < (*best)->size)) {
        best = it;
      }
    }
    if (best == blocks_.end()) return nullptr;
    Block* block = *best;
    blocks_.erase(best);
    bytes_ -= block->size;
    return block;
  }

  void Keep(Block* block) {
    if (block->size > kMaxKeptBytes) {
      std::free(block);
      return;
    }
    blocks_.push_back(block);
    bytes_ += block->size;
    while (blocks_.size() > kMaxKept || bytes_ > kMaxKeptBytes) {
      bytes_ -= blocks_.front()->size;
      std::free(blocks_.front());
      blocks_.erase(blocks_.begin());
    }
  }

 private:
  std::vector<Block*> blocks_;
  size_t bytes_ = 0;
};

namespace {

thread_local Workspace* used = nullptr;

Workspace& ThisThread() {
  if (used != nullptr) return *used;
  static thread_local Workspace own;
  return own;
}

}  // namespace

Workspace* NewWorkspace() { return new Workspace; }

Workspace* UseWorkspace(Workspace* workspace) { return std::exchange(used, workspace); }

void* AllocWorkspace(int, int, uint64_t nbytes, int, int) {
  const size_t size = std::max<size_t>((nbytes + kAlignment - 1) / kAlignment, 1) * kAlignment;
  if (size < nbytes) return nullptr;
  Block* block = ThisThread().Take(size);
  if (block == nullptr) {
    block = static_cast<Block*>(std::aligned_alloc(kAlignment, kAlignment + size));
    if (block == nullptr) return nullptr;
    block->size = size;
  }
  return reinterpret_cast<char*>(block) + kAlignment;
}

int FreeWorkspace(int, int, void* pointer) {
  if (pointer != nullptr) {
    ThisThread().Keep(reinterpret_cast<Block*>(static_cast<char*>(pointer) - kAlignment));
  }
  return 0;
}

}  // namespace byoc
