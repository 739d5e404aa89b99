/*! \brief Help for tests of the oneDNN program runtime: programs as text, tensors as vectors. */
#ifndef BYOC_TESTS_VENDORS_DNNL_NATIVE_PROGRAMS_H_
#define BYOC_TESTS_VENDORS_DNNL_NATIVE_PROGRAMS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "error.h"
#include "model.h"

namespace byoc::onednn {

using Floats = std::vector<float>;

/*! \brief A float tensor of a caller. */
struct Array {
  Dims shape;
  Floats data;

  explicit Array(Dims s) : shape(std::move(s)), data(Volume(shape)) {}
  Array(Dims s, uint32_t seed) : Array(std::move(s)) {
    for (float& value : data) {
      seed = seed * 1664525u + 1013904223u;
      value = static_cast<float>(seed >> 8) / 8388608.f - 1.f;
    }
  }
  TensorRef Ref() {
    return {data.data(), shape.data(), static_cast<int>(shape.size()), DType::kFloat32};
  }
  Constant AsConstant() const { return {data.data(), shape, DType::kFloat32}; }
};

/*! \brief `{"shape": [..], "dtype": "float32"}` for each shape given as text. */
inline std::string Values(const std::vector<std::string>& shapes) {
  std::string text;
  for (const std::string& shape : shapes) {
    text += (text.empty() ? "" : ", ") + ("{\"shape\": " + shape + ", \"dtype\": \"float32\"}");
  }
  return "[" + text + "]";
}

/*! \brief A whole program from its parts. */
inline std::string Text(const std::vector<std::string>& shapes, const std::string& inputs,
                        const std::string& outputs, const std::string& constants,
                        const std::string& ops) {
  return "{\"version\": 1, \"values\": " + Values(shapes) + ", \"inputs\": " + inputs +
         ", \"outputs\": " + outputs + ", \"constants\": " + constants + ", \"ops\": [" + ops +
         "]}";
}

inline std::unique_ptr<Model> Load(const std::string& blob, std::vector<Constant> constants = {},
                                   int threads = 2) {
  int count = static_cast<int>(constants.size());
  return std::make_unique<Model>(ReadProgram(blob, count), std::move(constants), threads);
}

/*! \brief `body` must throw a ProgramError that contains `part`. */
template <typename F>
void Refuses(const std::string& part, const F& body) {
  try {
    body();
  } catch (const ProgramError& error) {
    std::string text = error.what();
    if (text.find(part) == std::string::npos) {
      throw check::Failure("expected \"" + part + "\" in \"" + text + "\"");
    }
    return;
  }
  throw check::Failure("no error, expected: " + part);
}

}  // namespace byoc::onednn

#endif  // BYOC_TESTS_VENDORS_DNNL_NATIVE_PROGRAMS_H_
