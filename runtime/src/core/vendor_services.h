/// \file
/// What byoc does for vendors' code that runs in this process: a log, and a folder to keep files
/// in.
#ifndef BYOC_RUNTIME_VENDOR_SERVICES_H_
#define BYOC_RUNTIME_VENDOR_SERVICES_H_

#include <cstdint>
#include <string>

namespace byoc {

/// Writes a line of a segment's log: to Python's logging where there is Python (the global function
/// "byoc.log"), else from warnings on to the standard error. Any thread.
void Log(const std::string& vendor, const std::string& segment, int64_t level,
         const std::string& text);

/// Returns a folder of byoc's caches, made if need be; "" when that fails. It lies in
/// $BYOC_CACHE_DIR, else in `byoc` of the user's cache folder (`cache_folder` of
/// byoc/timing/store.py).
///
/// \param part of the caches: "engines".
std::string CacheFolder(const std::string& part);

/// Returns the folder that a vendor may keep files in, as `CacheFolder` does.
inline std::string VendorCache(const std::string& vendor) {
  return CacheFolder("vendors/" + vendor);
}

}  // namespace byoc

#endif  // BYOC_RUNTIME_VENDOR_SERVICES_H_
