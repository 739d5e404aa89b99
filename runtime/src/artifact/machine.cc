#include "artifact/machine.h"

#include <sys/utsname.h>
#include <tvm/ffi/c_api.h>
#include <tvm/ffi/string.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "core/errors.h"
#include "core/text.h"

namespace byoc {

namespace ffi = tvm::ffi;

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

/*! \brief The name of this machine's architecture, as `uname -m` has it. */
std::string MachineName() {
  utsname name;
  uname(&name);
  return name.machine;
}

/*! \brief Those of the features that this CPU lacks, joined; empty where the system is silent. */
std::string MissingFeatures(const std::vector<std::string>& features) {
  if (CpuFeatures().empty()) return "";
  std::string missing;
  for (const std::string& feature : std::set<std::string>(features.begin(), features.end())) {
    if (CpuFeatures().count(feature) != 0) continue;
    missing += (missing.empty() ? "" : ", ") + Printable(feature);
  }
  return missing;
}

/*! \brief Whether a version is older than another: numbers between dots, one after the other. */
bool IsOlder(const std::string& version, const std::string& than) {
  std::istringstream a(version), b(than);
  for (std::string wanted; std::getline(b, wanted, '.');) {
    std::string have;
    std::getline(a, have, '.');
    const int64_t x = std::strtoll(have.c_str(), nullptr, 10);
    const int64_t y = std::strtoll(wanted.c_str(), nullptr, 10);
    if (x != y) return x < y;
  }
  return false;
}

std::string CpuProblem(const ManifestTarget& target) {
  const std::string cpu = Printable(target.cpu);
  const std::string machine = target.triple.substr(0, target.triple.find('-'));
  if (!machine.empty() && machine != MachineName()) {
    return "the file was compiled for " + Printable(machine) + " (" + cpu + "), this is " +
           MachineName();
  }
  const std::string missing = MissingFeatures(target.features);
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

bool NeedsEquipment(const Requirements& needs) {
  return !needs.device.empty() || !needs.driver.empty();
}

std::string Missing(const Requirements& needs,
                    const ffi::Optional<ffi::Array<ffi::Any>>& equipment) {
  const std::string machine = MachineName();
  if (!needs.machine.empty() && needs.machine != machine) {
    return "was compiled for " + Printable(needs.machine) + ", this is " + machine;
  }
  const std::string features = MissingFeatures(needs.cpu_features);
  if (!features.empty()) return "needs features that this CPU lacks: " + features;
  if (!NeedsEquipment(needs)) {
    const auto bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
    if (needs.memory <= bytes) return "";
    return "needs " + std::to_string(needs.memory) + " bytes of memory, this machine has " +
           std::to_string(bytes);
  }
  if (!equipment) {
    return "needs " +
           (needs.device.empty() ? "driver " + Printable(needs.driver)
                                 : "device " + Quoted(needs.device)) +
           ", and its vendor's runtime does not say what there is (vendor author: add "
           "'equipment')";
  }
  std::string found;
  bool has_device = needs.device.empty();
  for (const ffi::String& device : (*equipment)[0].cast<ffi::Array<ffi::String>>()) {
    has_device = has_device || std::string(device) == needs.device;
    found += (found.empty() ? "" : ", ") + Quoted(std::string(device));
  }
  if (!has_device) {
    return "needs device " + Quoted(needs.device) + ", found " + (found.empty() ? "none" : found);
  }
  const std::string driver((*equipment)[1].cast<ffi::String>());
  if (!needs.driver.empty() && IsOlder(driver, needs.driver)) {
    return "needs driver " + Printable(needs.driver) + " or newer, found " +
           (driver.empty() ? "none" : Printable(driver));
  }
  const int64_t bytes = (*equipment)[2].cast<int64_t>();
  if (needs.memory <= bytes) return "";
  return "needs " + std::to_string(needs.memory) + " bytes of memory, the device has " +
         std::to_string(bytes);
}

void CheckMachine(const Manifest& manifest, const std::string& tvm) {
  for (const Fit& fit : FitMachine(manifest, tvm)) {
    if (!fit.problem.empty()) ThrowArtifactError(fit.problem);
  }
}

}  // namespace byoc
