#include "builder.h"

#include <algorithm>
#include <cstring>

#include "error.h"
#include "kernels/copy.h"
#include "ops/ops.h"
#include "ops/post_ops.h"

namespace byoc::onednn {
namespace {

using BuildFunction = void (*)(Builder&, const Op&);

BuildFunction FunctionFor(OpKind kind) {
  switch (kind) {
    case OpKind::kConvolution:
      return BuildConvolution;
    case OpKind::kDeconvolution:
      return BuildDeconvolution;
    case OpKind::kMatmul:
      return BuildMatmul;
    case OpKind::kAttention:
      return BuildAttention;
    case OpKind::kPooling:
      return BuildPooling;
    case OpKind::kGlobalPooling:
      return BuildGlobalPooling;
    case OpKind::kEltwise:
      return BuildEltwise;
    case OpKind::kBinary:
      return BuildBinary;
    case OpKind::kConcat:
      return BuildConcat;
    case OpKind::kSplit:
      return BuildSplit;
    case OpKind::kSoftmax:
      return BuildSoftmax;
    case OpKind::kLayerNorm:
    case OpKind::kRmsNorm:
      return BuildLayerNorm;
    case OpKind::kGroupNorm:
      return BuildGroupNorm;
    case OpKind::kBatchNorm:
      return BuildBatchNorm;
    case OpKind::kLrn:
      return BuildLrn;
    case OpKind::kReduction:
      return BuildReduction;
    case OpKind::kResize:
      return BuildResize;
    case OpKind::kTranspose:
      return BuildTranspose;
    case OpKind::kReshape:
      return BuildReshape;
    case OpKind::kSlice:
      return BuildSlice;
    case OpKind::kPad:
      return BuildPad;
    case OpKind::kBroadcast:
      return BuildBroadcast;
    case OpKind::kWhere:
      return BuildWhere;
    case OpKind::kCast:
      return BuildCast;
    case OpKind::kGather:
      return BuildGather;
    case OpKind::kQConvolution:
      return BuildQConvolution;
    case OpKind::kQMatmul:
      return BuildQMatmul;
    case OpKind::kQAdd:
      return BuildQAdd;
    case OpKind::kQuantize:
    case OpKind::kDequantize:
    case OpKind::kRequantize:
      return BuildRegrid;
  }
  return nullptr;
}

/*! \brief The same memory under a descriptor that places elements alike. */
Tensor Seen(const Tensor& tensor, const Desc& desc) {
  Tensor seen{desc, tensor.dtype, tensor.buffer, 0};
  seen.offset = tensor.Begin() - seen.Begin();
  return seen;
}

/*! \brief Post-ops are fused by these kinds themselves; for all others they become steps. */
bool FusesPostOps(OpKind kind) {
  return kind == OpKind::kConvolution || kind == OpKind::kDeconvolution ||
         kind == OpKind::kMatmul || kind == OpKind::kPooling || kind == OpKind::kGlobalPooling ||
         kind == OpKind::kBinary || kind == OpKind::kEltwise || kind == OpKind::kQConvolution ||
         kind == OpKind::kQMatmul || kind == OpKind::kQAdd;
}

}  // namespace

bool IsReference(const char* impl) { return std::strstr(impl, "ref") != nullptr; }

std::string NameOf(const Op& op) {
  return op.source.empty() ? op.name : op.name + " '" + op.source + "'";
}

Builder::Builder(const Program& program, const Bindings& bindings, ConstantStore* constants,
                 int threads)
    : program_(program), bindings_(bindings), constants_(constants), threads_(threads) {
  size_t count = program.values.size();
  shapes_.reserve(count);
  for (size_t v = 0; v < count; ++v) {
    shapes_.push_back(Evaluate(program.values[v].shape, bindings));
    constexpr int64_t kMaxBytes = int64_t{1} << 46;
    if (Volume(shapes_[v]) > kMaxBytes) {
      Fail("value ", v, " of shape ", ToString(shapes_[v]), " is too large");
    }
  }
  tensors_.resize(count);
  placed_.resize(count);
  list_.input_count = static_cast<int>(program.inputs.size());
  list_.output_count = static_cast<int>(program.outputs.size());
}

StepList Builder::Build() {
  CountUses();
  PlanOutputs();
  PlaceInputsAndConstants();
  for (const Op& op : program_.ops) BuildOp(op);
  WriteOutputs();
  return std::move(list_);
}

void Builder::CountUses() {
  users_.resize(shapes_.size());
  producer_.assign(shapes_.size(), -1);
  for (size_t i = 0; i < program_.ops.size(); ++i) {
    const Op& op = program_.ops[i];
    for (int value : op.inputs) users_[value].push_back(static_cast<int>(i));
    for (const PostOp& post : op.post) {
      if (post.is_binary) users_[post.value].push_back(static_cast<int>(i));
    }
    for (int value : op.outputs) producer_[value] = static_cast<int>(i);
  }
  for (const auto& users : users_) remaining_.push_back(static_cast<int>(users.size()));
}

// A value is written into the caller's buffer when it is an output, or when an output is only
// another shape for it.
void Builder::PlanOutputs() {
  output_position_.assign(shapes_.size(), -1);
  for (size_t i = program_.outputs.size(); i-- > 0;) {
    output_position_[program_.outputs[i]] = static_cast<int>(i);
  }
  output_alias_ = output_position_;
  for (size_t i = program_.ops.size(); i-- > 0;) {
    const Op& op = program_.ops[i];
    if (op.kind != OpKind::kReshape) continue;
    int x = op.inputs[0], y = op.outputs[0];
    if (output_alias_[y] >= 0 && output_alias_[x] < 0 && users_[x].size() == 1 &&
        producer_[x] >= 0) {
      output_alias_[x] = output_alias_[y];
    }
  }
}

void Builder::PlaceInputsAndConstants() {
  for (size_t i = 0; i < program_.inputs.size(); ++i) {
    int value = program_.inputs[i];
    Desc desc = PlainDesc(shapes_[value], Type(value));
    Buffer buffer{Place::kInput, static_cast<int>(i), static_cast<int64_t>(desc.get_size()),
                  nullptr, nullptr};
    Set(value, {desc, Type(value), NewBuffer(buffer), 0});
  }
  for (size_t v = 0; v < shapes_.size(); ++v) {
    int index = program_.constants[v];
    if (index < 0) continue;
    int value = static_cast<int>(v);
    const Constant& constant = constants_->constants()[index];
    // Only the number of elements must agree: a [1, C, 1, 1] array serves as a bias [C].
    if (Volume(constant.shape) != Volume(shapes_[v]) || constant.dtype != Type(value)) {
      Fail("constant ", index, " is ", ToString(constant.dtype), ToString(constant.shape),
           ", the program says ", ToString(Type(value)), ToString(shapes_[v]));
    }
    Desc desc = PlainDesc(shapes_[v], constant.dtype);
    Buffer buffer{Place::kConstant, index, static_cast<int64_t>(desc.get_size()), constant.data,
                  nullptr};
    Set(value, {desc, constant.dtype, NewBuffer(buffer), 0});
  }
}

void Builder::BuildOp(const Op& op) {
  op_ = &op;
  try {
    bool empty = true;  // nothing to compute: results without elements
    for (int value : op.outputs) empty = empty && Volume(shapes_[value]) == 0;
    if (empty) {
      for (int value : op.outputs) {
        Desc desc = PlainDesc(shapes_[value], Type(value));
        Set(value, Fresh(desc, Type(value)));
      }
    } else {
      FunctionFor(op.kind)(*this, op);
      if (!FusesPostOps(op.kind)) ApplyPostOps(*this, op, 0);
    }
  } catch (const std::exception& error) {
    std::string shapes;
    for (int value : op.inputs) shapes += (shapes.empty() ? "" : ", ") + ToString(shapes_[value]);
    shapes += " -> ";
    for (int value : op.outputs) shapes += ToString(shapes_[value]);
    Fail(NameOf(op), " ", shapes, ": ", error.what());
  }
  for (int value : op.inputs) --remaining_[value];
  for (const PostOp& post : op.post) {
    if (post.is_binary) --remaining_[post.value];
  }
  op_ = nullptr;
}

void Builder::WriteOutputs() {
  for (size_t i = 0; i < program_.outputs.size(); ++i) {
    int value = program_.outputs[i];
    if (Volume(shapes_[value]) == 0) continue;
    Tensor tensor = Get(value);
    const Buffer& buffer = list_.buffers[tensor.buffer];
    bool there = buffer.place == Place::kOutput && buffer.index == static_cast<int>(i) &&
                 tensor.Begin() == 0 && IsPlain(tensor.desc);
    if (there) continue;
    Desc desc = PlainDesc(shapes_[value], Type(value));
    Buffer output{Place::kOutput, static_cast<int>(i), static_cast<int64_t>(desc.get_size()),
                  nullptr, nullptr};
    Copy(tensor, {desc, Type(value), NewBuffer(output), 0});
  }
}

const Op* Builder::Producer(int value) const {
  return producer_[value] < 0 ? nullptr : &program_.ops[producer_[value]];
}

const Op* Builder::OnlyUser(int value) const {
  return users_[value].size() == 1 && !IsOutput(value) ? &program_.ops[users_[value][0]] : nullptr;
}

bool Builder::HasPlace(int value) const {
  if (output_alias_[value] >= 0) return true;
  return std::any_of(users_[value].begin(), users_[value].end(),
                     [&](int user) { return program_.ops[user].kind == OpKind::kConcat; });
}

const Tensor& Builder::Get(int value) const { return tensors_[value].at(0); }

Tensor Builder::Plain(int value) { return As(value, PlainDesc(shapes_[value], Type(value))); }

Tensor Builder::Strided(int value) {
  const Tensor& tensor = Get(value);
  return IsStrided(tensor.desc) ? tensor : Plain(value);
}

Tensor Builder::As(int value, const Desc& want) {
  for (const Tensor& tensor : tensors_[value]) {
    if (SameLayout(tensor.desc, want) || (IsPlain(tensor.desc) && IsPlain(want))) {
      return Seen(tensor, want);
    }
  }
  Tensor copy = As(Get(value), want);
  tensors_[value].push_back(copy);
  values_in_[copy.buffer].push_back(value);
  return copy;
}

Tensor Builder::As(const Tensor& tensor, const Desc& want) {
  if (SameLayout(tensor.desc, want) || (IsPlain(tensor.desc) && IsPlain(want))) {
    return Seen(tensor, want);
  }
  if (IsConstant(tensor) && tensor.dtype == DType::kFloat32) return Packed(tensor, want);
  Tensor copy = Fresh(want, tensor.dtype);
  Copy(tensor, copy);
  return copy;
}

Tensor Builder::Packed(const Tensor& constant, const Desc& want) {
  const Buffer& from = list_.buffers[constant.buffer];
  const char* data = static_cast<const char*>(from.data) + constant.offset;
  Buffer buffer{Place::kConstant, -1, static_cast<int64_t>(want.get_size()), nullptr,
                constants_->Pack(data, constant.desc, want)};
  buffer.data = buffer.owner.get();
  return {want, constant.dtype, NewBuffer(buffer), 0};
}

bool Builder::IsConstant(const Tensor& tensor) const {
  return list_.buffers[tensor.buffer].place == Place::kConstant;
}

const void* Builder::ConstantData(const Tensor& tensor) const {
  return static_cast<const char*>(list_.buffers[tensor.buffer].data) + tensor.Begin();
}

bool Builder::MayOverwrite(int value, const Tensor& tensor) const {
  if (list_.buffers[tensor.buffer].place != Place::kArena || pinned_[tensor.buffer]) return false;
  // This op must be the last to read it, and read it once (a second read would see the result).
  if (remaining_[value] != 1 || IsOutput(value)) return false;
  const std::vector<int>& others = values_in_[tensor.buffer];
  return std::all_of(others.begin(), others.end(), [&](int other) {
    return other == value || (remaining_[other] == 0 && !IsOutput(other));
  });
}

bool Builder::MayUpdate(int value) const {
  const Tensor& tensor = Get(value);
  if (placed_[value] && placed_[value]->buffer == tensor.buffer) return true;
  if (list_.buffers[tensor.buffer].place != Place::kArena || pinned_[tensor.buffer]) return false;
  const std::vector<int>& others = values_in_[tensor.buffer];
  return std::all_of(others.begin(), others.end(), [&](int other) {
    if (other == value) return true;
    auto read = std::count(op_->inputs.begin(), op_->inputs.end(), other);
    return remaining_[other] == read && !IsOutput(other);
  });
}

std::optional<Tensor> Builder::Placed(int value, const Desc& desc) {
  constexpr int kMaxConcats = 512;  // bounds the recursion along a chain of concats
  if (output_alias_[value] >= 0) {
    if (!IsPlain(desc)) return std::nullopt;
    Buffer buffer{Place::kOutput, output_alias_[value], static_cast<int64_t>(desc.get_size()),
                  nullptr, nullptr};
    placed_[value] = Tensor{desc, Type(value), NewBuffer(buffer), 0};
    return placed_[value];
  }
  return PlacedInConcat(value, desc, kMaxConcats);
}

// Convolutions care most about layout: where one of them feeds a concat, other producers leave it
// the choice.
bool Builder::LeadsLayout(const Op& concat, int value) const {
  auto is_convolution = [&](int input) {
    const Op* producer = Producer(input);
    return producer != nullptr &&
           (producer->kind == OpKind::kConvolution || producer->kind == OpKind::kDeconvolution);
  };
  return is_convolution(value) ||
         std::none_of(concat.inputs.begin(), concat.inputs.end(), is_convolution);
}

// The window of `value` in the result of a concat that reads it. The first producer to ask makes
// the whole result, in its own layout; those after it must fit into that.
std::optional<Tensor> Builder::PlacedInConcat(int value, const Desc& desc, int depth) {
  if (depth == 0) return std::nullopt;
  for (int user : users_[value]) {
    const Op& concat = program_.ops[user];
    if (concat.kind != OpKind::kConcat) continue;
    if (std::count(concat.inputs.begin(), concat.inputs.end(), value) != 1) continue;
    int whole = concat.outputs[0];
    int64_t axis = concat.attrs.Int("axis");
    const Dims& whole_shape = shapes_[whole];
    if (axis < 0 || axis >= static_cast<int64_t>(whole_shape.size())) continue;
    Dims begin(whole_shape.size(), 0);
    bool fits = true;
    for (int input : concat.inputs) {
      fits = fits && shapes_[input].size() == whole_shape.size();
      if (!fits || input == value) break;
      begin[axis] += shapes_[input][axis];
    }
    if (!fits || Type(whole) != Type(value)) continue;
    std::optional<Desc> whole_desc = WithShape(desc, whole_shape);
    if (!whole_desc) continue;
    for (size_t d = 0; d < begin.size(); ++d) {
      fits = fits && begin[d] + shapes_[value][d] <= whole_shape[d];
    }
    Desc window =
        fits ? whole_desc->submemory_desc(shapes_[value], begin, /*allow_empty=*/true) : Desc();
    if (IsEmpty(window)) continue;
    if (!placed_[whole]) {
      if (!LeadsLayout(concat, value)) continue;
      std::optional<Tensor> outer;
      if (output_alias_[whole] >= 0) {
        outer = Placed(whole, *whole_desc);
      } else {
        outer = PlacedInConcat(whole, *whole_desc, depth - 1);
      }
      if (!outer) outer = Fresh(*whole_desc, Type(whole));
      pinned_[outer->buffer] = true;
      placed_[whole] = outer;
    }
    // The host may itself be a window, with strides of its own.
    std::optional<Tensor> window_in_host = Window(*placed_[whole], shapes_[value], begin);
    if (!window_in_host) continue;
    const Desc& inside = window_in_host->desc;
    if (inside.get_inner_blks() != desc.get_inner_blks() ||
        inside.get_inner_idxs() != desc.get_inner_idxs() ||
        inside.get_padded_dims() != desc.get_padded_dims()) {
      continue;
    }
    Dims inner_strides = inside.get_strides(), strides = desc.get_strides();
    // Same order of loops: compare channels-last against plain by the stride of channels.
    bool same_order = true;
    for (size_t d = 1; d < strides.size(); ++d) {
      if (shapes_[value][d] > 1 && d != static_cast<size_t>(axis)) {
        same_order = same_order && (inner_strides[d] == 1) == (strides[d] == 1);
      }
    }
    if (!same_order) continue;
    placed_[value] = window_in_host;
    return placed_[value];
  }
  return std::nullopt;
}

Tensor Builder::Result(int value, const Desc& desc) {
  if (std::optional<Tensor> placed = Placed(value, desc)) {
    if (SameLayout(placed->desc, desc)) {
      return {desc, placed->dtype, placed->buffer, placed->Begin()};
    }
  }
  return Fresh(desc, Type(value));
}

Tensor Builder::Fresh(const Desc& desc, DType dtype) {
  Buffer buffer{Place::kArena, 0, static_cast<int64_t>(desc.get_size()), nullptr, nullptr};
  return {desc, dtype, NewBuffer(buffer), 0};
}

Tensor Builder::NewConstant(const Desc& desc, DType dtype, void** data) {
  std::shared_ptr<void> memory = Allocate(desc.get_size());
  *data = memory.get();
  Buffer buffer{Place::kConstant, -1, static_cast<int64_t>(desc.get_size()), memory.get(), memory};
  return {desc, dtype, NewBuffer(buffer), 0};
}

void Builder::Set(int value, Tensor tensor) {
  // A window that is dense in fact (batch 1, say) is described as a dense tensor of its own.
  if (IsDense(tensor.desc)) {
    std::optional<Desc> dense = WithShape(tensor.desc, tensor.desc.get_dims());
    if (dense) tensor = {*dense, tensor.dtype, tensor.buffer, tensor.Begin()};
  }
  tensor = Rebased(tensor);
  values_in_[tensor.buffer].push_back(value);
  tensors_[value].assign(1, std::move(tensor));
}

void Builder::Copy(const Tensor& from, const Tensor& to) {
  using Type = dnnl::memory::data_type;
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  bool strided = IsStrided(from.desc) && IsStrided(to.desc);
  dnnl::reorder::primitive_desc pd;
  if (from.desc.get_data_type() != Type::f64) {
    pd = dnnl::reorder::primitive_desc(Engine(), from.desc, Engine(), to.desc, attr,
                                       /*allow_empty=*/true);
  }
  // oneDNN's last resort visits element by element; ours at least runs along rows.
  bool slow =
      !pd || IsReference(pd.impl_info_str()) || std::strstr(pd.impl_info_str(), "any") != nullptr;
  std::string detail = Describe(from.desc) + " -> " + Describe(to.desc);
  if (slow && strided) {
    Add("copy", {from, to}, StridedCopy(from.desc, to.desc, SizeOf(from.dtype)), detail);
    return;
  }
  if (!pd) {
    Fail("oneDNN cannot copy ", ToString(from.desc.get_dims()), " from layout ",
         Describe(from.desc), " to ", Describe(to.desc));
  }
  Add(pd, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}, "reorder " + detail);
}

void Builder::Add(const std::string& name, const std::vector<Tensor>& operands, Kernel kernel,
                  const std::string& detail) {
  Step step;
  step.op = op_ != nullptr ? NameOf(*op_) : "output";
  step.impl = name;
  step.detail = detail;
  step.kernel = std::move(kernel);
  for (const Tensor& tensor : operands) step.operands.push_back(Slot(tensor));
  list_.steps.push_back(std::move(step));
}

void Builder::AddPrimitive(dnnl::primitive primitive, const std::string& impl, size_t scratchpad,
                           const std::vector<Arg>& args, const std::string& detail) {
  Step step;
  step.op = op_ != nullptr ? NameOf(*op_) : "output";
  step.impl = impl;
  step.detail = detail;
  step.primitive = std::move(primitive);
  step.scratchpad = static_cast<int64_t>(scratchpad);
  for (const Arg& arg : args) step.args.push_back({arg.id, Slot(arg.tensor)});
  list_.steps.push_back(std::move(step));
}

int Builder::Slot(const Tensor& tensor) {
  std::vector<int>& same_place = slots_[{tensor.buffer, tensor.offset}];
  for (int slot : same_place) {
    if (list_.slots[slot].desc == tensor.desc) return slot;
  }
  list_.slots.push_back(tensor);
  same_place.push_back(static_cast<int>(list_.slots.size()) - 1);
  return same_place.back();
}

int Builder::NewBuffer(Buffer buffer) {
  list_.buffers.push_back(std::move(buffer));
  values_in_.emplace_back();
  pinned_.push_back(false);
  return static_cast<int>(list_.buffers.size()) - 1;
}

}  // namespace byoc::onednn
