/*! \brief The manifest of an artifact: the C++ side of runtime/io/manifest.py. */
#ifndef BYOC_RUNTIME_MANIFEST_H_
#define BYOC_RUNTIME_MANIFEST_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "artifact/archive.h"

namespace byoc {

/*! \brief The newest format that is read; must equal NEWEST_FORMAT of runtime/io/manifest.py. */
inline constexpr int64_t kNewestFormat = 5;

/*! \brief A named input or output; a symbolic dimension is -1. */
struct ManifestPort {
  std::string name;
  std::vector<int64_t> shape;
  std::string dtype;
};

struct ManifestVendor {
  std::string name;
  std::string version;
  std::string options;  // JSON
  bool is_native;
  std::string processor;
  std::string library;  // of a native one: lib<library>.so
  std::string package;
};

struct ManifestSegment {
  std::string name;
  std::string vendor;
  std::vector<size_t> constants;  // array numbers
};

struct ManifestArray {
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t offset;
};

struct ManifestTarget {
  std::string triple;
  std::string cpu;
  std::vector<std::string> features;
};

struct Manifest {
  std::string byoc, tvm, tvm_ffi;
  std::string name;
  std::vector<ManifestPort> inputs, outputs;
  bool is_plan;
  bool has_host;
  std::optional<ManifestTarget> target;
  std::vector<ManifestVendor> vendors;
  std::vector<ManifestSegment> segments;
  std::vector<size_t> constants;
  std::vector<ManifestArray> arrays;
  std::map<std::string, std::vector<size_t>> twins;  // segment -> array numbers
  int64_t failures = 3;
  double deadline = 0;  // seconds; 0: none
  bool check_nan = false;
  bool refusals = false;                       // a segment that does not load is left to its twin
  std::map<std::string, std::string> refused;  // segment -> why its vendor did not build it
  std::vector<std::string> isolated;           // vendors that run in a process of their own
  std::vector<Member> members;

  const ManifestVendor* Vendor(const std::string& name) const;
};

/*! \brief Throws byoc.ArtifactError; the format version is looked at before anything else. */
Manifest ParseManifest(const std::string& json);

}  // namespace byoc

#endif  // BYOC_RUNTIME_MANIFEST_H_
