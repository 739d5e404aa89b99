/*!
 * \file weights.h
 * \brief The arrays of an artifact as views of its mapped weights.
 *
 * \code
 *   weights.bin   │ a ......│ b ...│ c .............│     every array at a multiple of 64 bytes
 *                   ▲ ▲                ▲
 *   table          (0) (1, same bytes) (2)               (dtype, shape, offset) by number
 * \endcode
 */
#ifndef BYOC_RUNTIME_WEIGHTS_H_
#define BYOC_RUNTIME_WEIGHTS_H_

#include <tvm/ffi/container/tensor.h>

#include "artifact/manifest.h"

namespace byoc {

/*!
 * \brief One array of the table, without a copy.
 * \param weights The bytes of `kWeightsMember`: uint8, one dimension, dense. The view keeps them.
 * \param entry Which of them, and what they are; it may be hostile.
 * \return A dense tensor, 64-byte aligned as `weights` is.
 * \throws byoc.ArtifactError when the entry makes no sense or reaches beyond the weights.
 */
tvm::ffi::Tensor ViewArray(const tvm::ffi::Tensor& weights, const ManifestArray& entry);

}  // namespace byoc

#endif  // BYOC_RUNTIME_WEIGHTS_H_
