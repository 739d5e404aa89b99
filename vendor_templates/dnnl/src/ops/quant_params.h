/// \file quant_params.h
/// \brief How 8-bit integers stand for reals: real = (integer - zero) * scale.
#ifndef BYOC_DNNL_OPS_QUANT_PARAMS_H_
#define BYOC_DNNL_OPS_QUANT_PARAMS_H_

#include <string>
#include <vector>

#include "../builder.h"

namespace byoc::onednn {

/// Scale and zero point of quantised values.
struct QuantParams {
  float scale = 1;  ///< the real between two neighbouring integers; positive
  int zero = 0;     ///< the integer that stands for 0
};

/// The quant params in two attributes of an op. Throws where they are missing or out of range.
QuantParams ReadQuantParams(const Op& op, const std::string& scale, const std::string& zero);

/// True for int8 and uint8.
bool IsByte(DType dtype);

/// Throw unless every value is int8 or uint8.
void ExpectBytes(const Builder& b, const std::vector<int>& values);

/// The layout of `desc`, dense even where that is a window, for another dtype; row-major where it
/// is blocked.
Desc DenseAs(const Desc& desc, DType dtype);

/// A constant of one element, as oneDNN wants scales and zero points.
template <typename T>
Tensor SingleConstant(Builder& b, DType dtype, T number) {
  void* data = nullptr;
  Tensor tensor = b.buffers.NewConstant(PlainDesc({1}, dtype), dtype, &data);
  *static_cast<T*>(data) = number;
  return tensor;
}

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_OPS_QUANT_PARAMS_H_
