#include "artifact/machine.h"

#include <sys/utsname.h>
#include <tvm/ffi/c_api.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include "core/errors.h"

namespace byoc {
namespace {

/*! \brief A flag of /proc/cpuinfo in LLVM's spelling. */
std::string Translate(std::string flag) {
  // Where LLVM's name is not the kernel's with its underscores removed.
  static const std::map<std::string, std::string> names = {
      {"pni", "sse3"},         {"sse4_1", "sse4.1"},   {"sse4_2", "sse4.2"},
      {"abm", "lzcnt"},        {"bmi1", "bmi"},        {"pclmulqdq", "pclmul"},
      {"rdrand", "rdrnd"},     {"asimd", "neon"},      {"asimddp", "dotprod"},
      {"asimdhp", "fullfp16"}, {"avx10_1", "avx10.1"}, {"avx10_2", "avx10.2"}};
  if (flag.compare(0, 4, "amx_") == 0) {
    std::replace(flag.begin(), flag.end(), '_', '-');
    return flag;
  }
  const auto it = names.find(flag);
  if (it != names.end()) return it->second;
  flag.erase(std::remove(flag.begin(), flag.end(), '_'), flag.end());
  return flag;
}

std::set<std::string> ReadFeatures() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
    if (key != "flags" && key != "Features") continue;
    std::istringstream words(line.substr(colon + 1));
    std::set<std::string> features;
    for (std::string word; words >> word;) features.insert(Translate(word));
    return features;
  }
  return {};
}

std::string Minor(const std::string& version) {
  const size_t first = version.find('.');
  return version.substr(0, first == std::string::npos ? first : version.find('.', first + 1));
}

}  // namespace

const std::set<std::string>& CpuFeatures() {
  static const std::set<std::string> features = ReadFeatures();
  return features;
}

std::string TvmFfiVersion() {
  TVMFFIVersion version;
  TVMFFIGetVersion(&version);
  return std::to_string(version.major) + "." + std::to_string(version.minor) + "." +
         std::to_string(version.patch);
}

void CheckMachine(const Manifest& manifest) {
  if (!manifest.has_host) return;
  const std::string have = TvmFfiVersion(), wanted = Minor(manifest.tvm_ffi);
  if (Minor(have) != wanted) {
    ThrowArtifactError("the host library was compiled against apache-tvm-ffi " + manifest.tvm_ffi +
                       ", " + have + " is installed; compile the model again, or install " +
                       "apache-tvm-ffi==" + wanted + ".*");
  }
  if (!manifest.target) return;
  const std::string& triple = manifest.target->triple;
  const std::string machine = triple.substr(0, triple.find('-'));
  utsname name;
  uname(&name);
  if (!machine.empty() && machine != name.machine) {
    ThrowArtifactError("the file was compiled for " + machine + " (" + manifest.target->cpu +
                       "), this is " + name.machine);
  }
  if (CpuFeatures().empty()) return;
  std::string missing;
  const std::set<std::string> needed(manifest.target->features.begin(),
                                     manifest.target->features.end());
  for (const std::string& feature : needed) {
    if (CpuFeatures().count(feature) != 0) continue;
    missing += (missing.empty() ? "" : ", ") + feature;
  }
  if (missing.empty()) return;
  ThrowArtifactError("the host library was compiled for CPU '" + manifest.target->cpu +
                     "' and needs features that this CPU lacks: " + missing +
                     "; compile the model on this machine");
}

}  // namespace byoc
