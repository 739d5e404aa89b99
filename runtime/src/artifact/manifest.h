/*!
 * \file manifest.h
 * \brief The manifest of an artifact: what the file holds and what it needs.
 *
 * runtime/io/manifest.py writes it, and makes Python's values of text that was checked here.
 */
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
#include "core/json_view.h"

namespace byoc {

/*! \brief The newest format that is read; those from 1 on are, too. See FORMAT_VERSION of
 * runtime/io/manifest.py for what each has brought. */
inline constexpr int64_t kNewestFormat = 7;

/*! \brief A named input or output of the model; a symbolic dimension is -1. */
struct ManifestPort {
  std::string name;
  std::vector<int64_t> shape;
  std::string dtype;
  /*! \brief The shape as text: "64", "n", "n * 12". */
  std::vector<std::string> dims;
};

/*! \brief What runs a vendor's segments. */
enum class VendorRuntime {
  kNative,  /*!< a shared library of this machine */
  kPython,  /*!< a module of Python */
  kLibrary, /*!< each segment's blob is a shared object */
  kHost,    /*!< kernels, in the host library or in one of the segment's own */
};

/*! \brief What a machine must have to run a segment; empty: nothing. */
struct Requirements {
  std::vector<std::string> cpu_features;
  /*! \brief As `uname -m` spells it. */
  std::string machine;
  /*! \brief Model of the vendor's device, and the oldest version of its driver. */
  std::string device, driver;
  /*! \brief Bytes of the device, or of the machine where none is named. */
  int64_t memory = 0;
};

/*! \brief A vendor as the program was compiled for it. */
struct ManifestVendor {
  std::string name;
  std::string version;
  /*! \brief JSON, as its `init` gets them. */
  std::string options;
  VendorRuntime runtime;
  std::string processor;
  /*! \brief Of a native one: lib<library>.so of the distribution `package`. */
  std::string library;
  std::string package;
  /*! \brief Of one whose blobs are shared objects: what is called. */
  std::string symbol;
};

/*! \brief Whether the file holds the code that runs a vendor's segments. */
inline bool BringsCode(const ManifestVendor& vendor) {
  return vendor.runtime == VendorRuntime::kLibrary || vendor.runtime == VendorRuntime::kHost;
}

/*! \brief A segment; its blob is the member segments/<name>.bin. */
struct ManifestSegment {
  std::string name;
  std::string vendor;
  /*! \brief Array numbers. */
  std::vector<size_t> constants;
  /*! \brief Not known to older files. */
  std::vector<ManifestPort> inputs, outputs;
  Requirements needs;
};

/*! \brief An array in `kWeightsMember`. Not checked: see artifact/weights.h. */
struct ManifestArray {
  std::string dtype;
  std::vector<int64_t> shape;
  /*! \brief Bytes into the member. */
  int64_t offset;
};

/*! \brief The machine that the host library was compiled for, in LLVM's words. */
struct ManifestTarget {
  std::string triple;
  std::string cpu;
  std::vector<std::string> features;
};

/*! \brief What of manifest.json decides whether and how a model runs without Python, and whether it
 * may be loaded at all. */
struct Manifest {
  /*! \brief Versions of the packages that wrote the file. */
  std::string byoc, tvm, tvm_ffi;
  std::string name;
  std::vector<ManifestPort> inputs, outputs;
  /*! \brief A plan (static shapes), not bytecode of TVM's VM. */
  bool is_plan;
  bool has_host;
  /*! \brief Of the host library, then those of the plans for some sizes; all distinct. */
  std::vector<ManifestTarget> targets;
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

  /*! \brief The vendor of that name; null when the program has none. */
  const ManifestVendor* Vendor(const std::string& name) const;
};

/*! \brief Read what `Requires` of byoc/segment.py holds. */
Requirements ReadRequirements(const JsonView& json);

/*!
 * \brief Read a manifest; its format version is looked at before anything else.
 * \param text What `ReadManifest` gave.
 * \throws byoc.ArtifactError naming the place that is wrong.
 */
Manifest ParseManifest(const std::string& text);

}  // namespace byoc

#endif  // BYOC_RUNTIME_MANIFEST_H_
