/// \file
/// Files mapped for reading, and giving their pages back.
///
/// Weights are mapped, read once by a vendor that packs them, and seldom needed again. Dropping the
/// pages right after packing keeps a process near one copy of its weights.
#ifndef BYOC_RUNTIME_MAPPING_H_
#define BYOC_RUNTIME_MAPPING_H_

#include <tvm/ffi/container/tensor.h>

#include <cstdint>

namespace byoc {

/// Maps `size` bytes at `offset` (a multiple of the page size) of an open file, read-only, as a
/// uint8 tensor that unmaps them when it goes. Throws byoc.ArtifactError.
tvm::ffi::Tensor MapFile(int64_t fd, int64_t offset, int64_t size);

/// Drops the pages of [address, address + size) if they belong to a mapped file; they are read
/// again when touched. Does nothing for any other memory.
void DropPages(int64_t address, int64_t size);

/// Whether an address lies in a mapped file.
bool IsMapped(int64_t address);

}  // namespace byoc

#endif  // BYOC_RUNTIME_MAPPING_H_
