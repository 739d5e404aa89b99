#include "artifact/manifest.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "core/errors.h"
#include "core/text.h"

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
      port.dims.push_back(dim.IsString() ? dim.String() : std::to_string(port.shape.back()));
    }
    const std::optional<JsonView> value = item.Find("value");
    if (value && !value->String().empty() && (port.dtype != "int64" || !port.shape.empty())) {
      item["type"].Fail("the handle of a " + Printable(value->String()) +
                        " is one int64, found another type");
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
  if (runtime != "native" && runtime != "python" && runtime != "library" && runtime != "host") {
    json["runtime"].Fail("unknown " + Quoted(runtime) + "; legal: native, python, library, host");
  }
  vendor.runtime = runtime == "native"    ? VendorRuntime::kNative
                   : runtime == "python"  ? VendorRuntime::kPython
                   : runtime == "library" ? VendorRuntime::kLibrary
                                          : VendorRuntime::kHost;
  const auto text = [&](const char* key, const char* fallback) {
    const std::optional<JsonView> value = json.Find(key);
    return value ? value->String() : std::string(fallback);
  };
  vendor.processor = text("processor", "cpu");
  vendor.library = text("library", "");
  vendor.package = text("package", "");
  vendor.symbol = text("symbol", "");
  return vendor;
}

ManifestSegment ReadSegment(const JsonView& json) {
  ManifestSegment segment;
  segment.name = json["name"].String();
  segment.vendor = json["vendor"].String();
  segment.constants = ReadNumbers(json["constants"]);
  if (const std::optional<JsonView> signature = json.Find("signature")) {
    segment.inputs = ReadPorts((*signature)["inputs"]);
    segment.outputs = ReadPorts((*signature)["outputs"]);
  }
  if (const std::optional<JsonView> needs = json.Find("requires")) {
    segment.needs = ReadRequirements(*needs);
  }
  return segment;
}

/*! \brief The number that up to eight hex digits spell; nothing for any other text. */
std::optional<uint32_t> ReadHex(const std::string& text) {
  uint32_t value = 0;
  for (const char c : text) {
    const bool letter = c >= 'a' && c <= 'f';
    if (!letter && (c < '0' || c > '9')) return std::nullopt;
    value = value << 4 | static_cast<uint32_t>(letter ? c - 'a' + 10 : c - '0');
  }
  return text.empty() || text.size() > 8 ? std::nullopt : std::optional<uint32_t>(value);
}

Member ReadMember(const JsonView& json) {
  Member member;
  member.name = json["name"].String();
  const std::optional<int64_t> size = json["size"].TryInt(0, kMaxBytes);
  const std::optional<uint32_t> crc = ReadHex(json["crc32"].String());
  if (!size || !crc) ThrowMisdescribed(member.name);
  member.size = static_cast<uint64_t>(*size);
  member.crc32 = *crc;
  member.sha256 = json["sha256"].Strings();
  return member;
}

/*! \brief Add the target of a program, unless it is none or known. */
void ReadTarget(const JsonView& program, std::vector<ManifestTarget>* targets) {
  const std::optional<JsonView> json = program.Find("target");
  if (!json) return;
  ManifestTarget target{(*json)["triple"].String(), (*json)["cpu"].String(),
                        (*json)["features"].Strings()};
  const auto same = [&](const ManifestTarget& other) {
    return std::tie(other.triple, other.cpu, other.features) ==
           std::tie(target.triple, target.cpu, target.features);
  };
  if (std::none_of(targets->begin(), targets->end(), same)) targets->push_back(std::move(target));
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

Requirements ReadRequirements(const JsonView& json) {
  return {json["cpu_features"].Strings(), json["machine"].String(), json["device"].String(),
          json["driver"].String(), json["memory"].Int(0, kMaxBytes)};
}

Manifest ParseManifest(const std::string& text) {
  const JsonView json = JsonView::Parse(text, "manifest.json is no manifest");
  const int64_t format = json["format"].Int(INT64_MIN, INT64_MAX);
  if (format < 1 || format > kNewestFormat) {
    const std::optional<JsonView> writer = json.Find("byoc");
    ThrowArtifactError("the file has format " + std::to_string(format) +
                       ", this byoc reads format " + std::to_string(kNewestFormat) +
                       " (it was written by byoc " + (writer ? Printable(writer->String()) : "?") +
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
    json["body"].Fail("unknown " + Quoted(body) + "; legal: plan, vm");
  }
  manifest.is_plan = body == "plan";
  manifest.has_host = json["has_host"].Bool();
  ReadTarget(json, &manifest.targets);
  if (const std::optional<JsonView> shapes = json.Find("shapes")) {
    for (const JsonView& program : shapes->Items()) ReadTarget(program, &manifest.targets);
  }
  for (const auto& [name, vendor] : json["vendors"].Fields()) {
    manifest.vendors.push_back(ReadVendor(name, vendor));
  }
  std::set<std::string> segments;
  for (const JsonView& item : json["segments"].Items()) {
    manifest.segments.push_back(ReadSegment(item));
    if (const std::string& name = manifest.segments.back().name; !segments.insert(name).second) {
      ThrowArtifactError("two segments are called " + Quoted(name));
    }
  }
  manifest.constants = ReadNumbers(json["constants"]);
  for (const JsonView& item : json["arrays"].Items()) {
    manifest.arrays.push_back({item["dtype"].String(), item["shape"].Ints(INT64_MIN, INT64_MAX),
                               item["offset"].Int(INT64_MIN, INT64_MAX)});
  }
  if (format >= 2) ReadHealing(json, &manifest);
  if (format >= 3) ReadIsolation(json, &manifest);
  for (const JsonView& item : json["members"].Items()) {
    manifest.members.push_back(ReadMember(item));
  }
  return manifest;
}

}  // namespace byoc
