#include "quant_params.h"

#include <limits>

#include "checks.h"

namespace byoc::onednn {

QuantParams ReadQuantParams(const Op& op, const std::string& scale, const std::string& zero) {
  QuantParams params{op.attrs.Float(scale), static_cast<int>(op.attrs.Int(zero))};
  Expect(params.scale > 0 && params.scale <= std::numeric_limits<float>::max(), scale, " is ",
         params.scale, ", expected a positive number");
  Expect(params.zero >= -128 && params.zero <= 255, zero, " is ", params.zero,
         ", expected -128 to 255");
  return params;
}

bool IsByte(DType dtype) { return dtype == DType::kInt8 || dtype == DType::kUInt8; }

void ExpectBytes(const Builder& b, const std::vector<int>& values) {
  for (int value : values) {
    Expect(IsByte(b.values.Type(value)), "operand is ", ToString(b.values.Type(value)),
           ", expected int8 or uint8");
  }
}

Desc DenseAs(const Desc& desc, DType dtype) {
  std::optional<Desc> dense = WithShape(desc, desc.get_dims());
  if (!dense || !IsStrided(*dense)) return PlainDesc(desc.get_dims(), dtype);
  return Desc(desc.get_dims(), StorageType(dtype), dense->get_strides());
}

}  // namespace byoc::onednn
