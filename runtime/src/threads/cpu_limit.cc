#include "threads/cpu_limit.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>
#include <vector>

namespace byoc {
namespace threads {
namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

/// `quota / period` of two texts, or unlimited when they are no such numbers ("max", "-1", empty).
double Share(const std::string& quota, const std::string& period) {
  double numbers[2] = {0, 0};
  const std::string* texts[2] = {&quota, &period};
  for (int i = 0; i < 2; ++i) {
    std::istringstream text(*texts[i]);
    text.imbue(std::locale::classic());
    if (!(text >> numbers[i]) || !(numbers[i] > 0)) return kUnlimited;
  }
  return numbers[0] / numbers[1];
}

std::string FirstWord(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

/// Limit that one group sets, whichever version its files are of.
double OfGroup(const std::string& folder) {
  std::ifstream v2(folder + "/cpu.max");
  std::string quota, period;
  if (v2 >> quota >> period) return Share(quota, period);
  return Share(FirstWord(folder + "/cpu.cfs_quota_us"), FirstWord(folder + "/cpu.cfs_period_us"));
}

/// Smallest limit of a group and the groups around it. A container may see its own group as the
/// mount's root, yet have the path that the machine knows: folders that are not there say nothing.
double OfGroupAndParents(const std::string& mount, std::string path) {
  double least = OfGroup(mount);
  while (!path.empty() && path != "/") {
    least = std::min(least, OfGroup(mount + path));
    path.erase(path.rfind('/'));
  }
  return least;
}

bool HasCpuController(const std::string& controllers) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == "cpu") return true;
  }
  return false;
}

}  // namespace

double CpuQuota(const std::string& root) {
  const std::string mount = root + "/sys/fs/cgroup";
  std::ifstream groups(root + "/proc/self/cgroup");
  double least = kUnlimited;
  // Lines "0::/path" of v2 and "4:cpu,cpuacct:/path" of v1.
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (path.empty() || path[0] != '/') continue;
    if (controllers.empty()) {
      // "unified": where both versions are mounted side by side.
      for (const char* place : {"", "/unified"}) {
        least = std::min(least, OfGroupAndParents(mount + place, path));
      }
    } else if (HasCpuController(controllers)) {
      for (const std::string& place : {"/" + controllers, std::string("/cpu")}) {
        least = std::min(least, OfGroupAndParents(mount + place, path));
      }
    }
  }
  return least == kUnlimited ? 0 : least;
}

int UsableProcessors(const std::string& root) {
  // As many bits as the kernel has: a fixed cpu_set_t ends at 1024.
  int count = 0;
  for (size_t sets = 1; sets <= 64 && count == 0; sets *= 2) {
    std::vector<cpu_set_t> mask(sets);
    const size_t bytes = sets * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, mask.data()) == 0) count = CPU_COUNT_S(bytes, mask.data());
  }
  if (count == 0) count = static_cast<int>(std::thread::hardware_concurrency());
  const double quota = CpuQuota(root);
  if (quota > 0 && quota < count) count = static_cast<int>(std::ceil(quota));
  return std::max(1, count);
}

}  // namespace threads
}  // namespace byoc
