#include "program.h"

#include <dnnl.h>

#include "error.h"

namespace byoc::onednn {

const char* ToString(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kInt32:
      return "int32";
    case DType::kInt64:
      return "int64";
    case DType::kUInt8:
      return "uint8";
    case DType::kInt8:
      return "int8";
    case DType::kBool:
      return "bool";
    case DType::kBFloat16:
      return "bfloat16";
  }
  return "?";
}

bool HasBFloat16() {
  // Instruction sets are sums of the bits of what they include.
  static const bool has = (static_cast<unsigned>(dnnl_get_effective_cpu_isa()) &
                           dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
  return has;
}

int64_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kInt64:
      return 8;
    case DType::kBFloat16:
      return 2;
    default:
      return 1;
  }
}

const Attrs::Value& Attrs::Find(std::string_view name) const {
  auto it = values_.find(name);
  if (it == values_.end()) Fail("attribute '", name, "' is missing");
  return it->second;
}

bool Attrs::Bool(std::string_view name) const {
  const Value& value = Find(name);
  if (auto* flag = std::get_if<bool>(&value)) return *flag;
  Fail("attribute '", name, "' must be true or false");
}

int64_t Attrs::Int(std::string_view name) const {
  const Value& value = Find(name);
  if (auto* number = std::get_if<int64_t>(&value)) return *number;
  Fail("attribute '", name, "' must be an integer");
}

float Attrs::Float(std::string_view name) const {
  const Value& value = Find(name);
  if (auto* number = std::get_if<double>(&value)) return static_cast<float>(*number);
  if (auto* number = std::get_if<int64_t>(&value)) return static_cast<float>(*number);
  Fail("attribute '", name, "' must be a number");
}

const std::string& Attrs::String(std::string_view name) const {
  const Value& value = Find(name);
  if (auto* text = std::get_if<std::string>(&value)) return *text;
  Fail("attribute '", name, "' must be a string");
}

Dims Attrs::Ints(std::string_view name, const Bindings& bindings) const {
  const Value& value = Find(name);
  if (auto* list = std::get_if<std::vector<DimExpr>>(&value)) return Evaluate(*list, bindings);
  Fail("attribute '", name, "' must be a list of integers");
}

}  // namespace byoc::onednn
