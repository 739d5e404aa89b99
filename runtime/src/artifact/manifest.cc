#include "artifact/manifest.h"

#include <cstdlib>
#include <set>

#include "core/errors.h"
#include "core/json_view.h"

namespace byoc {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 48;
constexpr int64_t kMaxArrays = int64_t{1} << 31;

std::vector<ManifestPort> ReadPorts(const JsonView& json) {
  std::vector<ManifestPort> ports;
  for (const JsonView& item : json.Items()) {
    ManifestPort port;
    port.name = item["name"].String();
    port.dtype = item["type"]["dtype"].String();
    for (const JsonView& dim : item["type"]["shape"].Items()) {
      port.shape.push_back(dim.IsString() ? -1 : dim.Int(0, kMaxBytes));
    }
    ports.push_back(std::move(port));
  }
  return ports;
}

std::vector<size_t> ReadNumbers(const JsonView& json) {
  std::vector<size_t> numbers;
  for (int64_t n : json.Ints(0, kMaxArrays)) numbers.push_back(static_cast<size_t>(n));
  return numbers;
}

ManifestVendor ReadVendor(const std::string& name, const JsonView& json) {
  ManifestVendor vendor;
  vendor.name = name;
  vendor.version = json["version"].String();
  json["options"].Fields();  // an object
  vendor.options = json["options"].Text();
  const std::string runtime = json["runtime"].String();
  if (runtime != "native" && runtime != "python") {
    json["runtime"].Fail("unknown '" + runtime + "'; legal: native, python");
  }
  vendor.is_native = runtime == "native";
  const auto text = [&](const char* key, const char* fallback) {
    const std::optional<JsonView> value = json.Find(key);
    return value ? value->String() : std::string(fallback);
  };
  vendor.processor = text("processor", "cpu");
  vendor.library = text("library", "");
  vendor.package = text("package", "");
  return vendor;
}

Member ReadMember(const JsonView& json) {
  Member member;
  member.name = json["name"].String();
  member.size = static_cast<uint64_t>(json["size"].Int(0, kMaxBytes));
  const std::string crc = json["crc32"].String();
  char* end = nullptr;
  const unsigned long value = std::strtoul(crc.c_str(), &end, 16);
  if (crc.empty() || crc.size() > 8 || *end != '\0') json["crc32"].Fail("not a hex number");
  member.crc32 = static_cast<uint32_t>(value);
  member.sha256 = json["sha256"].Strings();
  return member;
}

void ReadHealing(const JsonView& json, Manifest* manifest) {
  for (const auto& [name, numbers] : json["twins"].Fields()) {
    manifest->twins[name] = ReadNumbers(numbers);
  }
  const JsonView healing = json["healing"];
  manifest->failures = healing["failures"].Int(1, INT64_MAX);
  if (const std::optional<JsonView> deadline = healing.Find("deadline")) {
    manifest->deadline = deadline->Double();
    if (!(manifest->deadline > 0 && manifest->deadline < 1e6)) deadline->Fail("not above 0");
  }
  manifest->check_nan = healing["check_nan"].Bool();
  const std::optional<JsonView> refusals = healing.Find("refusals");  // not known to older files
  manifest->refusals = refusals && refusals->Bool();
}

void ReadIsolation(const JsonView& json, Manifest* manifest) {
  if (const std::optional<JsonView> refused = json.Find("refused")) {
    for (const auto& [name, why] : refused->Fields()) manifest->refused[name] = why.String();
  }
  const std::optional<JsonView> isolation = json.Find("isolation");
  if (!isolation) return;
  if (const std::optional<JsonView> names = isolation->Find("vendors")) {
    manifest->isolated = names->Strings();
  } else {
    for (const ManifestVendor& vendor : manifest->vendors) {
      manifest->isolated.push_back(vendor.name);
    }
  }
}

}  // namespace

const ManifestVendor* Manifest::Vendor(const std::string& wanted) const {
  for (const ManifestVendor& vendor : vendors) {
    if (vendor.name == wanted) return &vendor;
  }
  return nullptr;
}

Manifest ParseManifest(const std::string& text) {
  const JsonView json = JsonView::Parse(text, "manifest.json is no manifest");
  const int64_t format = json["format"].Int(INT64_MIN, INT64_MAX);
  if (format < 1 || format > kNewestFormat) {
    const std::optional<JsonView> writer = json.Find("byoc");
    ThrowArtifactError("the file has format " + std::to_string(format) +
                       ", this byoc reads format " + std::to_string(kNewestFormat) +
                       " (it was written by byoc " + (writer ? writer->String() : "?") +
                       "); compile the model again, or install that release");
  }
  Manifest manifest;
  manifest.byoc = json["byoc"].String();
  manifest.tvm = json["tvm"].String();
  manifest.tvm_ffi = json["tvm_ffi"].String();
  manifest.name = json["name"].String();
  manifest.inputs = ReadPorts(json["inputs"]);
  manifest.outputs = ReadPorts(json["outputs"]);
  const std::string body = json["body"].String();
  if (body != "plan" && body != "vm") {
    json["body"].Fail("unknown '" + body + "'; legal: plan, vm");
  }
  manifest.is_plan = body == "plan";
  manifest.has_host = json["has_host"].Bool();
  if (const std::optional<JsonView> target = json.Find("target")) {
    manifest.target = ManifestTarget{(*target)["triple"].String(), (*target)["cpu"].String(),
                                     (*target)["features"].Strings()};
  }
  for (const auto& [name, vendor] : json["vendors"].Fields()) {
    manifest.vendors.push_back(ReadVendor(name, vendor));
  }
  for (const JsonView& item : json["segments"].Items()) {
    manifest.segments.push_back(
        {item["name"].String(), item["vendor"].String(), ReadNumbers(item["constants"])});
  }
  manifest.constants = ReadNumbers(json["constants"]);
  for (const JsonView& item : json["arrays"].Items()) {
    manifest.arrays.push_back({item["dtype"].String(), item["shape"].Ints(0, kMaxBytes),
                               item["offset"].Int(0, kMaxBytes)});
  }
  if (format >= 2) ReadHealing(json, &manifest);
  if (format >= 3) ReadIsolation(json, &manifest);
  for (const JsonView& item : json["members"].Items()) {
    manifest.members.push_back(ReadMember(item));
  }
  return manifest;
}

}  // namespace byoc
