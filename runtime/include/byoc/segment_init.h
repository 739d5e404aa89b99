/// \file
/// What a native vendor's `init` receives (part of byoc/vendor.h, which includes it).
///
/// A library that is run by an older byoc, or by TVM's own modules, gets the artifact alone: then
/// `segment` is empty, and what stands below it has its defaults.
#ifndef BYOC_SEGMENT_INIT_H_
#define BYOC_SEGMENT_INIT_H_

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace byoc {

/// An input or output of a segment.
struct SegmentPort {
  std::string name;   ///< as the model calls it
  std::string dtype;  ///< as numpy spells it: "float32", "bool"
  /// One number per axis; -1 where it is known at run time only.
  std::vector<int64_t> shape;
  /// The same as text: "64", "n", "n * 12". Equal names are equal numbers, in all ports.
  std::vector<std::string> dims;
};

/// How much a line of the log matters; the numbers are Python's.
enum class LogLevel : int { kDebug = 10, kInfo = 20, kWarning = 30, kError = 40 };

/// Where a segment writes what its users may want to read: Python's logger "byoc.vendor.<vendor>",
/// and the standard error (from warnings on) in programs without Python. Any thread; may be copied.
class SegmentLog {
 public:
  SegmentLog() = default;
  SegmentLog(std::string vendor, std::string segment)
      : vendor_(std::move(vendor)), segment_(std::move(segment)) {}
  void operator()(LogLevel level, std::string_view text) const {
    static const auto log = tvm::ffi::Function::GetGlobal("byoc.runtime.log");
    if (!log) return;
    (*log)(tvm::ffi::String(vendor_), tvm::ffi::String(segment_), static_cast<int64_t>(level),
           tvm::ffi::String(text.data(), text.size()));
  }

 private:
  std::string vendor_, segment_;
};

/// What `init` receives. The views are valid during the call only.
struct SegmentInit {
  /// The artifact's blob, as the vendor's compile() wrote it. It may be mapped from the model's
  /// file, and its memory is given back after the call.
  std::string_view blob;
  /// The artifact's constants, in its order; dense, aligned to their element at least, read-only
  /// (they may be pages of a mapped file). Keep a copy of the `Tensor` to go on using its memory;
  /// after packing one into a layout of your own, let it go and call `ReleasePages`.
  tvm::ffi::Array<tvm::ffi::Tensor> constants;
  /// The vendor's options as one JSON object.
  std::string_view options;

  std::string vendor;     ///< the vendor's name
  std::string segment;    ///< the segment's name: unique in its model, for messages
  std::string version;    ///< of the vendor that compiled it
  std::string processor;  ///< the name of the queue that it runs on
  int threads = 1;        ///< how many of the CPU's threads it has (byoc/threads.h)
  /// In the order of `Execute`; empty where a file of an older byoc does not tell.
  std::vector<SegmentPort> inputs, outputs;
  SegmentLog log;

  /// Returns a name of a constant's content: equal names are equal dtypes, shapes and bytes, in
  /// whatever segment, model or process. It reads all bytes; for `Shared`, or a file's name.
  std::string Key(size_t constant) const {
    static const auto key = tvm::ffi::Function::GetGlobal("byoc.runtime.weight_key");
    if (!key) return "";
    const tvm::ffi::Tensor tensor = constants[static_cast<int64_t>(constant)];
    return std::string((*key)(tensor).cast<tvm::ffi::String>());
  }

  /// Returns a folder for files that make the next start quicker, the vendor's own; it is there.
  /// Empty where no folder can be written. Other processes use it at the same time.
  std::string CacheFolder() const {
    static const auto folder = tvm::ffi::Function::GetGlobal("byoc.runtime.vendor_cache");
    return folder ? std::string((*folder)(tvm::ffi::String(vendor)).cast<tvm::ffi::String>()) : "";
  }

  /// Returns an engine that takes long to build: loaded, where this machine has built the same one
  /// before, else built and kept. Processes that want it at once wait for the first. Within `init`.
  ///
  ///   auto engine = init.Engine<std::unique_ptr<Engine>>(
  ///       {acme_version(), acme_device_name()}, [&] { return Build(init.blob); },
  ///       [](const auto& engine) { return engine->Serialize(); },
  ///       [](std::string_view bytes) { return Deserialize(bytes); });
  ///
  /// \param of what it depends on beside blob, constants, options, the vendor's version and
  /// library,
  ///     threads, the CPU and what the vendor tells of its devices: versions of your libraries.
  /// \param build () -> T.
  /// \param save (const T&) -> std::string: what `load` is given the next time.
  /// \param load (std::string_view) -> T. The bytes are mapped, at a multiple of 64 bytes, and
  /// valid
  ///     during the call. When it throws, the engine is set aside and built again.
  template <typename T, typename Build, typename Save, typename Load>
  T Engine(const std::vector<std::string>& of, Build build, Save save, Load load) const {
    using tvm::ffi::Any, tvm::ffi::Array, tvm::ffi::Bytes, tvm::ffi::Function, tvm::ffi::String,
        tvm::ffi::Tensor;
    static const auto cached = Function::GetGlobal("byoc.runtime.engine");
    if (!cached) return build();  // an older byoc
    std::optional<T> engine;
    std::exception_ptr failed;  // an exception of the vendor's own stays what it is
    const auto load_it = [&](const Tensor& bytes) -> String {
      try {
        engine.emplace(load(std::string_view(static_cast<const char*>(bytes.data_ptr()),
                                             static_cast<size_t>(bytes.shape()[0]))));
        return "";
      } catch (const std::exception& error) {
        return *error.what() != '\0' ? error.what() : "an exception without words";
      } catch (...) {
        return "it threw no std::exception";
      }
    };
    const auto build_it = [&] {
      try {
        engine.emplace(build());
      } catch (...) {
        failed = std::current_exception();
        throw tvm::ffi::Error("RuntimeError", "the engine could not be built", "");
      }
    };
    const auto save_it = [&]() -> Any {
      try {
        const std::string bytes = save(*engine);
        return Bytes(bytes.data(), bytes.size());
      } catch (...) {  // the engine is there all the same
        log(LogLevel::kWarning, "its engine is not kept: it could not be saved");
        return nullptr;
      }
    };
    Array<String> names;
    for (const std::string& name : of) names.push_back(name);
    try {
      (*cached)(names, Array<Function>{Function::FromTyped(load_it), Function::FromTyped(build_it),
                                       Function::FromTyped(save_it)});
    } catch (...) {
      if (failed) std::rethrow_exception(failed);
      throw;
    }
    return std::move(*engine);
  }
};

/// Values that segments share for as long as one of them holds them: a weight that is in several
/// segments is packed once.
///
///   static Shared<Packed> packed;                        // one for the process
///   weight_ = packed.Get(init.Key(0) + " blocked 16", [&] { return Pack(init.constants[0]); });
///
/// Any thread; while one makes a value, others that want it wait.
template <typename T>
class Shared {
 public:
  /// \param key of the content and of all else that the value depends on; empty: not shared.
  /// \param make returns a T.
  template <typename Make>
  std::shared_ptr<const T> Get(const std::string& key, Make make) {
    if (key.empty()) return std::make_shared<const T>(make());
    const std::shared_ptr<Entry> entry = At(key);
    std::lock_guard<std::mutex> lock(entry->mutex);
    std::shared_ptr<const T> value = entry->value.lock();
    if (value == nullptr) {
      value = std::make_shared<const T>(make());
      entry->value = value;
    }
    return value;
  }

 private:
  struct Entry {
    std::mutex mutex;
    std::weak_ptr<const T> value;
  };
  std::shared_ptr<Entry> At(const std::string& key) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto it = entries_.begin(); it != entries_.end();) {
      // Nobody is about to fill it, and what it held is gone.
      const bool over = it->second.use_count() == 1 && it->second->value.expired();
      it = over ? entries_.erase(it) : std::next(it);
    }
    std::shared_ptr<Entry>& entry = entries_[key];
    if (entry == nullptr) entry = std::make_shared<Entry>();
    return entry;
  }

  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Entry>> entries_;
};

namespace details {

inline std::vector<SegmentPort> PortsOf(const tvm::ffi::Any& told) {
  std::vector<SegmentPort> ports;
  for (const auto& fields : told.cast<tvm::ffi::Array<tvm::ffi::Array<tvm::ffi::Any>>>()) {
    SegmentPort port;
    port.name = std::string(fields[0].cast<tvm::ffi::String>());
    port.dtype = std::string(fields[1].cast<tvm::ffi::String>());
    for (const auto& dim : fields[2].cast<tvm::ffi::Array<tvm::ffi::String>>()) {
      port.dims.emplace_back(dim);
      const std::string& text = port.dims.back();
      const bool number = !text.empty() && text.find_first_not_of("0123456789") == text.npos;
      port.shape.push_back(number ? std::strtoll(text.c_str(), nullptr, 10) : -1);
    }
    ports.push_back(std::move(port));
  }
  return ports;
}

/// What byoc, which has just called `init` on this thread, tells of the segment beside its
/// artifact; keys that are not there keep their defaults.
///
/// \param blob holds the blob while `init` runs.
inline void AskByoc(SegmentInit* init, tvm::ffi::Any* blob) {
  using tvm::ffi::Any, tvm::ffi::Map, tvm::ffi::String, tvm::ffi::Tensor;
  static const auto ask = tvm::ffi::Function::GetGlobal("byoc.runtime.segment_context");
  if (!ask) return;
  const Any told = (*ask)();
  if (told == nullptr) return;
  const auto context = told.cast<Map<String, Any>>();
  const auto text = [&](const char* key, std::string* field) {
    if (const auto value = context.Get(key)) *field = std::string((*value).cast<String>());
  };
  text("segment", &init->segment);
  text("version", &init->version);
  text("processor", &init->processor);
  if (const auto threads = context.Get("threads")) init->threads = (*threads).cast<int>();
  if (const auto inputs = context.Get("inputs")) init->inputs = PortsOf(*inputs);
  if (const auto outputs = context.Get("outputs")) init->outputs = PortsOf(*outputs);
  if (const auto bytes = context.Get("blob")) {
    *blob = *bytes;
    const auto tensor = (*bytes).cast<Tensor>();
    init->blob = std::string_view(static_cast<const char*>(tensor.data_ptr()),
                                  static_cast<size_t>(tensor.shape()[0]));
  }
  init->log = SegmentLog(init->vendor, init->segment);
}

}  // namespace details
}  // namespace byoc

#endif  // BYOC_SEGMENT_INIT_H_
