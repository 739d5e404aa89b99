/*
 * The plan is walked once, in its order. Of the arena and of each output a map of pieces is kept:
 * which task wrote these bytes last, and who has read them since.
 *
 *   task 0 writes    │0000000000000000│
 *   task 1 writes    │0000│11111111│00│
 *   task 2 reads          │11111111│       its writer, task 1, must be among those it depends on
 *
 * Who writes over a piece must come after its writer and all its readers. "After" is told by vector
 * clocks: for each task, how many tasks of every processor have ended when it begins.
 */
#include "plan/flow.h"

#include <tvm/ffi/dtype.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

#include "core/errors.h"
#include "core/text.h"

namespace byoc {
namespace {

constexpr size_t kMaxLanes = 64;         // each is a thread
constexpr int64_t kMaxSteps = 50000000;  // a plan of 10 000 tasks takes some 100 000

class Flow {
 public:
  explicit Flow(const Plan& plan) : plan_(plan), spaces_(1 + plan.outputs.size()) {
    std::map<std::string, size_t> lanes;
    for (const PlanTask& task : plan.tasks) {
      lane_.push_back(lanes.emplace(task.processor, lanes.size()).first->second);
      if (lanes.size() > kMaxLanes) {
        ThrowArtifactError("plan: more than " + std::to_string(kMaxLanes) + " processors");
      }
    }
    lane_count_ = lanes.size();
    clocks_.resize(plan.tasks.size() * lane_count_);
  }

  void Check() {
    std::vector<size_t> last(lane_count_, kNone);
    std::vector<uint32_t> ended(lane_count_, 0);
    for (size_t id = 0; id < plan_.tasks.size(); ++id) {
      if (last[lane_[id]] != kNone) Follow(id, last[lane_[id]]);
      for (size_t dep : plan_.tasks[id].deps) Follow(id, dep);
      position_.push_back(++ended[lane_[id]]);
      last[lane_[id]] = id;
      Read(id);
      Write(id);
    }
    for (size_t i = 0; i < plan_.outputs.size(); ++i) CheckOutput(i);
  }

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);

  /// Bytes from a map's key to `end`.
  struct Piece {
    int64_t end;
    size_t writer;
    std::vector<size_t> readers;  // since it was written; of each lane the last
  };
  using Space = std::map<int64_t, Piece>;

  Space* SpaceOf(const PlanTensor& t) {
    if (t.nbytes == 0) return nullptr;
    if (t.space == MemorySpace::kArena) return &spaces_[0];
    return t.space == MemorySpace::kOutput ? &spaces_[1 + t.index] : nullptr;
  }

  /// Task `id` begins after `before` has ended, and after all that this one followed.
  void Follow(size_t id, size_t before) {
    Count(static_cast<int64_t>(lane_count_));
    uint32_t* clock = &clocks_[id * lane_count_];
    for (size_t lane = 0; lane < lane_count_; ++lane) {
      clock[lane] = std::max(clock[lane], clocks_[before * lane_count_ + lane]);
    }
    clock[lane_[before]] = std::max(clock[lane_[before]], position_[before]);
  }

  bool IsAfter(size_t id, size_t before) const {
    return clocks_[id * lane_count_ + lane_[before]] >= position_[before];
  }

  void Count(int64_t steps) {
    steps_ += steps;
    if (steps_ > kMaxSteps) ThrowArtifactError("plan: its memory is too entangled to be checked");
  }

  [[noreturn]] void Fail(size_t id, const std::string& problem) const {
    ThrowArtifactError("plan: " + Describe(plan_, id) + " " + problem);
  }

  static std::string Bytes(const PlanTensor& t) {
    const char* space = t.space == MemorySpace::kArena ? "the arena" : "an output";
    return "bytes " + std::to_string(t.offset) + " to " + std::to_string(t.offset + t.nbytes) +
           " of " + space;
  }

  /// Makes `at` the border of two pieces.
  void Split(Space* space, int64_t at) {
    auto next = space->lower_bound(at);
    if (next == space->begin()) return;
    Piece& before = std::prev(next)->second;
    if (before.end <= at) return;
    Count(1 + static_cast<int64_t>(before.readers.size()));
    space->emplace_hint(next, at, before);
    before.end = at;
  }

  /// A task may read what a task it names has written; one that names none, what its own lane has.
  bool MayRead(size_t id, size_t writer) const {
    const std::vector<size_t>& deps = plan_.tasks[id].deps;
    if (deps.empty()) return lane_[writer] == lane_[id];
    return std::find(deps.begin(), deps.end(), writer) != deps.end();
  }

  void Read(size_t id) {
    const PlanTask& task = plan_.tasks[id];
    std::vector<size_t> writers;
    for (size_t a = 0; a + task.outputs < task.args.size(); ++a) {
      const PlanTensor& t = plan_.tensors[task.args[a]];
      Space* space = SpaceOf(t);
      if (space == nullptr) continue;
      const int64_t end = t.offset + t.nbytes;
      Split(space, t.offset), Split(space, end);
      int64_t known = t.offset;
      for (auto at = space->lower_bound(t.offset); at != space->end() && at->first < end; ++at) {
        if (at->first != known) break;
        Piece& piece = at->second;
        Count(1 + static_cast<int64_t>(task.deps.size() + piece.readers.size()));
        if (!MayRead(id, piece.writer)) {
          Fail(id, "reads " + Bytes(t) + ", which hold what " + Describe(plan_, piece.writer) +
                       " has written, on which it does not depend");
        }
        const auto same_lane = [&](size_t reader) { return lane_[reader] == lane_[id]; };
        auto& readers = piece.readers;
        readers.erase(std::remove_if(readers.begin(), readers.end(), same_lane), readers.end());
        readers.push_back(id);
        writers.push_back(piece.writer);
        known = piece.end;
      }
      if (known < end) Fail(id, "reads " + Bytes(t) + ", not all of which has been written");
    }
    for (size_t dep : task.deps) {
      Count(1 + static_cast<int64_t>(writers.size()));
      if (std::find(writers.begin(), writers.end(), dep) == writers.end()) CheckUnread(id, dep);
    }
  }

  /// A task that waits for another reads something of it, or nothing that lies where it wrote.
  void CheckUnread(size_t id, size_t dep) {
    const PlanTask &task = plan_.tasks[id], &before = plan_.tasks[dep];
    for (size_t a = 0; a + task.outputs < task.args.size(); ++a) {
      const PlanTensor& read = plan_.tensors[task.args[a]];
      if (read.nbytes == 0) continue;
      for (size_t b = before.args.size() - before.outputs; b < before.args.size(); ++b) {
        Count(1);
        const PlanTensor& written = plan_.tensors[before.args[b]];
        if (written.nbytes > 0 && Overlap(read, written)) {
          Fail(id, "depends on " + Describe(plan_, dep) + ", but what that wrote to " +
                       Bytes(written) + " has been overwritten");
        }
      }
    }
  }

  void Write(size_t id) {
    const PlanTask& task = plan_.tasks[id];
    for (size_t a = task.args.size() - task.outputs; a < task.args.size(); ++a) {
      const PlanTensor& t = plan_.tensors[task.args[a]];
      Space* space = SpaceOf(t);
      if (space == nullptr) continue;
      const int64_t end = t.offset + t.nbytes;
      Split(space, t.offset), Split(space, end);
      const auto first = space->lower_bound(t.offset), last = space->lower_bound(end);
      for (auto at = first; at != last; ++at) {
        Count(1 + static_cast<int64_t>(at->second.readers.size()));
        CheckAfter(id, at->second.writer, t);
        for (size_t reader : at->second.readers) CheckAfter(id, reader, t);
      }
      space->erase(first, last);
      space->emplace(t.offset, Piece{end, id, {}});
    }
  }

  void CheckAfter(size_t id, size_t other, const PlanTensor& t) const {
    if (other == id || IsAfter(id, other)) return;
    Fail(id, "writes to " + Bytes(t) + ", which " + Describe(plan_, other) +
                 " may use at the same time");
  }

  void CheckOutput(size_t number) const {
    const PlanPort& port = plan_.outputs[number];
    int64_t known = 0;
    for (const auto& [begin, piece] : spaces_[1 + number]) {
      if (begin == known) known = piece.end;
    }
    const int64_t size = plan_.tensors[port.tensor].nbytes;
    if (known >= size) return;
    ThrowArtifactError("plan: no task writes " + std::string(known == 0 ? "" : "all of ") +
                       "output " + Quoted(port.name));
  }

  const Plan& plan_;
  std::vector<Space> spaces_;  // the arena, then the outputs
  std::vector<size_t> lane_;   // of each task
  size_t lane_count_ = 0;
  std::vector<uint32_t> position_;  // of each task in its lane, from 1
  std::vector<uint32_t> clocks_;    // of each task, by lane
  int64_t steps_ = 0;
};

}  // namespace

void CheckFlow(const Plan& plan) { Flow(plan).Check(); }

std::string TypeText(DLDataType dtype, const int64_t* shape, size_t rank) {
  std::string text(tvm::ffi::DLDataTypeToString(dtype));
  text += "[";
  for (size_t i = 0; i < rank; ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

Plan ParseFallback(const std::string& segment, const std::string& json,
                   const std::vector<int64_t>& constant_bytes) {
  const std::string where = "the host twin of segment " + Quoted(segment) + ": ";
  try {
    Plan plan = ParsePlan(json, constant_bytes);
    for (const PlanTask& task : plan.tasks) {
      if (task.kind != TaskKind::kSegment) continue;
      ThrowArtifactError("it calls segment " + Quoted(task.function) + ", not only the host");
    }
    return plan;
  } catch (const tvm::ffi::Error& error) {
    ThrowArtifactError(where + std::string(error.message()));
  }
}

void CheckFallback(const Plan& plan, const std::string& segment, const Plan& fallback) {
  std::vector<size_t> ports;
  for (const PlanPort& port : fallback.inputs) ports.push_back(port.tensor);
  for (const PlanPort& port : fallback.outputs) ports.push_back(port.tensor);
  const std::string where = "segment " + Quoted(segment);
  for (const PlanTask& task : plan.tasks) {
    if (task.kind != TaskKind::kSegment || task.function != segment) continue;
    const size_t inputs = task.args.size() - task.outputs;
    if (task.outputs != fallback.outputs.size() || inputs != fallback.inputs.size()) {
      const bool of_outputs = task.outputs != fallback.outputs.size();
      ThrowArtifactError(
          where + " has " + std::to_string(of_outputs ? task.outputs : inputs) +
          (of_outputs ? " outputs" : " inputs") + ", its host twin " +
          std::to_string(of_outputs ? fallback.outputs.size() : fallback.inputs.size()));
    }
    for (size_t a = 0; a < ports.size(); ++a) {
      const PlanTensor& wanted = plan.tensors[task.args[a]];
      const PlanTensor& found = fallback.tensors[ports[a]];
      const std::string type = TypeText(wanted.dtype, wanted.shape.data(), wanted.shape.size());
      const std::string other = TypeText(found.dtype, found.shape.data(), found.shape.size());
      if (type == other) continue;
      ThrowArtifactError(where + ": argument " + std::to_string(a) + " is " + type +
                         " in the plan, " + other + " in its host twin");
    }
  }
}

}  // namespace byoc
