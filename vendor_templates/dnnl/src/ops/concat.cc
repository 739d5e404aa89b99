// Concat in place: inputs that their producers wrote into their windows of the result (see
// BufferAssignment::Destination) need nothing more; the others are copied into theirs.
//
//   result  [ conv writes here | pool writes here | copied ]
#include <algorithm>

#include "../kernels/copy.h"
#include "checks.h"
#include "post_ops.h"

namespace byoc::onednn {
namespace {

/// The layout most elements of the inputs have, if windows of every input fit into it.
Desc ChooseLayout(const Builder& b, const Op& op, int64_t axis) {
  int y = op.outputs[0];
  const Dims& shape = b.values.Shape(y);
  Desc plain = PlainDesc(shape, b.values.Type(y));
  std::vector<std::pair<int64_t, Desc>> votes;
  for (int x : op.inputs) {
    std::optional<Desc> family = WithShape(b.buffers.Get(x).desc, shape);
    if (!family) family = plain;
    if (IsFloat(b.values.Type(y))) family = WithFloat(*family, b.values.Type(y));
    auto it = std::find_if(votes.begin(), votes.end(),
                           [&](const auto& vote) { return vote.second == *family; });
    if (it == votes.end()) {
      votes.push_back({0, *family});
      it = votes.end() - 1;
    }
    it->first += Volume(b.values.Shape(x));
  }
  std::stable_sort(votes.begin(), votes.end(),
                   [](const auto& p, const auto& q) { return p.first > q.first; });
  for (const auto& [weight, desc] : votes) {
    Dims begin(shape.size(), 0);
    bool fits = true;
    for (int x : op.inputs) {
      fits =
          fits && (Volume(b.values.Shape(x)) == 0 ||
                   !IsEmpty(desc.submemory_desc(b.values.Shape(x), begin, /*allow_empty=*/true)));
      begin[axis] += b.values.Shape(x)[axis];
    }
    if (fits) return desc;
  }
  return plain;
}

/// Rows of a dense tensor along an axis: how many lie before it in memory, and the elements
/// from one index of the axis to the next. Nothing for blocked layouts, whose windows are dense.
std::optional<std::pair<int64_t, int64_t>> RowsAlong(const Desc& desc, int64_t axis) {
  if (!IsDense(desc) || !IsStrided(desc)) return std::nullopt;
  Dims dims = desc.get_dims();
  int64_t step = desc.get_strides()[axis];
  if (dims[axis] == 1) {  // its stride says nothing
    Dims longer = dims;
    longer[axis] = 2;
    std::optional<Desc> probe = WithShape(desc, longer);
    if (!probe) return std::nullopt;
    step = probe->get_strides()[axis];
  }
  return std::make_pair(Volume(dims) / (dims[axis] * step), step);
}

/// All inputs copied in one step; false unless they lie like the result, in many rows.
bool CopyRows(Builder& b, const Op& op, int64_t axis, const Tensor& host) {
  constexpr int64_t kManyRows = 32;
  auto whole = RowsAlong(host.desc, axis);
  if (!whole || whole->first < kManyRows) return false;
  std::vector<Tensor> operands;
  std::vector<int64_t> bytes;
  for (int x : op.inputs) {
    if (Volume(b.values.Shape(x)) == 0) continue;
    const Tensor& t = b.buffers.Get(x);
    if (t.buffer == host.buffer) return false;  // written in place
    auto rows = RowsAlong(t.desc, axis);
    std::optional<Desc> alike = WithShape(host.desc, b.values.Shape(x));
    if (!rows || *rows != *whole || !alike || !SameLayout(*alike, t.desc)) return false;
    operands.push_back(t);
    bytes.push_back(b.values.Shape(x)[axis] * whole->second * SizeOf(t.dtype));
  }
  operands.push_back(host);
  b.steps.Add("byoc:concat", operands, ConcatRows(bytes, whole->first), Describe(host.desc));
  return true;
}

/// The window of every input in the result; false when one has none.
bool CutWindows(const Builder& b, const Op& op, int64_t axis, const Tensor& host,
                std::vector<Tensor>* windows) {
  windows->clear();
  Dims begin(b.values.Shape(op.outputs[0]).size(), 0);
  for (int x : op.inputs) {
    std::optional<Tensor> window = Window(host, b.values.Shape(x), begin);
    if (Volume(b.values.Shape(x)) == 0) window = host;  // nothing will be copied
    if (!window) return false;
    windows->push_back(*window);
    begin[axis] += b.values.Shape(x)[axis];
  }
  return true;
}

}  // namespace

size_t BuildConcat(Builder& b, const Op& op) {
  int y = op.outputs[0];
  int64_t axis = op.attrs.Int("axis");
  const Dims& shape = b.values.Shape(y);
  Expect(axis >= 0 && axis < b.values.Rank(y), "axis ", axis, " is out of range for shape ",
         ToString(shape));
  int64_t total = 0;
  for (int x : op.inputs) {
    bool alike = b.values.Type(x) == b.values.Type(y) ||
                 (IsFloat(b.values.Type(x)) && IsFloat(b.values.Type(y)));
    Expect(b.values.Rank(x) == b.values.Rank(y) && alike, "input of ", ToString(b.values.Type(x)),
           ToString(b.values.Shape(x)));
    Dims expected = shape;
    expected[axis] = b.values.Shape(x)[axis];
    Expect(b.values.Shape(x) == expected, "input has shape ", ToString(b.values.Shape(x)),
           ", expected ", ToString(expected));
    total += b.values.Shape(x)[axis];
  }
  Expect(total == shape[axis], "inputs have ", total, " along the axis, the output ", shape[axis]);

  Tensor host = b.buffers.ConcatResult(y, [&] { return ChooseLayout(b, op, axis); });
  std::vector<Tensor> windows;
  // A host chosen ahead, itself a window of another, may be cut where blocks do not allow it.
  if (!CutWindows(b, op, axis, host, &windows)) {
    host = b.buffers.Fresh(PlainDesc(shape, b.values.Type(y)), b.values.Type(y));
    CutWindows(b, op, axis, host, &windows);
  }
  if (CopyRows(b, op, axis, host)) {
    b.buffers.Set(y, host);
    return 0;
  }
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    if (Volume(b.values.Shape(op.inputs[i])) == 0) continue;
    const Tensor &lies = b.buffers.Get(op.inputs[i]), &window = windows[i];
    bool there = lies.buffer == window.buffer && lies.Begin() == window.Begin() &&
                 SameLayout(lies.desc, window.desc);
    if (!there) b.steps.Copy(lies, window);
  }
  b.buffers.Set(y, host);
  return 0;
}

}  // namespace byoc::onednn
