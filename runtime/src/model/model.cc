#include "model/model.h"

#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "artifact/artifact_file.h"
#include "artifact/libraries.h"
#include "artifact/machine.h"
#include "artifact/signature.h"
#include "core/buffer.h"
#include "core/errors.h"
#include "core/text.h"
#include "core/thread_pool.h"
#include "guard/guard.h"
#include "plan/assemble.h"
#include "plan/binding.h"
#include "plan/flow.h"
#include "plan/plan.h"
#include "plan/segment_check.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

/*! \brief The plan's ports are those the manifest declares. */
void CheckPorts(const char* kind, const std::vector<PlanPort>& ports, const Plan& plan,
                const std::vector<ManifestPort>& declared) {
  bool same = ports.size() == declared.size();
  for (size_t i = 0; same && i < ports.size(); ++i) {
    const PlanTensor& t = plan.tensors[ports[i].tensor];
    same = ports[i].name == declared[i].name && t.shape == declared[i].shape &&
           std::string(ffi::DLDataTypeToString(t.dtype)) == declared[i].dtype;
  }
  if (!same) {
    ThrowArtifactError(std::string(kind) + "s of the plan and of the model differ");
  }
}

std::vector<int64_t> SizesOf(const ffi::Array<ffi::Tensor>& arrays) {
  std::vector<int64_t> sizes;
  for (const ffi::Tensor& array : arrays) {
    sizes.push_back(static_cast<int64_t>(ffi::GetDataSize(*array.GetDLTensorPtr())));
  }
  return sizes;
}

/*! \brief Inputs and outputs of a segment, as far as the plan calls it. */
PortCounts PortsOf(const Plan& plan, const std::string& segment) {
  for (const PlanTask& task : plan.tasks) {
    if (task.kind == TaskKind::kSegment && task.function == segment) {
      return {static_cast<int64_t>(task.args.size() - task.outputs),
              static_cast<int64_t>(task.outputs)};
    }
  }
  return {};
}

/*! \brief [name, dtype, [dimension]] of each. */
ffi::Array<ffi::Any> PortsForVendor(const std::vector<ManifestPort>& ports) {
  ffi::Array<ffi::Any> told;
  for (const ManifestPort& port : ports) {
    ffi::Array<ffi::String> dims;
    for (const std::string& dim : port.dims) dims.push_back(dim);
    told.push_back(ffi::Array<ffi::Any>{ffi::String(port.name), ffi::String(port.dtype), dims});
  }
  return told;
}

std::string Message(const std::string& what, const ffi::Error& error) {
  return what + ": " + std::string(error.kind()) + ": " + std::string(error.message());
}

/*! \brief Models that live, by what they were made of. */
struct Registry {
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<const Model>> models;
};

Registry& Models() {
  static auto* registry = new Registry;
  return *registry;
}

}  // namespace

std::shared_ptr<const Model> Model::Load(const std::string& path, const Options& options) {
  std::optional<PublicKey> trusted;
  if (options.require_signature != nullptr) trusted = ReadPublicKey(options.require_signature);
  try {
    ArtifactFile file(path);
    if (trusted) file.CheckSignature(*trusted);
    const Manifest& manifest = file.manifest();
    if (!manifest.is_plan) {
      ThrowArtifactError("model " + Quoted(manifest.name) +
                         " has symbolic shapes or control flow and runs on TVM's VM, which byoc "
                         "drives from Python only; compile it with fixed shapes, or load it in "
                         "Python");
    }
    CheckMachine(manifest, /*tvm=*/"");
    const std::vector<std::string> folders = LibraryFolders(options.library_path);
    for (const ManifestVendor& vendor : manifest.vendors) CheckVendor(vendor, folders);
    if (options.isolation && !manifest.isolated.empty()) {
      ThrowVendorError("vendor " + Quoted(manifest.isolated[0]) +
                       " is to run in a process of its own, which only Python starts; set "
                       "byoc_options.no_isolation to run it in this process, or load the file in "
                       "Python");
    }
    file.Verify();
    const std::string key = file.digest() + " threads " +
                            std::to_string(thread_pool::NumThreads()) +
                            (ChecksWanted() ? " checked" : "");
    Registry& registry = Models();
    // Held while a model loads: the next session of the same file waits for it and shares it.
    std::lock_guard<std::mutex> lock(registry.mutex);
    const std::shared_ptr<const Model> known = registry.models[key].lock();
    // Of a file whose signature counts nothing may be mapped.
    const bool fits = known != nullptr && (!trusted || known->watch_ == nullptr);
    if (fits && known->Unchanged()) return known;
    std::shared_ptr<Model> model(new Model(manifest));
    model->Read(&file, folders);
    model->watch_ = file.watch();
    if (!model->Unchanged()) ThrowArtifactError("the file was written to while it was loaded");
    for (auto it = registry.models.begin(); it != registry.models.end();) {
      it = it->second.expired() ? registry.models.erase(it) : std::next(it);
    }
    registry.models[key] = model;
    return model;
  } catch (const ffi::Error& error) {
    if (std::string(error.kind()) != "byoc.ArtifactError") throw;
    ThrowArtifactError(Printable(path) + ": " + std::string(error.message()));
  }
}

void Model::Read(ArtifactFile* file, const std::vector<std::string>& folders) {
  for (size_t i = 0; i < manifest_.arrays.size(); ++i) arrays_.push_back(file->Array(i));
  plan_ = ToString(file->Take("plan.json"));
  constants_ = Pick(manifest_.constants, "the plan");
  const Plan plan = ParsePlan(plan_, SizesOf(constants_));
  for (const auto& [name, numbers] : manifest_.twins) {
    Twin twin{ToString(file->Take("twins/" + name + ".json")),
              Pick(numbers, "the twin of segment " + Quoted(name)), 0};
    const Plan fallback = ParseFallback(name, twin.plan, SizesOf(twin.constants));
    CheckFallback(plan, name, fallback);
    twin.outputs = fallback.outputs.size();
    twins_[name] = std::move(twin);
  }
  if (manifest_.has_host) {
    const ffi::Tensor host = file->Take("host.so");
    const auto size = static_cast<size_t>(host.shape()[0]);
    memory_.code += size;
    host_ = LoadHost(static_cast<const char*>(host.data_ptr()), size);
  }
  CheckRequirements(folders);
  std::set<size_t> in_use(manifest_.constants.begin(), manifest_.constants.end());
  for (const ManifestSegment& segment : manifest_.segments) {
    if (manifest_.Vendor(segment.vendor) == nullptr) {
      ThrowArtifactError("segment '" + segment.name + "' needs vendor '" + segment.vendor +
                         "', which the program does not list");
    }
    vendors_.Set(segment.name, segment.vendor);
    const ffi::Tensor blob = file->Take("segments/" + segment.name + ".bin");
    if (missing_.count(segment.name) != 0) continue;
    if (blob.shape()[0] == 0 && manifest_.Vendor(segment.vendor)->runtime == VendorRuntime::kHost) {
      continue;  // its kernels are tasks of the plan
    }
    try {
      segments_.Set(segment.name,
                    BindVendor(segment, blob, folders, PortsOf(plan, segment.name), &in_use));
    } catch (const ffi::Error& error) {
      if (!MayFallBack(segment.name) || std::string(error.kind()) != "byoc.VendorError") throw;
      missing_[segment.name] = {"load", std::string(error.message())};
    }
  }
  std::map<int64_t, size_t> weight_bytes;  // by offset: equal arrays are one
  for (size_t i : in_use) {
    weight_bytes[manifest_.arrays[i].offset] = ffi::GetDataSize(*arrays_[i].GetDLTensorPtr());
  }
  for (const auto& [offset, bytes] : weight_bytes) memory_.weights += bytes;
}

bool Model::MayFallBack(const std::string& segment) const {
  return manifest_.refusals && twins_.count(segment) != 0;
}

/*! \brief Before any segment is loaded: what was not built, and what cannot run here. */
void Model::CheckRequirements(const std::vector<std::string>& folders) {
  for (const auto& [segment, why] : manifest_.refused) missing_[segment] = {"build", why};
  for (const ManifestSegment& segment : manifest_.segments) {
    const ManifestVendor* vendor = manifest_.Vendor(segment.vendor);
    if (vendor == nullptr || missing_.count(segment.name) != 0) continue;
    ffi::Optional<ffi::Array<ffi::Any>> equipment;
    if (NeedsEquipment(segment.needs)) {
      LoadVendor(*vendor, folders);
      const auto find = ffi::Function::GetGlobal("byoc.vendor." + vendor->name + ".equipment");
      if (find) equipment = (*find)().cast<ffi::Array<ffi::Any>>();
    }
    const std::string missing = byoc::Missing(segment.needs, equipment);
    if (missing.empty()) continue;
    const std::string what =
        "vendor " + Quoted(vendor->name) + ": segment " + Quoted(segment.name) + " " + missing;
    if (!MayFallBack(segment.name)) ThrowVendorError(what);
    missing_[segment.name] = {"load", what};
  }
}

ffi::Array<ffi::Tensor> Model::Pick(const std::vector<size_t>& numbers,
                                    const std::string& what) const {
  ffi::Array<ffi::Tensor> picked;
  for (size_t n : numbers) {
    if (n >= arrays_.size()) {
      ThrowArtifactError(what + " refers to an array that is not in the table");
    }
    picked.push_back(arrays_[n]);
  }
  return picked;
}

ffi::Function Model::BindVendor(const ManifestSegment& segment, const ffi::Tensor& blob,
                                const std::vector<std::string>& folders, PortCounts ports,
                                std::set<size_t>* in_use) {
  const ManifestVendor& vendor = *manifest_.Vendor(segment.vendor);
  const ffi::Function init = LoadVendor(vendor, folders);
  const ffi::Array<ffi::Tensor> constants =
      Pick(segment.constants, "segment '" + segment.name + "'");
  const std::string who = "vendor '" + vendor.name + "', segment '" + segment.name + "'";
  try {
    std::vector<ffi::Function> devices;
    for (const std::string& device : DevicesOf(vendor.name, vendor.processor, -1)) {
      Binding binding = BindSegment(
          init, SegmentSource{vendor.name, vendor.version, device, vendor.options, segment.name,
                              blob, constants, ports, PortsForVendor(segment.inputs),
                              PortsForVendor(segment.outputs)});
      memory_.packed += binding.packed;
      memory_.workspace += binding.workspace;
      for (size_t i : binding.in_use) in_use->insert(segment.constants[i]);
      devices.push_back(std::move(binding.execute));
    }
    if (BringsCode(vendor)) memory_.code += blob.shape()[0];
    return OfDevices(std::move(devices));
  } catch (const ffi::Error& error) {
    if (std::string(error.kind()) == "byoc.VendorError") throw;
    ThrowVendorError(Message(who + " could not be loaded", error));
  } catch (const std::exception& error) {
    ThrowVendorError(who + " could not be loaded: " + error.what());
  }
}

/*! \brief A segment with its host twin behind it, or the twin alone. */
ffi::Function Model::Healed(const std::string& segment, size_t outputs,
                            const OnFault& on_fault) const {
  const Twin& twin = twins_.at(segment);
  const std::string vendor = *vendors_.Get(segment);
  const auto make_twin = [plan = twin.plan, constants = twin.constants, host = host_] {
    return FallbackFunction(NewExecutor(plan, host, {}, {}, constants), host);
  };
  const auto missing = missing_.find(segment);
  if (missing != missing_.end()) {
    const auto& [kind, why] = missing->second;
    if (on_fault) on_fault(segment, vendor, kind, why, 1, true);
    return make_twin();
  }
  if (manifest_.deadline > 0 && manifest_.Vendor(vendor)->processor == "cpu") {
    ThrowArtifactError("segment '" + segment + "' of vendor '" + vendor +
                       "' runs on processor 'cpu', where calls can have no deadline");
  }
  Guard::Report report;
  if (on_fault) {
    report = [=](const std::string& kind, const std::string& message, int64_t number,
                 bool replaced) { on_fault(segment, vendor, kind, message, number, replaced); };
  }
  auto guard = std::make_shared<Guard>(
      segment, *segments_.Get(segment), outputs, make_twin,
      Guard::Limits{manifest_.failures, manifest_.deadline, manifest_.check_nan}, report);
  return ffi::Function::FromPacked([guard](ffi::PackedArgs args, ffi::Any*) { guard->Call(args); });
}

std::shared_ptr<Executor> Model::NewSession(bool heal, const OnFault& on_fault) const {
  ffi::Map<ffi::String, ffi::Function> segments = segments_;
  for (const auto& [name, twin] : twins_) {
    if (!heal) break;
    if (vendors_.count(name) == 0) {
      ThrowArtifactError("there is a host twin of '" + name + "', but no segment");
    }
    segments.Set(name, Healed(name, twin.outputs, on_fault));
  }
  for (const auto& [name, what] : missing_) {
    if (segments.count(name) != 0) continue;
    ThrowVendorError("segment '" + name + "' of vendor '" + std::string(*vendors_.Get(name)) +
                     "' was not built, and there is no host twin to run instead: " + what.second);
  }
  auto executor = NewExecutor(plan_, host_, segments, vendors_, constants_);
  CheckPorts("input", executor->plan().inputs, executor->plan(), manifest_.inputs);
  CheckPorts("output", executor->plan().outputs, executor->plan(), manifest_.outputs);
  return executor;
}

ModelMemory Model::Memory() const { return memory_; }

}  // namespace byoc
