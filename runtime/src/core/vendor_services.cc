#include "core/vendor_services.h"

#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "core/shutdown.h"
#include "core/text.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

void Log(const std::string& vendor, const std::string& segment, int64_t level,
         const std::string& text) {
  constexpr int64_t kWarning = 30;
  if (!shutdown::HasBegun()) {
    if (const auto log = ffi::Function::GetGlobal("byoc.log")) {
      (*log)(ffi::String(vendor), ffi::String(segment), level, ffi::String(text));
      return;
    }
  }
  if (level < kWarning) return;
  const std::string line =
      "byoc: vendor " + Quoted(vendor) + ", segment " + Quoted(segment) + ": " + text + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::string CacheFolder(const std::string& part) {
  namespace fs = std::filesystem;
  fs::path base;
  if (const std::string chosen = FromEnvironment("BYOC_CACHE_DIR"); !chosen.empty()) {
    const bool home = chosen == "~" || chosen.compare(0, 2, "~/") == 0;
    base = home ? FromEnvironment("HOME") + chosen.substr(1) : chosen;
  } else if (const std::string user = FromEnvironment("XDG_CACHE_HOME"); !user.empty()) {
    base = fs::path(user) / "byoc";
  } else if (const std::string home = FromEnvironment("HOME"); !home.empty()) {
    base = fs::path(home) / ".cache" / "byoc";
  } else {
    return "";
  }
  const fs::path folder = base / part;
  std::error_code problem;
  fs::create_directories(folder, problem);
  if (problem || access(folder.c_str(), W_OK | X_OK) != 0) return "";
  return folder.string();
}

}  // namespace byoc
