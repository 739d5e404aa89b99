// Every value has a home: the tensor its producer made, copies in other layouts, and a destination
// if a concat or the caller waits for it. Per buffer it is known which values lie there, so that an
// op may write over its operand only when nobody reads any of them again.
//
// A destination is found by walking forwards from a value: to the output it becomes, perhaps
// through reshapes that keep its bytes, or to the concats that read it, which may lie in each
// other. The first producer to ask decides the layout of the whole concat, except that ops which
// lead the layout (convolutions) are left the choice.
#include "buffer_assignment.h"

#include <algorithm>

#include "error.h"
#include "ops/table.h"

namespace byoc::onednn {
namespace {

/// The same memory under a descriptor that places elements alike.
Tensor Seen(const Tensor& tensor, const Desc& desc) {
  Tensor seen{desc, tensor.dtype, tensor.buffer, 0};
  seen.offset = tensor.Begin() - seen.Begin();
  return seen;
}

bool Alike(const Desc& a, const Desc& b) {
  return SameLayout(a, b) || (a.get_data_type() == b.get_data_type() && IsPlain(a) && IsPlain(b));
}

int64_t SizeOf(const Desc& desc) { return static_cast<int64_t>(desc.get_size()); }

}  // namespace

BufferAssignment::BufferAssignment(const Values& values, StepWriter& steps,
                                   ConstantStore& constants)
    : values_(values), steps_(steps), constants_(constants), homes_(values.Count()) {
  PlanOutputs();
  AssignInputs();
  AssignConstants(constants.constants());
}

// A value is written into the caller's buffer when it is an output, or when an output is only
// another shape for it.
void BufferAssignment::PlanOutputs() {
  for (int v = 0; v < values_.Count(); ++v) homes_[v].output = values_.OutputPosition(v);
  const std::vector<Op>& ops = values_.program().ops;
  for (size_t i = ops.size(); i-- > 0;) {
    if (!ops[i].kind->Has(kKeepsBytes)) continue;
    int x = ops[i].inputs[0], y = ops[i].outputs[0];
    if (homes_[y].output >= 0 && homes_[x].output < 0 && values_.Users(x).size() == 1 &&
        values_.Producer(x) != nullptr) {
      homes_[x].output = homes_[y].output;
    }
  }
}

void BufferAssignment::AssignInputs() {
  const std::vector<int>& inputs = values_.program().inputs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Desc desc = PlainDesc(values_.Shape(inputs[i]), values_.Type(inputs[i]));
    Buffer buffer{MemorySpace::kInput, static_cast<int>(i), SizeOf(desc), nullptr, nullptr};
    Set(inputs[i], NewTensor(desc, values_.Type(inputs[i]), buffer));
  }
}

void BufferAssignment::AssignConstants(const std::vector<Constant>& constants) {
  for (int value = 0; value < values_.Count(); ++value) {
    int index = values_.program().constants[value];
    if (index < 0) continue;
    const Constant& constant = constants[index];
    const Dims& shape = values_.Shape(value);
    // Only the number of elements must agree: a [1, C, 1, 1] array serves as a bias [C].
    if (Volume(constant.shape) != Volume(shape) || constant.dtype != values_.Type(value)) {
      Fail("constant ", index, " is ", ToString(constant.dtype), ToString(constant.shape),
           ", the program says ", ToString(values_.Type(value)), ToString(shape));
    }
    Desc desc = PlainDesc(shape, constant.dtype);
    Buffer buffer{MemorySpace::kConstant, index, SizeOf(desc), constant.data, nullptr};
    Set(value, NewTensor(desc, constant.dtype, buffer));
  }
}

void BufferAssignment::CopyOutputs() {
  const std::vector<int>& outputs = values_.program().outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    int value = outputs[i], position = static_cast<int>(i);
    if (Volume(values_.Shape(value)) == 0) continue;
    Tensor tensor = Get(value);
    const Buffer& buffer = steps_.BufferOf(tensor);
    bool there = buffer.space == MemorySpace::kOutput && buffer.index == position &&
                 tensor.Begin() == 0 && IsPlain(tensor.desc);
    if (there) continue;
    DType dtype = values_.Type(value);
    steps_.Copy(tensor, OutputMemory(position, PlainDesc(values_.Shape(value), dtype), dtype));
  }
}

Tensor BufferAssignment::Plain(int value) {
  return As(value, PlainDesc(values_.Shape(value), values_.Type(value)));
}

Tensor BufferAssignment::Strided(int value) {
  const Tensor& tensor = Get(value);
  return IsStrided(tensor.desc) ? tensor : Plain(value);
}

Tensor BufferAssignment::Float(int value, DType dtype) {
  const Tensor& tensor = Get(value);
  return tensor.dtype == dtype ? tensor : As(value, WithFloat(tensor.desc, dtype));
}

Tensor BufferAssignment::As(int value, const Desc& want) {
  for (const Tensor& tensor : homes_[value].tensors) {
    if (Alike(tensor.desc, want)) return Seen(tensor, want);
  }
  Tensor copy = As(Get(value), want);
  homes_[value].tensors.push_back(copy);
  occupancy_[copy.buffer].values.push_back(value);
  return copy;
}

Tensor BufferAssignment::As(const Tensor& tensor, const Desc& want) {
  if (Alike(tensor.desc, want)) return Seen(tensor, want);
  if (steps_.IsConstant(tensor) && tensor.dtype == DType::kFloat32) return Packed(tensor, want);
  Tensor copy = Fresh(want, FloatOf(want, tensor.dtype));
  steps_.Copy(tensor, copy);
  return copy;
}

Tensor BufferAssignment::Packed(const Tensor& constant, const Desc& want) {
  const char* data = static_cast<const char*>(steps_.BufferOf(constant).data) + constant.offset;
  Buffer buffer{MemorySpace::kConstant, -1, SizeOf(want), nullptr,
                constants_.Pack(data, constant.desc, want)};
  buffer.data = buffer.owner.get();
  return NewTensor(want, FloatOf(want, constant.dtype), std::move(buffer));
}

bool BufferAssignment::MayOverwrite(int value, const Tensor& tensor) const {
  const Occupancy& occupancy = occupancy_[tensor.buffer];
  if (steps_.BufferOf(tensor).space != MemorySpace::kArena || occupancy.pinned) return false;
  // This op must be the last to read it, and read it once (a second read would see the result).
  if (values_.ReadsLeft(value) != 1 || values_.IsOutput(value)) return false;
  return std::all_of(occupancy.values.begin(), occupancy.values.end(), [&](int other) {
    return other == value || (values_.ReadsLeft(other) == 0 && !values_.IsOutput(other));
  });
}

bool BufferAssignment::MayUpdate(int value) const {
  const Tensor& tensor = Get(value);
  const std::optional<Tensor>& destination = homes_[value].destination;
  if (destination && destination->buffer == tensor.buffer) return true;
  const Occupancy& occupancy = occupancy_[tensor.buffer];
  if (steps_.BufferOf(tensor).space != MemorySpace::kArena || occupancy.pinned) return false;
  const std::vector<int>& inputs = values_.Producer(value)->inputs;
  return std::all_of(occupancy.values.begin(), occupancy.values.end(), [&](int other) {
    if (other == value) return true;
    auto read = std::count(inputs.begin(), inputs.end(), other);
    return values_.ReadsLeft(other) == read && !values_.IsOutput(other);
  });
}

bool BufferAssignment::MayHaveDestination(int value) const {
  if (homes_[value].output >= 0) return true;
  const std::vector<const Op*>& users = values_.Users(value);
  return std::any_of(users.begin(), users.end(),
                     [](const Op* user) { return user->kind->Has(kJoinsInputs); });
}

std::optional<Tensor> BufferAssignment::Destination(int value, const Desc& desc) {
  constexpr int kMaxConcats = 512;  // bounds the recursion along a chain of concats
  Home& home = homes_[value];
  if (home.output < 0) return WindowInConcat(value, desc, kMaxConcats);
  if (!IsPlain(desc)) return std::nullopt;
  home.destination = OutputMemory(home.output, desc, values_.Type(value));
  return home.destination;
}

// Where an input of a concat leads the layout (convolutions care most about theirs), producers of
// other inputs leave it the choice.
bool BufferAssignment::LeadsLayout(const Op& concat, int value) const {
  auto leads = [&](int input) {
    const Op* producer = values_.Producer(input);
    return producer != nullptr && producer->kind->Has(kLeadsLayout);
  };
  return leads(value) || std::none_of(concat.inputs.begin(), concat.inputs.end(), leads);
}

// The window of `value` in the result of the first concat reading it that has one.
std::optional<Tensor> BufferAssignment::WindowInConcat(int value, const Desc& desc, int depth) {
  if (depth == 0) return std::nullopt;
  for (const Op* user : values_.Users(value)) {
    if (!user->kind->Has(kJoinsInputs)) continue;
    std::optional<Tensor> window = WindowIn(*user, value, desc, depth);
    if (!window) continue;
    homes_[value].destination = window;
    return window;
  }
  return std::nullopt;
}

// The first producer to ask makes the whole result, in its own layout; those after it must fit into
// that.
std::optional<Tensor> BufferAssignment::WindowIn(const Op& concat, int value, const Desc& desc,
                                                 int depth) {
  if (std::count(concat.inputs.begin(), concat.inputs.end(), value) != 1) return std::nullopt;
  const Dims& shape = values_.Shape(value);
  int whole = concat.outputs[0];
  int64_t axis = concat.attrs.Int("axis");
  const Dims& whole_shape = values_.Shape(whole);
  if (axis < 0 || axis >= static_cast<int64_t>(whole_shape.size())) return std::nullopt;
  Dims begin(whole_shape.size(), 0);
  for (int input : concat.inputs) {
    if (values_.Shape(input).size() != whole_shape.size()) return std::nullopt;
    if (input == value) break;
    begin[axis] += values_.Shape(input)[axis];
  }
  if (values_.Type(whole) != values_.Type(value)) return std::nullopt;
  std::optional<Desc> whole_desc = WithShape(desc, whole_shape);
  if (!whole_desc) return std::nullopt;
  for (size_t d = 0; d < begin.size(); ++d) {
    if (begin[d] + shape[d] > whole_shape[d]) return std::nullopt;
  }
  if (IsEmpty(whole_desc->submemory_desc(shape, begin, /*allow_empty=*/true))) return std::nullopt;
  Home& host = homes_[whole];
  if (!host.destination) {
    if (!LeadsLayout(concat, value)) return std::nullopt;
    std::optional<Tensor> outer = host.output >= 0 ? Destination(whole, *whole_desc)
                                                   : WindowInConcat(whole, *whole_desc, depth - 1);
    if (!outer) outer = Fresh(*whole_desc, values_.Type(whole));
    occupancy_[outer->buffer].pinned = true;
    host.destination = outer;
  }
  // The host may itself be a window, with strides of its own.
  std::optional<Tensor> window = Window(*host.destination, shape, begin);
  if (!window) return std::nullopt;
  const Desc& inside = window->desc;
  if (inside.get_inner_blks() != desc.get_inner_blks() ||
      inside.get_inner_idxs() != desc.get_inner_idxs() ||
      inside.get_padded_dims() != desc.get_padded_dims()) {
    return std::nullopt;
  }
  // Same order of loops: compare channels-last against plain by the stride of channels.
  Dims inner_strides = inside.get_strides(), strides = desc.get_strides();
  for (size_t d = 1; d < strides.size(); ++d) {
    if (shape[d] > 1 && d != static_cast<size_t>(axis) &&
        (inner_strides[d] == 1) != (strides[d] == 1)) {
      return std::nullopt;
    }
  }
  return window;
}

Tensor BufferAssignment::Result(int value, const Desc& desc) {
  if (std::optional<Tensor> destination = Destination(value, desc)) {
    if (SameLayout(destination->desc, desc)) {
      return {desc, destination->dtype, destination->buffer, destination->Begin()};
    }
  }
  return Fresh(desc, values_.Type(value));
}

Tensor BufferAssignment::Fresh(const Desc& desc, DType dtype) {
  return NewTensor(desc, dtype, {MemorySpace::kArena, 0, SizeOf(desc), nullptr, nullptr});
}

Tensor BufferAssignment::NewConstant(const Desc& desc, DType dtype, void** data) {
  std::shared_ptr<void> memory = Allocate(desc.get_size());
  *data = memory.get();
  return NewTensor(desc, dtype, {MemorySpace::kConstant, -1, SizeOf(desc), memory.get(), memory});
}

void BufferAssignment::Set(int value, Tensor tensor) {
  // A window that is dense in fact (batch 1, say) is described as a dense tensor of its own.
  if (IsDense(tensor.desc)) {
    std::optional<Desc> dense = WithShape(tensor.desc, tensor.desc.get_dims());
    if (dense) tensor = {*dense, tensor.dtype, tensor.buffer, tensor.Begin()};
  }
  tensor = Rebased(tensor);
  occupancy_[tensor.buffer].values.push_back(value);
  homes_[value].tensors.assign(1, std::move(tensor));
}

Tensor BufferAssignment::NewTensor(const Desc& desc, DType dtype, Buffer buffer) {
  occupancy_.emplace_back();
  return {desc, dtype, steps_.AddBuffer(std::move(buffer)), 0};
}

Tensor BufferAssignment::OutputMemory(int position, const Desc& desc, DType dtype) {
  return NewTensor(desc, dtype, {MemorySpace::kOutput, position, SizeOf(desc), nullptr, nullptr});
}

}  // namespace byoc::onednn
