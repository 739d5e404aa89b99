/*!
 * \file kernel_segment.h
 * \brief Segments of vendors that give kernels, where they run apart from their model's plan.
 */
#ifndef BYOC_RUNTIME_KERNEL_SEGMENT_H_
#define BYOC_RUNTIME_KERNEL_SEGMENT_H_

#include <tvm/ffi/function.h>

namespace byoc {

/*!
 * \brief The `init` of segments of a vendor with a `HostRuntime` (byoc/vendor.py).
 *
 * Most of them have no blob: their kernels are tasks of the model's plan. One that must be able to
 * fail alone has a plan and a library of its own:
 *
 *     8 bytes: length, little endian │ the plan, JSON │ a shared object with the kernels
 */
tvm::ffi::Function KernelsInit();

}  // namespace byoc

#endif  // BYOC_RUNTIME_KERNEL_SEGMENT_H_
