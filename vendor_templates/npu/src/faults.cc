#include "faults.h"

#include <fnmatch.h>
#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/string.h>

#include <optional>
#include <stdexcept>
#include <utility>

namespace byoc::npu {
namespace {

namespace ffi = tvm::ffi;
namespace json = tvm::ffi::json;

constexpr std::pair<const char*, FaultKind> kKinds[] = {
    {"wrong", FaultKind::kWrong},     {"nan", FaultKind::kNan},
    {"status", FaultKind::kStatus},   {"exception", FaultKind::kException},
    {"crash", FaultKind::kCrash},     {"hang", FaultKind::kHang},
    {"oom", FaultKind::kOutOfMemory}, {"slow", FaultKind::kSlow},
};

std::optional<json::Value> Find(const json::Object& object, const char* key) {
  auto it = object.find(ffi::String(key));
  if (it == object.end() || (*it).second == nullptr) return std::nullopt;
  return (*it).second;
}

double Number(const json::Object& object, const char* key, double otherwise) {
  const auto value = Find(object, key);
  if (!value) return otherwise;
  if (auto real = value->as<double>()) return *real;
  if (auto whole = value->as<int64_t>()) return static_cast<double>(*whole);
  throw std::runtime_error(std::string("npu options: '") + key + "' of a fault is no number");
}

std::string Text(const json::Object& object, const char* key, const char* otherwise) {
  const auto value = Find(object, key);
  if (!value) return otherwise;
  if (auto text = value->as<ffi::String>()) return std::string(text->data(), text->size());
  throw std::runtime_error(std::string("npu options: '") + key + "' is no string");
}

/*! \brief SplitMix64: a good coin from a seed and a count. */
uint64_t Mix(uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

}  // namespace

bool Fault::Strikes(int64_t this_call) const {
  if (call > 0) return call == this_call;
  if (probability >= 1) return true;
  const uint64_t coin = Mix(Mix(static_cast<uint64_t>(seed)) ^ static_cast<uint64_t>(this_call));
  return static_cast<double>(coin >> 11) * 0x1p-53 < probability;
}

RunOptions ReadOptions(std::string_view text, const std::string& segment) {
  RunOptions result;
  if (text.empty()) return result;
  ffi::String error;
  json::Value value = json::Parse(ffi::String(text.data(), text.size()), &error);
  const auto object = value.as<json::Object>();
  if (error.size() != 0 || !object) {
    throw std::runtime_error("npu options are no JSON object: " + std::string(error));
  }
  result.paced = Text(*object, "clock", "fast") == "paced";
  const auto faults = Find(*object, "faults");
  if (!faults) return result;
  const auto list = faults->as<json::Array>();
  if (!list) throw std::runtime_error("npu options: 'faults' is no list");
  for (const json::Value& item : *list) {
    const auto entry = item.as<json::Object>();
    if (!entry) throw std::runtime_error("npu options: a fault is no object");
    if (fnmatch(Text(*entry, "segment", "*").c_str(), segment.c_str(), 0) != 0) continue;
    const std::string kind = Text(*entry, "kind", "");
    for (const auto& [name, which] : kKinds) {
      if (kind != name) continue;
      Fault fault{which};
      fault.call = static_cast<int64_t>(Number(*entry, "call", 0));
      fault.probability = Number(*entry, "probability", 1);
      fault.seed = static_cast<int64_t>(Number(*entry, "seed", 0));
      fault.factor = Number(*entry, "factor", fault.factor);
      fault.seconds = Number(*entry, "seconds", 0);
      result.faults.push_back(fault);
    }
  }
  return result;
}

}  // namespace byoc::npu
