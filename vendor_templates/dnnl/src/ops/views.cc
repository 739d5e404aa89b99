// Ops that move no data where a descriptor can say the same: reshape, transpose, slice, split.
//
//   transpose  the same bytes, strides in another order
//   slice      the same bytes, from a later first element, with longer strides
//   reshape    the same bytes where the strides can be split or joined, else of a plain copy
//
// The result shares its operand's buffer; `BufferAssignment` knows, and lets nobody write over it
// too early.
#include <algorithm>

#include "../kernels/copy.h"
#include "checks.h"
#include "post_ops.h"

namespace byoc::onednn {
namespace {

/// A window of a value: by submemory where the layout allows, else of its plain form.
Tensor WindowOf(Builder& b, int value, const Dims& begin, const Dims& shape) {
  if (std::optional<Tensor> window = Window(b.buffers.Get(value), shape, begin)) return *window;
  return *Window(b.buffers.Plain(value), shape, begin);
}

/// A reshape that only joins dims, done by one copy that keeps the order of the joined loops.
///
/// A channel shuffle is [N, g, C/g, H, W] transposed and joined to [N, C, H, W]. Where the channels
/// lie last, they still do afterwards: row-major order would cost a second copy.
std::optional<Tensor> Joined(Builder& b, const Tensor& x, const Dims& shape) {
  Dims dims = x.desc.get_dims(), strides = x.desc.get_strides();
  size_t rank = shape.size();
  std::vector<size_t> group(dims.size());  // which dim of the result each dim goes into
  Dims reach(rank, 0);                     // the longest stride inside each
  size_t d = 0;
  for (size_t to = 0; to < rank; ++to) {
    int64_t size = 1;
    for (; d < dims.size() && size * dims[d] <= shape[to] && (size < shape[to] || dims[d] == 1);
         ++d) {
      size *= dims[d];
      group[d] = to;
      if (dims[d] > 1) reach[to] = std::max(reach[to], strides[d]);
    }
    if (size != shape[to]) return std::nullopt;
  }
  if (d != dims.size()) return std::nullopt;
  // A dense layout for the result, its loops ordered by how far they reach now.
  std::vector<size_t> order(rank);
  for (size_t i = 0; i < rank; ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t i, size_t j) { return reach[i] > reach[j]; });
  Dims result(rank), inner(dims.size());
  int64_t step = 1;
  for (size_t i = rank; i-- > 0;) {
    result[order[i]] = step;
    step *= shape[order[i]];
  }
  for (size_t i = dims.size(), last = rank; i-- > 0;) {
    bool first_of_group = group[i] != last;
    inner[i] = first_of_group ? result[group[i]] : inner[i + 1] * dims[i + 1];
    last = group[i];
  }
  Tensor copy = b.buffers.Fresh(Desc(shape, x.desc.get_data_type(), result), x.dtype);
  Tensor seen{Desc(dims, x.desc.get_data_type(), inner), x.dtype, copy.buffer, 0};
  b.steps.Copy(x, seen);
  return copy;
}

}  // namespace

size_t BuildReshape(Builder& b, const Op& op) {
  int x = op.inputs[0], y = op.outputs[0];
  Expect(Volume(b.values.Shape(x)) == Volume(b.values.Shape(y)), ToString(b.values.Shape(x)),
         " and ", ToString(b.values.Shape(y)), " have different numbers of elements");
  Expect(b.values.Type(x) == b.values.Type(y), "a reshape keeps the dtype");
  const Tensor& lies = b.buffers.Get(x);
  if (IsStrided(lies.desc) && !IsPlain(lies.desc)) {
    // A transposed or sliced view may still be split or joined without a copy.
    std::optional<Tensor> view = Reshaped(lies, b.values.Shape(y));
    if (!view) view = Joined(b, lies, b.values.Shape(y));
    if (view) {
      b.buffers.Set(y, *view);
      return 0;
    }
  }
  b.buffers.Set(y, *Reshaped(b.buffers.Plain(x), b.values.Shape(y)));
  return 0;
}

size_t BuildTranspose(Builder& b, const Op& op) {
  int value = op.inputs[0], y = op.outputs[0];
  Dims axes = op.attrs.Ints("axes", b.values.bindings());
  const Dims& shape = b.values.Shape(value);
  Expect(b.values.Type(value) == b.values.Type(y), "a transpose keeps the dtype");
  std::vector<int> target(shape.size(), -1);  // where oneDNN is to move each axis
  Dims expected(shape.size(), 0);
  Expect(axes.size() == shape.size(), "axes ", ToString(axes), " do not fit shape ",
         ToString(shape));
  for (size_t d = 0; d < axes.size(); ++d) {
    bool fits = axes[d] >= 0 && axes[d] < static_cast<int64_t>(shape.size());
    Expect(fits && target[axes[d]] < 0, "axes ", ToString(axes), " are no permutation");
    target[axes[d]] = static_cast<int>(d);
    expected[d] = shape[axes[d]];
  }
  ExpectShape(b.values.Shape(y), expected);
  Tensor x = b.buffers.Get(value);
  if (!shape.empty()) x.desc = x.desc.permute_axes(target);
  b.buffers.Set(y, x);
  return 0;
}

size_t BuildSlice(Builder& b, const Op& op) {
  int value = op.inputs[0], y = op.outputs[0];
  const Dims& shape = b.values.Shape(value);
  Dims begin = op.attrs.Ints("begin", b.values.bindings()),
       end = op.attrs.Ints("end", b.values.bindings()),
       steps = op.attrs.Ints("strides", b.values.bindings()), result(shape.size());
  Expect(begin.size() == shape.size() && end.size() == shape.size() && steps.size() == shape.size(),
         "begin, end and strides must name every dimension");
  Expect(b.values.Type(value) == b.values.Type(y), "a slice keeps the dtype");
  bool dense = true;
  for (size_t d = 0; d < shape.size(); ++d) {
    Expect(0 <= begin[d] && begin[d] <= end[d] && end[d] <= shape[d] && steps[d] >= 1, "slice ",
           begin[d], ":", end[d], ":", steps[d], " of dimension ", d, " is out of range for shape ",
           ToString(shape));
    result[d] = (end[d] - begin[d] + steps[d] - 1) / steps[d];
    dense = dense && (steps[d] == 1 || result[d] == 1);
  }
  ExpectShape(b.values.Shape(y), result);
  if (shape.empty()) {
    b.buffers.Set(y, b.buffers.Get(value));
    return 0;
  }
  if (dense) {
    b.buffers.Set(y, WindowOf(b, value, begin, result));
    return 0;
  }
  Tensor x = b.buffers.Strided(value);
  Dims strides = x.desc.get_strides();
  int64_t first = x.Begin();
  for (size_t d = 0; d < shape.size(); ++d) {
    first += begin[d] * strides[d] * SizeOf(x.dtype);
    strides[d] *= steps[d];
  }
  Desc view(result, x.desc.get_data_type(), strides, /*allow_empty=*/true);
  if (!IsEmpty(view)) {
    b.buffers.Set(y, {view, x.dtype, x.buffer, first});
    return 0;
  }
  // Loops that interleave in memory have no descriptor; the copy needs none.
  Tensor from{x.desc, x.dtype, x.buffer, first - x.desc.get_submemory_offset() * SizeOf(x.dtype)};
  Tensor to = b.buffers.Result(y, PlainDesc(result, x.dtype));
  b.steps.Add("byoc:slice", {from, to},
              StridedCopy(result, strides, PlainStrides(result), SizeOf(x.dtype)));
  b.buffers.Set(y, to);
  return 0;
}

size_t BuildSplit(Builder& b, const Op& op) {
  int value = op.inputs[0];
  int64_t axis = op.attrs.Int("axis");
  const Dims& shape = b.values.Shape(value);
  Expect(axis >= 0 && axis < b.values.Rank(value), "axis ", axis, " is out of range for shape ",
         ToString(shape));
  Dims begin(shape.size(), 0);
  for (int y : op.outputs) {
    Dims part = shape;
    Expect(b.values.Rank(y) == b.values.Rank(value), "part of shape ", ToString(b.values.Shape(y)));
    part[axis] = b.values.Shape(y)[axis];
    ExpectShape(b.values.Shape(y), part);
    Expect(b.values.Type(value) == b.values.Type(y), "a split keeps the dtype");
    Expect(begin[axis] + part[axis] <= shape[axis], "the parts are longer than axis ", axis);
    if (Volume(part) == 0) {
      b.buffers.Set(y, b.buffers.Fresh(PlainDesc(part, b.values.Type(y)), b.values.Type(y)));
    } else {
      b.buffers.Set(y, WindowOf(b, value, begin, part));
    }
    begin[axis] += part[axis];
  }
  Expect(begin[axis] == shape[axis], "the parts cover ", begin[axis], " of ", shape[axis]);
  return 0;
}

}  // namespace byoc::onednn
