// Linear resize is separable: for one output row, blend the (up to four) source rows it touches
// into one, then blend neighbours along that row.
//
//   x rows  ─┬─ lerp by depth and height ─▶ row ── lerp by width ─▶ y row
//            ┘
#include "resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "../error.h"
#include "parallel.h"
#include "simd.h"

namespace byoc::onednn {
namespace {

/// For each output position along one axis: the two inputs and the weight of the second.
struct AxisTable {
  std::vector<int32_t> low, high;
  std::vector<float> weight;
};

double SourcePosition(Coordinate coordinate, int64_t i, int64_t from, int64_t to) {
  double scale = static_cast<double>(from) / static_cast<double>(to);
  switch (coordinate) {
    case Coordinate::kAsymmetric:
      return i * scale;
    case Coordinate::kAlignCorners:
      return to == 1 ? 0.0 : static_cast<double>(i) * (from - 1) / (to - 1);
    default:
      return (i + 0.5) * scale - 0.5;
  }
}

// Positions that are whole numbers but for rounding stay on their side (as TVM computes them).
constexpr double kSlack = 1e-5;

AxisTable MakeTable(const ResizeMode& mode, int64_t from, int64_t to) {
  AxisTable table;
  for (int64_t i = 0; i < to; ++i) {
    double at = SourcePosition(mode.coordinate, i, from, to);
    int64_t low = 0;
    float weight = 0;
    if (mode.linear) {
      at = std::clamp(at, 0.0, static_cast<double>(from - 1));
      low = static_cast<int64_t>(at);
      weight = static_cast<float>(at - static_cast<double>(low));
    } else if (mode.rounding == Rounding::kFloor) {
      low = static_cast<int64_t>(std::floor(at + kSlack));
    } else if (mode.rounding == Rounding::kCeil) {
      low = static_cast<int64_t>(std::ceil(at - kSlack));
    } else if (mode.rounding == Rounding::kEven) {
      low = static_cast<int64_t>(std::nearbyint(at));
    } else if (mode.rounding == Rounding::kPreferCeil) {
      low = static_cast<int64_t>(std::floor(at + 0.5));
    } else {
      low = static_cast<int64_t>(std::ceil(at - 0.5));
    }
    low = std::clamp<int64_t>(low, 0, from - 1);
    table.low.push_back(static_cast<int32_t>(low));
    table.high.push_back(static_cast<int32_t>(std::min(low + 1, from - 1)));
    table.weight.push_back(weight);
  }
  return table;
}

struct Plan {
  bool linear;
  SpatialView from, to;
  int64_t depth[2], height[2], width[2];  // input, output
  AxisTable d, h, w;
};

void NearestRow(const Plan& p, const float* x, float* y) {
  int64_t lanes = p.from.lanes;
  for (int64_t i = 0; i < p.width[1]; ++i) {
    const float* from = x + p.w.low[i] * p.from.pixel_stride;
    float* to = y + i * p.to.pixel_stride;
    if (lanes == 1) {
      *to = *from;
    } else {
      std::memcpy(to, from, lanes * sizeof(float));
    }
  }
}

/// Blend the source rows of one output row into `row`; returns where the row is.
const float* BlendRows(const Plan& p, const float* x, int64_t d, int64_t h, float* row,
                       float* spare) {
  int64_t line = p.width[0] * p.from.pixel_stride, length = p.width[0] * p.from.lanes;
  auto at = [&](int64_t depth, int64_t height) {
    return x + (depth * p.height[0] + height) * line;
  };
  auto blend_height = [&](int64_t depth, float* out) -> const float* {
    const float *low = at(depth, p.h.low[h]), *high = at(depth, p.h.high[h]);
    if (p.h.weight[h] == 0.f) return low;
    Rows().lerp(low, high, p.h.weight[h], out, length);
    return out;
  };
  const float* first = blend_height(p.d.low[d], row);
  if (p.d.weight[d] == 0.f) return first;
  const float* second = blend_height(p.d.high[d], spare);
  Rows().lerp(first, second, p.d.weight[d], row, length);
  return row;
}

void RunResize(const Plan& p, const float* x, float* y) {
  int64_t rows = p.depth[1] * p.height[1], maps = p.from.batch * p.from.blocks;
  int64_t length = p.width[0] * p.from.lanes;
  ParallelFor(maps * rows, p.width[1] * p.from.lanes * 2, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(p.linear ? 2 * length : 0);
    for (int64_t i = begin; i < end; ++i) {
      int64_t map = i / rows, row = i % rows, d = row / p.height[1], h = row % p.height[1];
      int64_t n = map / p.from.blocks, block = map % p.from.blocks;
      const float* xs = x + n * p.from.batch_stride + block * p.from.block_stride;
      float* ys = y + n * p.to.batch_stride + block * p.to.block_stride +
                  row * p.width[1] * p.to.pixel_stride;
      if (p.linear) {
        const float* line = BlendRows(p, xs, d, h, buffer.data(), buffer.data() + length);
        Rows().lerp_row(line, p.w.low.data(), p.w.high.data(), p.w.weight.data(), ys, p.width[1],
                        p.from.lanes);
      } else {
        int64_t source = (p.d.low[d] * p.height[0] + p.h.low[h]) * p.width[0];
        NearestRow(p, xs + source * p.from.pixel_stride, ys);
      }
    }
  });
}

/// The longest stretch of a table that counts upwards from a source index.
void FindRun(const std::vector<int32_t>& table, int64_t* begin, int64_t* end) {
  *begin = *end = 0;
  int64_t size = static_cast<int64_t>(table.size());
  for (int64_t i = 0; i < size;) {
    int64_t stop = i + 1;
    while (stop < size && table[i] >= 0 && table[stop] == table[stop - 1] + 1) ++stop;
    if (table[i] >= 0 && stop - i > *end - *begin) {
      *begin = i;
      *end = stop;
    }
    i = stop;
  }
}

}  // namespace

Kernel PickKernel(std::vector<std::vector<int32_t>> tables, const Dims& x_strides,
                  const Dims& y_strides, int32_t fill) {
  if (tables.empty()) tables.push_back({0});
  struct Pick {
    std::vector<std::vector<int32_t>> tables;
    Dims x_strides, y_strides;
    int32_t fill;
    int64_t run_begin, run_end;  // of the last table: consecutive indices
  };
  auto pick = std::make_shared<Pick>(Pick{std::move(tables), x_strides, y_strides, fill, 0, 0});
  if (pick->x_strides.empty()) pick->x_strides = pick->y_strides = {1};
  FindRun(pick->tables.back(), &pick->run_begin, &pick->run_end);
  if (pick->x_strides.back() != 1 || pick->y_strides.back() != 1) pick->run_end = pick->run_begin;
  return [pick](void* const* operands) {
    const int32_t* x = static_cast<const int32_t*>(operands[0]);
    int32_t* y = static_cast<int32_t*>(operands[1]);
    const auto& tables = pick->tables;
    size_t last = tables.size() - 1;
    const std::vector<int32_t>& row = tables[last];
    int64_t rows = 1, length = static_cast<int64_t>(row.size());
    for (size_t d = 0; d < last; ++d) rows *= static_cast<int64_t>(tables[d].size());
    ParallelFor(rows, length, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        int64_t rest = r, from = 0, to = 0;
        bool filled = false;
        for (size_t d = last; d-- > 0;) {
          int64_t size = static_cast<int64_t>(tables[d].size()), i = rest % size;
          rest /= size;
          filled = filled || tables[d][i] < 0;
          from += tables[d][i] * pick->x_strides[d];
          to += i * pick->y_strides[d];
        }
        int64_t x_step = pick->x_strides[last], y_step = pick->y_strides[last];
        auto one_by_one = [&](int64_t first, int64_t stop) {
          for (int64_t i = first; i < stop; ++i) {
            y[to + i * y_step] = filled || row[i] < 0 ? pick->fill : x[from + row[i] * x_step];
          }
        };
        if (filled || pick->run_end == pick->run_begin) {
          one_by_one(0, length);
          continue;
        }
        one_by_one(0, pick->run_begin);
        std::memcpy(y + to + pick->run_begin, x + from + row[pick->run_begin],
                    (pick->run_end - pick->run_begin) * sizeof(int32_t));
        one_by_one(pick->run_end, length);
      }
    });
  };
}

ResizeMode FindResizeMode(const std::string& alg, const std::string& coordinate,
                          const std::string& rounding) {
  ResizeMode mode{};
  if (alg != "nearest" && alg != "linear") {
    Fail("resize alg '", alg, "' is unknown; legal: nearest, linear");
  }
  mode.linear = alg == "linear";
  if (coordinate == "half_pixel") {
    mode.coordinate = Coordinate::kHalfPixel;
  } else if (coordinate == "asymmetric") {
    mode.coordinate = Coordinate::kAsymmetric;
  } else if (coordinate == "align_corners") {
    mode.coordinate = Coordinate::kAlignCorners;
  } else {
    Fail("resize coordinate '", coordinate,
         "' is unknown; legal: half_pixel, asymmetric, align_corners");
  }
  if (rounding == "floor") {
    mode.rounding = Rounding::kFloor;
  } else if (rounding == "ceil") {
    mode.rounding = Rounding::kCeil;
  } else if (rounding == "round_prefer_ceil") {
    mode.rounding = Rounding::kPreferCeil;
  } else if (rounding == "round_prefer_floor") {
    mode.rounding = Rounding::kPreferFloor;
  } else if (rounding == "round") {
    mode.rounding = Rounding::kEven;
  } else {
    Fail("resize rounding '", rounding,
         "' is unknown; legal: floor, ceil, round, round_prefer_floor, round_prefer_ceil");
  }
  return mode;
}

Kernel ResizeKernel(const ResizeMode& mode, const SpatialView& from, const SpatialView& to) {
  auto plan = std::make_shared<Plan>();
  plan->linear = mode.linear;
  plan->from = from;
  plan->to = to;
  auto sizes = [](const SpatialView& view, size_t back) {
    return view.spatial.size() > back ? view.spatial[view.spatial.size() - 1 - back] : 1;
  };
  int64_t* dims[] = {plan->width, plan->height, plan->depth};
  AxisTable* tables[] = {&plan->w, &plan->h, &plan->d};
  for (size_t i = 0; i < 3; ++i) {
    dims[i][0] = sizes(from, i);
    dims[i][1] = sizes(to, i);
    *tables[i] = MakeTable(mode, dims[i][0], dims[i][1]);
  }
  return [plan](void* const* operands) {
    RunResize(*plan, static_cast<const float*>(operands[0]), static_cast<float*>(operands[1]));
  };
}

}  // namespace byoc::onednn
