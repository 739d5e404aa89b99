/*
 * Kernels free in the reverse order of allocation and ask for the same sizes on every call, so a
 * thread keeps its last few blocks, best fit first:
 *
 *   [ header: size | 64 bytes ][ what the kernel sees ............ ]
 */
#include "workspace.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <vector>

namespace byoc {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kMaxKept = 16;             // blocks per thread
constexpr size_t kMaxKeptBytes = 64 << 20;  // per thread

struct Block {
  size_t size;  // of what the kernel sees
};

struct Cache {
  std::vector<Block*> blocks;
  size_t bytes = 0;

  ~Cache() {
    for (Block* block : blocks) std::free(block);
  }

  Block* Take(size_t size) {
    auto best = blocks.end();
    for (auto it = blocks.begin(); it != blocks.end(); ++it) {
      const size_t has = (*it)->size;
      if (has >= size && has / 2 <= size && (best == blocks.end() || has < (*best)->size)) {
        best = it;
      }
    }
    if (best == blocks.end()) return nullptr;
    Block* block = *best;
    blocks.erase(best);
    bytes -= block->size;
    return block;
  }

  void Keep(Block* block) {
    if (block->size > kMaxKeptBytes) {
      std::free(block);
      return;
    }
    blocks.push_back(block);
    bytes += block->size;
    while (blocks.size() > kMaxKept || bytes > kMaxKeptBytes) {
      bytes -= blocks.front()->size;
      std::free(blocks.front());
      blocks.erase(blocks.begin());
    }
  }
};

Cache& ThisThread() {
  static thread_local Cache cache;
  return cache;
}

}  // namespace

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
