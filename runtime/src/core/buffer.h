/// \file
/// Aligned memory: arenas, scratch, outputs.
#ifndef BYOC_RUNTIME_BUFFER_H_
#define BYOC_RUNTIME_BUFFER_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace byoc {

/// Alignment of tensors in bytes. TVM's compiled kernels assume this alignment of every tensor,
/// unchecked.
inline constexpr size_t kAlignment = 64;

/// Whether an address is a multiple of `alignment` bytes.
inline bool IsAligned(const void* pointer, size_t alignment) {
  return reinterpret_cast<uintptr_t>(pointer) % alignment == 0;
}

/// Allocates at least `size` bytes, aligned to `kAlignment`, never null.
///
/// The caller owns them and releases them with `free`. Throws std::bad_alloc.
inline void* AllocateAligned(size_t size) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const bool huge = size >= 2 * kHugePage;  // few TLB entries then cover a whole arena
  const size_t alignment = huge ? kHugePage : kAlignment;
  if (size > SIZE_MAX - alignment) throw std::bad_alloc();
  const size_t rounded = size == 0 ? alignment : (size + kAlignment - 1) / kAlignment * kAlignment;
  void* data = nullptr;
  if (posix_memalign(&data, alignment, rounded) != 0) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (huge) madvise(data, rounded / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return data;
}

/// Aligned memory that is freed with its owner; uninitialised. Not thread safe.
class Buffer {
 public:
  Buffer() = default;
  /// Allocates `size` bytes. Throws std::bad_alloc.
  explicit Buffer(size_t size) : data_(AllocateAligned(size)) {}
  /// The first byte; null for a buffer made without a size.
  char* data() const { return static_cast<char*>(data_.get()); }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> data_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_BUFFER_H_
