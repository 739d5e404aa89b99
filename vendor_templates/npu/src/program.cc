#include "program.h"

#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/string.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace byoc::npu {
namespace {

namespace ffi = tvm::ffi;
namespace json = tvm::ffi::json;

constexpr std::string_view kMagic = "BYOCNPU1";
constexpr size_t kPrologue = 16;
constexpr int64_t kMaxBytes = int64_t{1} << 32;  // device addresses are 32 bits
constexpr int64_t kMaxElements = int64_t{1} << 31;
constexpr size_t kMaxRank = 8;

[[noreturn]] void Fail(const std::string& what) {
  throw std::runtime_error("npu program: " + what);
}

/*! \brief The JSON parser recurses: brackets alone must not reach the end of the stack. */
void CheckNesting(std::string_view text) {
  constexpr int kMaxNesting = 16;
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') quoted = !quoted;
    if (quoted && c == '\\') ++i;
    if (quoted) continue;
    if (c == ']' || c == '}') --depth;
    if ((c == '[' || c == '{') && ++depth > kMaxNesting) Fail("the header is nested too deeply");
  }
}

json::Object ParseObject(std::string_view text) {
  CheckNesting(text);
  ffi::String error;
  json::Value value = json::Parse(ffi::String(text.data(), text.size()), &error);
  if (error.size() != 0) Fail("the header is no JSON: " + std::string(error));
  auto object = value.as<json::Object>();
  if (!object) Fail("the header is no JSON object");
  return *object;
}

json::Value Get(const json::Object& object, const char* key) {
  auto it = object.find(ffi::String(key));
  if (it == object.end()) Fail(std::string("field '") + key + "' is missing");
  return (*it).second;
}

int64_t Int(const json::Object& object, const char* key, int64_t low, int64_t high) {
  auto value = Get(object, key).as<int64_t>();
  if (!value) Fail(std::string("field '") + key + "' is no integer");
  if (*value < low || *value > high) {
    Fail(std::string("field '") + key + "' is " + std::to_string(*value) +
         ", legal: " + std::to_string(low) + ".." + std::to_string(high));
  }
  return *value;
}

std::string Text(const json::Object& object, const char* key) {
  auto value = Get(object, key).as<ffi::String>();
  if (!value) Fail(std::string("field '") + key + "' is no string");
  return std::string(value->data(), value->size());
}

json::Array List(const json::Object& object, const char* key) {
  auto value = Get(object, key).as<json::Array>();
  if (!value) Fail(std::string("field '") + key + "' is no list");
  return *value;
}

json::Object AsObject(const json::Value& value, const char* where) {
  auto object = value.as<json::Object>();
  if (!object) Fail(std::string("an entry of '") + where + "' is no object");
  return *object;
}

std::vector<int64_t> Ints(const json::Object& object, const char* key) {
  std::vector<int64_t> result;
  for (const json::Value& item : List(object, key)) {
    auto value = item.as<int64_t>();
    if (!value || *value < 0 || *value > kMaxElements) {
      Fail(std::string("an entry of '") + key + "' is no legal integer");
    }
    result.push_back(*value);
  }
  if (result.size() > kMaxRank) Fail(std::string("'") + key + "' has more than 8 entries");
  return result;
}

Config ConfigOf(const json::Object& object) {
  Config config;
  const std::pair<const char*, int64_t*> fields[] = {
      {"rows", &config.rows},
      {"columns", &config.columns},
      {"output_stationary", &config.output_stationary},
      {"act_bytes", &config.act_bytes},
      {"act_banks", &config.act_banks},
      {"act_word", &config.act_word},
      {"weight_bytes", &config.weight_bytes},
      {"acc_words", &config.acc_words},
      {"dma_width", &config.dma_width},
      {"dma_latency", &config.dma_latency},
      {"dma_burst", &config.dma_burst},
      {"dma_outstanding", &config.dma_outstanding},
      {"lanes", &config.lanes},
      {"vector_latency", &config.vector_latency},
      {"clock_hz", &config.clock_hz},
      {"link_bytes_per_second", &config.link_bytes_per_second},
      {"link_latency_ns", &config.link_latency_ns},
  };
  for (const auto& [name, target] : fields) {
    *target = Int(object, name, INT64_MIN, INT64_MAX);
  }
  const std::string wrong = config.Check();
  if (!wrong.empty()) Fail("config: " + wrong);
  return config;
}

Border BorderOf(const json::Object& object, int64_t arguments, int64_t work_bytes) {
  Border border;
  border.argument = Int(object, "argument", 0, arguments - 1);
  border.offset = Int(object, "offset", 0, work_bytes);
  border.shape = Ints(object, "shape");
  border.order = Ints(object, "order");
  std::vector<int64_t> sorted = border.order;
  std::sort(sorted.begin(), sorted.end());
  for (size_t axis = 0; axis < sorted.size(); ++axis) {
    if (sorted[axis] != static_cast<int64_t>(axis)) Fail("'order' is no permutation of the axes");
  }
  if (border.order.size() != border.shape.size()) Fail("'order' and 'shape' differ in length");
  border.elements = 1;
  for (int64_t dim : border.shape) {
    border.elements *= dim;
    if (border.elements > kMaxElements) Fail("a border tensor has more than 2^31 elements");
  }
  if (border.offset + border.elements > work_bytes) {
    Fail("a border tensor ends at " + std::to_string(border.offset + border.elements) +
         ", past the work memory (" + std::to_string(work_bytes) + ")");
  }
  const std::string type = Text(object, "dtype");
  if (type == "float32") {
    border.type = HostType::kFloat32;
  } else if (type == "int8") {
    border.type = HostType::kInt8;
  } else if (type == "uint8") {
    border.type = HostType::kUint8;
  } else {
    Fail("dtype '" + type + "' of a border tensor; legal: float32, int8, uint8");
  }
  border.zero = Int(object, "zero", -128, 127);
  const json::Value scale = Get(object, "scale");
  if (auto real = scale.as<double>()) {
    border.scale = static_cast<float>(*real);
  } else if (auto whole = scale.as<int64_t>()) {
    border.scale = static_cast<float>(*whole);
  } else {
    Fail("field 'scale' is no number");
  }
  if (!(border.scale > 0) || !std::isfinite(border.scale)) Fail("a scale is not positive");
  return border;
}

/*!
 * \brief Call `visit(host index, device index)` for every element, in the device's order: an
 * odometer over the permuted axes, its last digit unrolled into a loop.
 */
template <typename F>
void EachElement(const Border& border, F&& visit) {
  if (border.elements == 0) return;
  const size_t rank = border.shape.size();
  std::array<int64_t, kMaxRank> strides{}, dims{}, steps{}, digit{};
  int64_t stride = 1;
  for (size_t axis = rank; axis-- > 0;) {
    strides[axis] = stride;
    stride *= border.shape[axis];
  }
  for (size_t axis = 0; axis < rank; ++axis) {
    dims[axis] = border.shape[static_cast<size_t>(border.order[axis])];
    steps[axis] = strides[static_cast<size_t>(border.order[axis])];
  }
  const int64_t inner = rank > 0 ? dims[rank - 1] : 1;
  const int64_t inner_step = rank > 0 ? steps[rank - 1] : 0;
  int64_t host = 0;
  for (int64_t device = 0; device < border.elements; device += inner) {
    for (int64_t j = 0; j < inner; ++j) visit(host + j * inner_step, device + j);
    for (size_t axis = rank > 0 ? rank - 1 : 0; axis-- > 0;) {
      host += steps[axis];
      if (++digit[axis] < dims[axis]) break;
      host -= steps[axis] * dims[axis];
      digit[axis] = 0;
    }
  }
}

}  // namespace

Config ReadConfig(std::string_view text) { return ConfigOf(ParseObject(text)); }

Code ReadCode(std::string_view bytes) {
  constexpr size_t kBytes = sizeof(Instruction::words);
  if (bytes.size() % kBytes != 0) {
    Fail(std::to_string(bytes.size()) + " bytes of code are no multiple of " +
         std::to_string(kBytes));
  }
  Code code(bytes.size() / kBytes);
  for (size_t i = 0; i < code.size(); ++i) {
    std::memcpy(code[i].words.data(), bytes.data() + i * kBytes, kBytes);
  }
  return code;
}

Program ReadProgram(std::string_view blob) {
  if (blob.size() < kPrologue || blob.substr(0, kMagic.size()) != kMagic) {
    Fail("the blob does not start with '" + std::string(kMagic) +
         "': it is damaged, or from another release; compile the model again");
  }
  uint32_t sizes[2];
  std::memcpy(sizes, blob.data() + kMagic.size(), sizeof(sizes));
  const size_t code_bytes = size_t{sizes[1]} * sizeof(Instruction::words);
  if (blob.size() != kPrologue + sizes[0] + code_bytes) {
    Fail("the blob has " + std::to_string(blob.size()) + " bytes, expected " +
         std::to_string(kPrologue + sizes[0] + code_bytes));
  }
  const json::Object header = ParseObject(blob.substr(kPrologue, sizes[0]));
  if (Int(header, "version", INT64_MIN, INT64_MAX) != kIsaVersion) {
    Fail("it is for version " + std::to_string(Int(header, "version", INT64_MIN, INT64_MAX)) +
         " of the instruction set, this library has " + std::to_string(kIsaVersion));
  }
  Program program;
  program.segment = Text(header, "segment");
  program.config = ConfigOf(AsObject(Get(header, "config"), "config"));
  program.regions.constants = Int(header, "constant_bytes", 0, kMaxBytes);
  program.regions.work = Int(header, "work_bytes", 0, kMaxBytes);
  program.inputs = Int(header, "inputs", 0, 1 << 20);
  program.outputs = Int(header, "outputs", 0, 1 << 20);
  for (const json::Value& item : List(header, "feeds")) {
    program.feeds.push_back(
        BorderOf(AsObject(item, "feeds"), program.inputs, program.regions.work));
  }
  for (const json::Value& item : List(header, "results")) {
    program.results.push_back(
        BorderOf(AsObject(item, "results"), program.outputs, program.regions.work));
  }
  program.code = ReadCode(blob.substr(kPrologue + sizes[0]));
  const Violation violation = Validate(program.config, program.code, program.regions);
  if (!violation.ok()) {
    Fail("instruction " + std::to_string(violation.index) + ": " + violation.reason);
  }
  return program;
}

void WriteIn(const Border& border, const void* host, int8_t* work) {
  int8_t* device = work + border.offset;
  if (border.type == HostType::kFloat32) {
    const auto* source = static_cast<const float*>(host);
    const auto zero = static_cast<float>(border.zero);
    EachElement(border, [&](int64_t from, int64_t to) {
      // Half to even, then saturate, as ONNX QuantizeLinear; NaN becomes the lowest value.
      float value = std::nearbyint(source[from] / border.scale) + zero;
      value = value > -128.0f ? value : -128.0f;
      value = value < 127.0f ? value : 127.0f;
      device[to] = static_cast<int8_t>(value);
    });
    return;
  }
  const auto* source = static_cast<const uint8_t*>(host);
  const uint8_t flip = border.type == HostType::kUint8 ? 0x80 : 0;
  EachElement(border, [&](int64_t from, int64_t to) {
    device[to] = static_cast<int8_t>(source[from] ^ flip);
  });
}

void ReadOut(const Border& border, const int8_t* work, void* host) {
  const int8_t* device = work + border.offset;
  if (border.type == HostType::kFloat32) {
    auto* target = static_cast<float*>(host);
    const auto zero = static_cast<int32_t>(border.zero);
    EachElement(border, [&](int64_t to, int64_t from) {
      target[to] = static_cast<float>(device[from] - zero) * border.scale;
    });
    return;
  }
  auto* target = static_cast<uint8_t*>(host);
  const uint8_t flip = border.type == HostType::kUint8 ? 0x80 : 0;
  EachElement(border, [&](int64_t to, int64_t from) {
    target[to] = static_cast<uint8_t>(device[from]) ^ flip;
  });
}

}  // namespace byoc::npu
