/*! \brief Scratch memory that TVM's kernels ask for while they run. */
#ifndef BYOC_RUNTIME_WORKSPACE_H_
#define BYOC_RUNTIME_WORKSPACE_H_

#include <cstdint>

namespace byoc {

/*! \brief Blocks kept between calls. One thread at a time. */
class Workspace;

/*! \brief An empty one. */
Workspace* NewWorkspace();

/*!
 * \brief Let the calling thread use `workspace` (null: one of its own, freed when it ends) and
 * return what it used before.
 */
Workspace* UseWorkspace(Workspace* workspace);

/*! \brief 64-byte aligned scratch, or null. Signature of TVMBackendAllocWorkspace. */
void* AllocWorkspace(int device_type, int device_id, uint64_t nbytes, int dtype_code_hint,
                     int dtype_bits_hint);

/*! \brief Give back what `AllocWorkspace` returned. Signature of TVMBackendFreeWorkspace. */
int FreeWorkspace(int device_type, int device_id, void* pointer);

}  // namespace byoc

#endif  // BYOC_RUNTIME_WORKSPACE_H_
