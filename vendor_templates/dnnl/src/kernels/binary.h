/// \file binary.h
/// \brief Element-wise kernels over several broadcast operands: binary, where, cast.
#ifndef BYOC_DNNL_KERNELS_BINARY_H_
#define BYOC_DNNL_KERNELS_BINARY_H_

#include "../instance.h"
#include "../ops/algorithms.h"
#include "loops.h"

namespace byoc::onednn {

/// Operand 2 = operand 0 alg operand 1.
///
/// \param nest The loops over both operands and the result; strides of 0 broadcast.
/// \param in Dtype of both operands.
/// \param out Dtype of the result: that of the operands, or bool or float32 for comparisons.
Kernel BinaryKernel(BinaryAlg alg, const LoopNest<3>& nest, DType in, DType out);

/// Operand 3 = operand 0 ? operand 1 : operand 2; the condition is a bool.
///
/// \param size Bytes of an element of the other three.
Kernel WhereKernel(const LoopNest<4>& nest, int64_t size);

/// Operand 1 = operand 0, converted as numpy's astype does.
Kernel CastKernel(const LoopNest<2>& nest, DType in, DType out);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_KERNELS_BINARY_H_
