#include "artifact/engines.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/extra/json.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <thread>

#include "artifact/archive.h"
#include "artifact/engine_store.h"
#include "artifact/machine.h"
#include "artifact/sha256.h"
#include "byoc/threads.h"
#include "core/mapping.h"
#include "core/text.h"
#include "core/vendor_services.h"
#include "plan/binding.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

constexpr int kDebug = 10, kInfo = 20, kWarning = 30;  // of Python's logging
constexpr auto kPause = std::chrono::milliseconds(10);
// A build that takes longer than this is not waited for: it may hang.
constexpr auto kPatience = std::chrono::minutes(15);
constexpr uint64_t kLimit = uint64_t{4} << 30;

double Seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

std::string ContentOf(const ffi::Tensor& t) {
  const auto* data = static_cast<const char*>(t.data_ptr());
  const uint64_t size = ffi::GetDataSize(*t.GetDLTensorPtr());
  const std::string known = KnownContent(data, size);
  return known.empty() ? ContentName(DigestsOf(data, size)) : known;
}

std::string TypeOf(const ffi::Tensor& t) {
  std::string text(ffi::DLDataTypeToString(t.dtype()));
  for (int64_t dim : t.shape()) text += " " + std::to_string(dim);
  return text;
}

std::string MachineOf() {
  utsname name;
  uname(&name);
  std::string text = name.machine;
  for (const std::string& feature : CpuFeatures()) text += " " + feature;
  return text;
}

/*! \brief What people read of an engine. */
std::string AboutOf(const EngineSource& source, double seconds) {
  ffi::json::Object about;
  const auto set = [&](const char* key, const std::string& text) {
    about.Set(ffi::String(key), ffi::String(Printable(text)));
  };
  set("vendor", source.vendor);
  set("version", source.version);
  set("segment", source.segment);
  set("equipment", source.equipment);
  ffi::json::Array of;
  for (const std::string& text : source.of) of.push_back(ffi::String(Printable(text)));
  about.Set(ffi::String("of"), of);
  about.Set(ffi::String("threads"), source.threads);
  about.Set(ffi::String("seconds"), seconds);
  about.Set(ffi::String("created"), static_cast<int64_t>(std::time(nullptr)));
  return std::string(ffi::json::Stringify(about, std::nullopt));
}

/*! \brief Which library this is: its file, as far as a new one differs. */
std::string CodeOf(const std::string& vendor) {
  const auto address = ffi::Function::GetGlobal("byoc.vendor." + vendor + ".address");
  Dl_info info;
  struct stat status;
  if (!address || dladdr(reinterpret_cast<void*>((*address)().cast<int64_t>()), &info) == 0 ||
      info.dli_fname == nullptr || stat(info.dli_fname, &status) != 0) {
    return "";
  }
  return std::to_string(status.st_size) + " " + std::to_string(status.st_mtim.tv_sec) + "." +
         std::to_string(status.st_mtim.tv_nsec);
}

std::string EquipmentOf(const std::string& vendor) {
  const auto find = ffi::Function::GetGlobal("byoc.vendor." + vendor + ".equipment");
  if (!find) return "";
  const auto found = (*find)().cast<ffi::Array<ffi::Any>>();
  std::string text;
  for (const ffi::String& device : found[0].cast<ffi::Array<ffi::String>>()) {
    text += std::string(device) + ", ";
  }
  return text + "driver " + std::string(found[1].cast<ffi::String>());
}

/*! \brief One attempt to have an engine from its store. */
bool LoadFrom(const EngineStore& store, const std::string& key, const EngineSource& source,
              const EngineMaker& maker) {
  const std::optional<ffi::Tensor> bytes = store.Find(key);
  if (!bytes) return false;
  std::string why;
  try {
    why = maker.load(*bytes);
  } catch (const ffi::Error& error) {
    why = error.what();
  }
  if (why.empty()) {
    Log(source.vendor, source.segment, kDebug, "its engine " + key + " was in the cache");
    return true;
  }
  store.SetAside(key);
  Log(source.vendor, source.segment, kWarning,
      "its engine " + key + " in " + store.folder() +
          " is of no use, it is set aside and built again: " + why);
  return false;
}

void KeepIn(const EngineStore& store, const std::string& key, const EngineSource& source,
            const EngineMaker& maker, double seconds) {
  const ffi::Any saved = maker.save();
  if (saved == nullptr) return;  // its vendor has said why
  std::string problem;
  const auto keep = [&](const void* data, uint64_t size) {
    return store.Keep(key, AboutOf(source, seconds), data, size, EngineLimit());
  };
  if (const auto tensor = saved.as<ffi::Tensor>()) {
    problem = keep(tensor->data_ptr(), ffi::GetDataSize(*tensor->GetDLTensorPtr()));
  } else {
    const auto bytes = saved.cast<ffi::Bytes>();
    problem = keep(bytes.data(), bytes.size());
  }
  if (problem.empty()) return;
  Log(source.vendor, source.segment, kInfo,
      "its engine is not kept in " + store.folder() + ": " + problem);
}

}  // namespace

uint64_t EngineLimit() {
  const char* text = std::getenv("BYOC_ENGINE_BYTES");
  if (text == nullptr || *text == '\0') return kLimit;
  char* end = nullptr;
  errno = 0;
  const unsigned long long limit = std::strtoull(text, &end, 10);
  if (errno == 0 && *end == '\0' && *text >= '0' && *text <= '9') return limit;
  TVM_FFI_THROW(ValueError) << "BYOC_ENGINE_BYTES must be a number of bytes, 0 or more, found "
                            << Quoted(text);
}

std::string EngineKey(const EngineSource& source) {
  Sha256 hash;
  const auto add = [&hash](const std::string& text) {
    // With its length, so that no two lists are one text.
    const std::string head = std::to_string(text.size()) + ":";
    hash.Update(head.data(), head.size());
    hash.Update(text.data(), text.size());
  };
  add("engine 1");
  for (const std::string* text :
       {&source.vendor, &source.version, &source.options, &source.code, &source.equipment}) {
    add(*text);
  }
  add(std::to_string(source.threads));
  add(MachineOf());
  add(ContentOf(source.blob));
  add(std::to_string(source.constants.size()));
  for (const ffi::Tensor& constant : source.constants) {
    add(TypeOf(constant));
    add(ContentOf(constant));
  }
  for (const std::string& text : source.of) add(text);
  return hash.Hex().substr(0, 40);
}

void MakeEngine(const EngineSource& source, const EngineMaker& maker) {
  using Clock = std::chrono::steady_clock;
  const EngineStore store = EngineLimit() > 0 ? EngineStore::OfUser() : EngineStore("");
  if (store.folder().empty()) {
    maker.build();
    return;
  }
  const std::string key = EngineKey(source);
  if (LoadFrom(store, key, source, maker)) return;
  const Clock::time_point begin = Clock::now();
  BuildLock lock(store.folder(), key);
  bool mine = lock.Try();
  if (!mine) {
    Log(source.vendor, source.segment, kInfo,
        "its engine is being built by another process or thread, which is waited for");
  }
  while (!mine && Clock::now() - begin < kPatience) {
    std::this_thread::sleep_for(kPause);
    mine = lock.Try();
  }
  if (LoadFrom(store, key, source, maker)) return;
  const Clock::time_point build = Clock::now();
  maker.build();
  KeepIn(store, key, source, maker, Seconds(Clock::now() - build));
}

void MakeEngineHere(const std::vector<std::string>& of, const EngineMaker& maker) {
  const SegmentSource* here = SegmentAtHand();
  if (here == nullptr) {
    maker.build();
    return;
  }
  MakeEngine({here->vendor, here->version, here->name, here->blob, here->constants, here->options,
              threads::Max(), CodeOf(here->vendor), EquipmentOf(here->vendor), of},
             maker);
}

}  // namespace byoc
