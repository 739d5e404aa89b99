// Ops whose result picks elements by an index per axis: pad, broadcast, resize, gather.
//
//   y[i0, i1, ...] = x[table0[i0], table1[i1], ...]        -1 in a table: the constant value
//
// The tables are made once, at build time. Resize interpolates between two such picks per axis.
#include <algorithm>
#include <cmath>
#include <limits>

#include "../kernels/copy.h"
#include "../kernels/resize.h"
#include "checks.h"
#include "post_ops.h"

namespace byoc::onednn {
namespace {

// Tables hold 32-bit indices.
constexpr int64_t kMaxTable = std::numeric_limits<int32_t>::max();

/// Source index of a padded axis.
std::vector<int32_t> PadTable(const std::string& mode, int64_t size, int64_t begin, int64_t end) {
  std::vector<int32_t> table;
  for (int64_t i = -begin; i < size + end; ++i) {
    int64_t from = i;
    if (mode == "edge") {
      from = std::clamp<int64_t>(i, 0, size - 1);
    } else if (mode == "reflect") {
      int64_t period = 2 * (size - 1);
      from = period == 0 ? 0 : ((i % period) + period) % period;
      if (from >= size) from = period - from;
    } else if (i < 0 || i >= size) {
      from = -1;
    }
    table.push_back(static_cast<int32_t>(from));
  }
  return table;
}

}  // namespace

size_t BuildPad(Builder& b, const Op& op) {
  int value = op.inputs[0], result = op.outputs[0];
  const Dims& shape = b.values.Shape(value);
  Dims begin = op.attrs.Ints("pads_begin", b.values.bindings()),
       end = op.attrs.Ints("pads_end", b.values.bindings()), expected = shape;
  std::string mode = op.attrs.Has("mode") ? op.attrs.String("mode") : "constant";
  Expect(mode == "constant" || mode == "edge" || mode == "reflect", "mode '", mode,
         "' is unknown; legal: constant, edge, reflect");
  Expect(begin.size() == shape.size() && end.size() == shape.size(),
         "pads must name every dimension");
  std::vector<std::vector<int32_t>> tables;
  for (size_t d = 0; d < shape.size(); ++d) {
    expected[d] += begin[d] + end[d];
    Expect(expected[d] >= 0 && (mode == "constant" || shape[d] > 0), "pads ", begin[d], " and ",
           end[d], " do not fit dimension ", d);
    Expect(b.values.Rank(result) == b.values.Rank(value) &&
               expected[d] == b.values.Shape(result)[d] && expected[d] <= kMaxTable &&
               shape[d] <= kMaxTable,
           "output has shape ", ToString(b.values.Shape(result)));
    tables.push_back(PadTable(mode, shape[d], begin[d], end[d]));
  }
  ExpectShape(b.values.Shape(result), expected);
  Expect(b.values.Type(value) == b.values.Type(result) && SizeOf(b.values.Type(value)) == 4,
         "pad needs float32 or int32");
  float fill = op.attrs.Has("value") ? op.attrs.Float("value") : 0.f;
  int32_t bits = 0;
  if (b.values.Type(value) == DType::kFloat32) {
    std::copy_n(reinterpret_cast<const char*>(&fill), 4, reinterpret_cast<char*>(&bits));
  } else {
    bits = static_cast<int32_t>(fill);
  }

  // Padding of pixels only runs in the layout the input has.
  const Tensor& lies = b.buffers.Get(value);
  std::optional<SpatialView> view = ViewSpatial(lies.desc);
  bool pixels_only = shape.size() >= 3 && begin[0] == 0 && end[0] == 0 && begin[1] == 0 &&
                     end[1] == 0 && !IsPlain(lies.desc) && IsDense(lies.desc) && view &&
                     (fill == 0.f || view->lanes * view->blocks == view->channels);
  Tensor x = lies;
  Desc layout = PlainDesc(expected, b.values.Type(value));
  Dims x_strides;
  if (pixels_only) {
    layout = *WithShape(lies.desc, expected);
    tables.erase(tables.begin(), tables.begin() + 2);
    // Loops: batch, block, pixels, lane.
    auto whole = [](int64_t n) {
      std::vector<int32_t> all(n);
      for (int64_t i = 0; i < n; ++i) all[i] = static_cast<int32_t>(i);
      return all;
    };
    tables.insert(tables.begin(), {whole(view->batch), whole(view->blocks)});
    tables.push_back(whole(view->lanes));
    Dims strides = lies.desc.get_strides();
    x_strides = {view->batch_stride, view->block_stride};
    x_strides.insert(x_strides.end(), strides.begin() + 2, strides.end());
    x_strides.push_back(1);
  } else {
    x = b.buffers.Strided(value);
    x_strides = x.desc.get_strides();
    if (shape.empty()) x_strides.clear();
  }
  Tensor y = b.buffers.Result(result, layout);
  Dims y_shape;  // in the order of the tables; y is dense in that order
  for (const auto& table : tables) y_shape.push_back(static_cast<int64_t>(table.size()));
  b.steps.Add("byoc:pad", {x, y}, PickKernel(tables, x_strides, PlainStrides(y_shape), bits),
              Describe(layout));
  b.buffers.Set(result, y);
  return 0;
}

size_t BuildBroadcast(Builder& b, const Op& op) {
  int value = op.inputs[0], result = op.outputs[0];
  const Dims &from = b.values.Shape(value), &shape = b.values.Shape(result);
  Expect(b.values.Type(value) == b.values.Type(result), "a broadcast keeps the dtype");
  ExpectShape(shape, BroadcastShape(from, shape));
  Tensor x = b.buffers.Strided(value);
  Dims own = x.desc.get_strides(), strides(shape.size(), 0);
  size_t ahead = shape.size() - from.size();
  for (size_t d = 0; d < from.size(); ++d) strides[ahead + d] = from[d] == 1 ? 0 : own[d];
  Tensor y = b.buffers.Result(result, PlainDesc(shape, b.values.Type(value)));
  b.steps.Add("byoc:broadcast", {x, y},
              StridedCopy(shape, strides, PlainStrides(shape), SizeOf(b.values.Type(value))));
  b.buffers.Set(result, y);
  return 0;
}

size_t BuildResize(Builder& b, const Op& op) {
  ExpectFloat(b, {op.inputs[0], op.outputs[0]});
  int value = op.inputs[0], result = op.outputs[0];
  const Dims &from = b.values.Shape(value), &to = b.values.Shape(result);
  Expect(from.size() >= 3 && from.size() <= 5 && to.size() == from.size() && from[0] == to[0] &&
             from[1] == to[1],
         "expected the same batch and channels and 1 to 3 spatial dimensions");
  for (size_t d = 2; d < from.size(); ++d) {
    Expect(from[d] > 0 && from[d] <= kMaxTable && to[d] <= kMaxTable, "dimension ", d,
           " cannot be resized");
  }
  ResizeMode mode =
      FindResizeMode(op.attrs.String("alg"), op.attrs.String("coordinate"),
                     op.attrs.Has("rounding") ? op.attrs.String("rounding") : "round_prefer_floor");
  Tensor x = b.buffers.Get(value);
  std::optional<SpatialView> view = ViewSpatial(x.desc);
  std::optional<Desc> layout = WithShape(x.desc, to);
  if (!view || !layout || layout->get_inner_blks() != x.desc.get_inner_blks() ||
      view->pixel_stride != view->lanes) {  // lines are read whole: no gaps, also of one channel
    x = b.buffers.Plain(value);
    view = ViewSpatial(x.desc);
    layout = PlainDesc(to, DType::kFloat32);
  }
  Tensor y = b.buffers.Result(result, *layout);
  SpatialView target = *ViewSpatial(y.desc);
  if (x.desc.get_inner_blks().empty()) {
    // One pixel looks like channels last in every layout: it is read channel by channel, and
    // written by the strides that its channels have in the other one.
    if (view->pixels == 1) {
      view->lanes = view->pixel_stride = 1;
      view->blocks = from[1];
      view->block_stride = x.desc.get_strides()[1];
    }
    target.block_stride = y.desc.get_strides()[1];
  }
  b.steps.Add("byoc:resize", {x, y}, ResizeKernel(mode, *view, target),
              op.attrs.String("alg") + " " + Describe(*layout));
  b.buffers.Set(result, y);
  return 0;
}

size_t BuildGather(Builder& b, const Op& op) {
  int value = op.inputs[0], indices = op.inputs[1], result = op.outputs[0];
  const Dims& shape = b.values.Shape(value);
  int64_t axis = op.attrs.Int("axis");
  Expect(axis >= 0 && axis < b.values.Rank(value), "axis ", axis, " is out of range for shape ",
         ToString(shape));
  DType index_type = b.values.Type(indices);
  Expect(index_type == DType::kInt32 || index_type == DType::kInt64, "indices are ",
         ToString(index_type), ", expected int32 or int64");
  Expect(b.values.Type(value) == b.values.Type(result), "a gather keeps the dtype");
  Dims expected(shape.begin(), shape.begin() + axis);
  expected.insert(expected.end(), b.values.Shape(indices).begin(), b.values.Shape(indices).end());
  expected.insert(expected.end(), shape.begin() + axis + 1, shape.end());
  ExpectShape(b.values.Shape(result), expected);
  int64_t outer = Volume(Dims(shape.begin(), shape.begin() + axis));
  int64_t inner = Volume(Dims(shape.begin() + axis + 1, shape.end()));
  bool from_end = !op.attrs.Has("from_end") || op.attrs.Bool("from_end");
  Tensor x = b.buffers.Plain(value), i = b.buffers.Plain(indices);
  Tensor y = b.buffers.Result(result, PlainDesc(expected, b.values.Type(value)));
  b.steps.Add("byoc:gather", {x, i, y},
              Gather(outer, shape[axis], inner, Volume(b.values.Shape(indices)),
                     index_type == DType::kInt64, from_end, SizeOf(b.values.Type(value))));
  b.buffers.Set(result, y);
  return 0;
}

}  // namespace byoc::onednn
