#include "checks.h"

namespace byoc::onednn {

void ExpectFloat(const Builder& b, const std::vector<int>& values) {
  for (int value : values) {
    Expect(b.values.Type(value) == DType::kFloat32, "value ", value, " is ",
           ToString(b.values.Type(value)), ", this op takes float32");
  }
}

void ExpectReal(const Builder& b, const std::vector<int>& values) {
  for (int value : values) {
    Expect(IsFloat(b.values.Type(value)), "value ", value, " is ", ToString(b.values.Type(value)),
           ", this op takes float32 or bfloat16");
  }
}

DType ProductType(const Builder& b, const Op& op) {
  ExpectReal(b, op.inputs);
  ExpectReal(b, op.outputs);
  bool narrow = HasBFloat16() && op.attrs.Has("bf16") && op.attrs.Bool("bf16");
  return narrow ? DType::kBFloat16 : DType::kFloat32;
}

Dims BroadcastShape(const Dims& a, const Dims& b) {
  Dims shape(std::max(a.size(), b.size()), 1);
  for (size_t i = 1; i <= shape.size(); ++i) {
    int64_t left = i <= a.size() ? a[a.size() - i] : 1;
    int64_t right = i <= b.size() ? b[b.size() - i] : 1;
    Expect(left == right || left == 1 || right == 1, "shapes ", ToString(a), " and ", ToString(b),
           " do not broadcast");
    shape[shape.size() - i] = left == 1 ? right : left;
  }
  return shape;
}

}  // namespace byoc::onednn
