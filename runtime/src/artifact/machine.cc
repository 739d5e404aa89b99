#include "artifact/machine.h"

#include <sys/utsname.h>
#include <tvm/ffi/c_api.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include "core/errors.h"
#include "core/text.h"

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

std::string TvmProblem(const Manifest& manifest, const std::string& have) {
  const std::string tvm = Printable(manifest.tvm);
  if (have.empty()) {
    return "the model runs on TVM's VM: install apache-tvm==" + (tvm.empty() ? "0.27.*" : tvm);
  }
  if (Minor(have) == Minor(tvm)) return "";
  return "the VM bytecode was compiled by apache-tvm " + tvm + ", " + have +
         " is installed; compile the model again, or install apache-tvm==" + Minor(tvm) + ".*";
}

std::string TvmFfiProblem(const Manifest& manifest) {
  const std::string have = TvmFfiVersion(), wanted = Printable(manifest.tvm_ffi);
  if (Minor(have) == Minor(wanted)) return "";
  return "the host library was compiled against apache-tvm-ffi " + wanted + ", " + have +
         " is installed; compile the model again, or install apache-tvm-ffi==" + Minor(wanted) +
         ".*";
}

std::string CpuProblem(const ManifestTarget& target) {
  const std::string cpu = Printable(target.cpu);
  const std::string machine = target.triple.substr(0, target.triple.find('-'));
  utsname name;
  uname(&name);
  if (!machine.empty() && machine != name.machine) {
    return "the file was compiled for " + Printable(machine) + " (" + cpu + "), this is " +
           name.machine;
  }
  if (CpuFeatures().empty()) return "";
  std::string missing;
  for (const std::string& feature :
       std::set<std::string>(target.features.begin(), target.features.end())) {
    if (CpuFeatures().count(feature) != 0) continue;
    missing += (missing.empty() ? "" : ", ") + Printable(feature);
  }
  if (missing.empty()) return "";
  return "the host library was compiled for CPU '" + cpu +
         "' and needs features that this CPU lacks: " + missing +
         "; compile the model on this machine";
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

std::vector<Fit> FitMachine(const Manifest& manifest, const std::string& tvm) {
  std::vector<Fit> fits;
  if (!manifest.is_plan) {
    fits.push_back({"tvm", "apache-tvm " + Printable(manifest.tvm), TvmProblem(manifest, tvm)});
  }
  if (!manifest.has_host) return fits;
  fits.push_back(
      {"tvm-ffi", "apache-tvm-ffi " + Printable(manifest.tvm_ffi), TvmFfiProblem(manifest)});
  for (const ManifestTarget& target : manifest.targets) {
    fits.push_back(
        {"cpu", Printable(target.cpu) + ", " + Printable(target.triple), CpuProblem(target)});
  }
  return fits;
}

void CheckMachine(const Manifest& manifest, const std::string& tvm) {
  for (const Fit& fit : FitMachine(manifest, tvm)) {
    if (!fit.problem.empty()) ThrowArtifactError(fit.problem);
  }
}

}  // namespace byoc
