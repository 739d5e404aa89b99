#include "plan/plan.h"

#include <tvm/ffi/c_api.h>
#include <tvm/ffi/dtype.h>

#include <algorithm>
#include <utility>

#include "core/buffer.h"
#include "core/errors.h"
#include "core/json_view.h"
#include "plan/flow.h"

namespace byoc {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 48;  // of any space; sums of two cannot overflow
constexpr int64_t kMaxRank = 64;

/// One of `names`, as its position.
size_t Choice(const JsonView& value, const std::vector<std::string>& names) {
  const std::string found = value.String();
  const auto it = std::find(names.begin(), names.end(), found);
  if (it == names.end()) {
    std::string legal;
    for (const std::string& name : names) legal += (legal.empty() ? "" : ", ") + name;
    value.Fail("unknown '" + found + "'; legal: " + legal);
  }
  return static_cast<size_t>(it - names.begin());
}

DLDataType ReadDtype(const JsonView& value) {
  const std::string name = value.String();
  DLDataType dtype{};
  const TVMFFIByteArray text{name.data(), name.size()};
  if (TVMFFIDataTypeFromString(&text, &dtype) != 0) {
    TVMFFIObjectHandle error = nullptr;
    TVMFFIErrorMoveFromRaised(&error);
    if (error != nullptr) TVMFFIObjectDecRef(error);
    value.Fail("unknown dtype '" + name + "'");
  }
  if (dtype.lanes != 1 || dtype.bits == 0 || dtype.bits % 8 != 0 || dtype.code == kDLOpaqueHandle) {
    value.Fail("dtype '" + name + "' has no whole bytes per element");
  }
  return dtype;
}

PlanTensor ReadTensor(const JsonView& json) {
  PlanTensor t;
  t.shape = json["shape"].Ints(0, kMaxBytes);
  if (t.shape.size() > kMaxRank) json["shape"].Fail("more than 64 dimensions");
  t.dtype = ReadDtype(json["dtype"]);
  t.space =
      static_cast<MemorySpace>(Choice(json["place"], {"input", "output", "constant", "arena"}));
  t.index = static_cast<size_t>(json["index"].Int(0, INT32_MAX));
  t.offset = json["offset"].Int(0, kMaxBytes);
  t.nbytes = static_cast<int64_t>(t.itemsize());
  const bool empty = std::find(t.shape.begin(), t.shape.end(), 0) != t.shape.end();
  for (int64_t dim : t.shape) {
    if (empty) break;
    if (t.nbytes > kMaxBytes / dim) json["shape"].Fail("more than 2^48 bytes");
    t.nbytes *= dim;
  }
  if (empty) t.nbytes = 0;
  if (t.offset % static_cast<int64_t>(t.itemsize()) != 0) {
    json["offset"].Fail("not a multiple of the element size");
  }
  return t;
}

std::vector<PlanPort> ReadPorts(const JsonView& json, MemorySpace space,
                                const std::vector<PlanTensor>& tensors) {
  std::vector<PlanPort> ports;
  for (const JsonView& item : json.Items()) {
    PlanPort port{item["name"].String(), 0};
    port.tensor =
        static_cast<size_t>(item["tensor"].Int(0, static_cast<int64_t>(tensors.size()) - 1));
    const PlanTensor& t = tensors[port.tensor];
    if (t.space != space || t.index != ports.size() || t.offset != 0) {
      item.Fail("tensor " + std::to_string(port.tensor) + " is not the whole of port " +
                std::to_string(ports.size()));
    }
    ports.push_back(std::move(port));
  }
  return ports;
}

std::vector<size_t> Indices(const JsonView& json, size_t end) {
  std::vector<size_t> result;
  for (int64_t i : json.Ints(0, static_cast<int64_t>(end) - 1)) {
    result.push_back(static_cast<size_t>(i));
  }
  return result;
}

PlanTask ReadTask(const JsonView& json, size_t id, const std::vector<PlanTensor>& tensors) {
  PlanTask task;
  task.kind = static_cast<TaskKind>(Choice(json["kind"], {"host", "segment", "copy"}));
  task.function = json["function"].String();
  task.args = Indices(json["args"], tensors.size());
  task.outputs =
      static_cast<size_t>(json["outputs"].Int(1, static_cast<int64_t>(task.args.size())));
  task.deps = Indices(json["deps"], id);  // earlier tasks only: no cycles
  task.processor = json["processor"].String();
  task.source = json["source"].Strings();
  if (auto segment = json.Find("segment")) task.segment = segment->String();
  if (task.kind == TaskKind::kCopy) {
    if (task.args.size() != 2 || task.outputs != 1 ||
        tensors[task.args[0]].nbytes != tensors[task.args[1]].nbytes) {
      json.Fail("a copy takes one tensor and writes one of the same size");
    }
  } else if (task.function.empty()) {
    json["function"].Fail("must name a function");
  }
  if (task.processor.empty()) json["processor"].Fail("must name a processor");
  return task;
}

/// Every window inside its memory space.
void CheckWindows(const Plan& plan, const std::vector<int64_t>& constant_bytes) {
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const PlanTensor& t = plan.tensors[i];
    int64_t room = plan.arena_bytes;
    size_t count = 1;
    const auto port_bytes = [&](const std::vector<PlanPort>& ports) {
      count = ports.size();
      return t.index < count ? plan.tensors[ports[t.index].tensor].nbytes : 0;
    };
    switch (t.space) {
      case MemorySpace::kInput:
        room = port_bytes(plan.inputs);
        break;
      case MemorySpace::kOutput:
        room = port_bytes(plan.outputs);
        break;
      case MemorySpace::kConstant:
        count = constant_bytes.size();
        room = t.index < count ? constant_bytes[t.index] : 0;
        break;
      case MemorySpace::kArena:
        break;
    }
    const std::string where = "plan: tensor " + std::to_string(i);
    if (t.index >= count) {
      ThrowArtifactError(where + ": index " + std::to_string(t.index) + " of " +
                         std::to_string(count));
    }
    if (t.offset + t.nbytes > room) {
      ThrowArtifactError(where + ": bytes " + std::to_string(t.offset) + " to " +
                         std::to_string(t.offset + t.nbytes) + " of " + std::to_string(room));
    }
  }
}

/// Tasks write where writing is allowed, aligned for who writes.
void CheckTasks(const Plan& plan) {
  for (size_t id = 0; id < plan.tasks.size(); ++id) {
    const PlanTask& task = plan.tasks[id];
    const size_t inputs = task.args.size() - task.outputs;
    for (size_t a = 0; a < task.args.size(); ++a) {
      const PlanTensor& t = plan.tensors[task.args[a]];
      const std::string where = "plan: " + Describe(plan, id) + ": argument " + std::to_string(a);
      if (task.kind == TaskKind::kHost && t.offset % static_cast<int64_t>(kAlignment) != 0) {
        ThrowArtifactError(where +
                           ": a host kernel needs tensors at multiples of 64 bytes, found " +
                           std::to_string(t.offset));
      }
      if (a < inputs) continue;
      if (t.space == MemorySpace::kInput || t.space == MemorySpace::kConstant) {
        ThrowArtifactError(where + ": writes to an input or constant");
      }
      for (size_t b = 0; b < a; ++b) {
        if (t.nbytes > 0 && Overlap(t, plan.tensors[task.args[b]])) {
          ThrowArtifactError(where + ": overlaps argument " + std::to_string(b));
        }
      }
    }
  }
}

}  // namespace

bool Overlap(const PlanTensor& a, const PlanTensor& b) {
  return a.space == b.space && a.index == b.index && a.offset < b.offset + b.nbytes &&
         b.offset < a.offset + a.nbytes;
}

std::string Describe(const Plan& plan, size_t id) {
  static const char* const kKinds[] = {"host kernel", "segment", "copy"};
  const PlanTask& task = plan.tasks[id];
  std::string text = kKinds[static_cast<size_t>(task.kind)];
  if (!task.function.empty()) text += " '" + task.function + "'";
  text += " (task " + std::to_string(id);
  constexpr size_t kMaxNames = 4;
  for (size_t i = 0; i < std::min(task.source.size(), kMaxNames); ++i) {
    text += (i == 0 ? ", from '" : "', '") + task.source[i];
  }
  if (!task.source.empty()) text += "'";
  if (task.source.size() > kMaxNames) {
    text += " and " + std::to_string(task.source.size() - kMaxNames) + " more";
  }
  return text + ")";
}

Plan ParsePlan(const std::string& text, const std::vector<int64_t>& constant_bytes) {
  const JsonView json = JsonView::Parse(text, "plan");
  const int64_t version = json["version"].Int(0, INT64_MAX);
  if (version != kPlanVersion) {
    ThrowArtifactError("plan has version " + std::to_string(version) +
                       ", this byoc reads version " + std::to_string(kPlanVersion));
  }
  Plan plan;
  for (const JsonView& item : json["tensors"].Items()) plan.tensors.push_back(ReadTensor(item));
  plan.inputs = ReadPorts(json["inputs"], MemorySpace::kInput, plan.tensors);
  plan.outputs = ReadPorts(json["outputs"], MemorySpace::kOutput, plan.tensors);
  for (const JsonView& item : json["tasks"].Items()) {
    plan.tasks.push_back(ReadTask(item, plan.tasks.size(), plan.tensors));
  }
  plan.arena_bytes = json["arena_bytes"].Int(0, kMaxBytes);
  if (auto scratch = json.Find("scratch_bytes")) plan.scratch_bytes = scratch->Int(0, kMaxBytes);
  CheckWindows(plan, constant_bytes);
  CheckTasks(plan);
  CheckFlow(plan);
  return plan;
}

}  // namespace byoc
