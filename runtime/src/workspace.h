/*! \brief Scratch memory that TVM's kernels ask for while they run. */
#ifndef BYOC_RUNTIME_WORKSPACE_H_
#define BYOC_RUNTIME_WORKSPACE_H_

#include <cstdint>

namespace byoc {

/*! \brief 64-byte aligned scratch, or null. Signature of TVMBackendAllocWorkspace. */
void* AllocWorkspace(int device_type, int device_id, uint64_t nbytes, int dtype_code_hint,
                     int dtype_bits_hint);

/*! \brief Give back what `AllocWorkspace` returned. Signature of TVMBackendFreeWorkspace. */
int FreeWorkspace(int device_type, int device_id, void* pointer);

}  // namespace byoc

#endif  // BYOC_RUNTIME_WORKSPACE_H_
