/// \file
/// Scratch memory that TVM's kernels ask for while they run.
#ifndef BYOC_RUNTIME_WORKSPACE_H_
#define BYOC_RUNTIME_WORKSPACE_H_

#include <cstdint>

namespace byoc {

/// Blocks of scratch memory that are kept between calls. One thread at a time.
class Workspace;

/// Returns a new, empty workspace. It is never freed: processors live as long as the process.
Workspace* NewWorkspace();

/// Lets the calling thread use `workspace` (null: one of its own, freed when it ends) and returns
/// what it used before.
Workspace* UseWorkspace(Workspace* workspace);

/// Returns 64-byte aligned scratch of `nbytes` bytes, or null. Signature of
/// TVMBackendAllocWorkspace.
void* AllocWorkspace(int device_type, int device_id, uint64_t nbytes, int dtype_code_hint,
                     int dtype_bits_hint);

/// Gives back what `AllocWorkspace` returned. Signature of TVMBackendFreeWorkspace.
int FreeWorkspace(int device_type, int device_id, void* pointer);

}  // namespace byoc

#endif  // BYOC_RUNTIME_WORKSPACE_H_
