// Conversions between floats and 8-bit values, and from one scale and zero point to another:
//
//   quantize    y = round(x / scale) + zero, saturated
//   dequantize  y = (x - zero) * scale
//   requantize  both, as a table of 256 bytes made once at build time
#include <algorithm>
#include <array>
#include <numeric>

#include "../kernels/loops.h"
#include "../kernels/simd.h"
#include "checks.h"
#include "quant_params.h"

namespace byoc::onednn {
namespace {

/// For every byte that one set of quant params reads as a real, the byte of the nearest real of
/// another.
std::array<uint8_t, 256> RequantizeTable(const QuantParams& from, bool in_signed,
                                         const QuantParams& to, bool out_signed) {
  std::array<uint8_t, 256> table{};
  for (int byte = 0; byte < 256; ++byte) {
    int integer = in_signed ? static_cast<int8_t>(byte) : byte;
    float real = static_cast<float>(integer - from.zero) * from.scale;
    Rows().quantize(&real, 1, &table[byte], 1, 1, to.scale, to.zero, out_signed);
  }
  return table;
}

Kernel LookUp(const LoopNest<2>& nest, const std::array<uint8_t, 256>& table) {
  return [nest, table](void* const* operands) {
    const uint8_t* x = static_cast<const uint8_t*>(operands[0]);
    uint8_t* y = static_cast<uint8_t*>(operands[1]);
    int64_t sx = nest.RowStride(0), sy = nest.RowStride(1);
    ForEachPart(nest, [&](const std::array<int64_t, 2>& at, int64_t n) {
      for (int64_t i = 0; i < n; ++i) y[at[1] + i * sy] = table[x[at[0] + i * sx]];
    });
  };
}

/// An element-wise change of how reals are stored; bytes stand for reals by their quant params.
void BuildConversion(Builder& b, const Op& op, bool from_bytes, bool to_bytes) {
  int value = op.inputs[0], y = op.outputs[0];
  ExpectShape(b.values.Shape(y), b.values.Shape(value));
  for (auto [checked, bytes] : {std::pair(value, from_bytes), std::pair(y, to_bytes)}) {
    Expect(bytes ? IsByte(b.values.Type(checked)) : b.values.Type(checked) == DType::kFloat32,
           "operand is ", ToString(b.values.Type(checked)), ", expected ",
           bytes ? "int8 or uint8" : "float32");
  }
  bool both = from_bytes && to_bytes;
  QuantParams from, to;
  if (from_bytes) from = ReadQuantParams(op, both ? "x_scale" : "scale", both ? "x_zero" : "zero");
  if (to_bytes) to = ReadQuantParams(op, "scale", "zero");

  // As it lies, by loops of ours: oneDNN's reorder forgets the zero point in some layouts (s8 acdb
  // to f32 abcd of 64 channels, in 3.2).
  Tensor x = b.buffers.Strided(value);
  Tensor target = b.buffers.Result(y, DenseAs(x.desc, b.values.Type(y)));
  Dims from_strides = x.desc.get_strides(), to_strides = target.desc.get_strides();
  std::vector<size_t> order(b.values.Rank(y));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t d, size_t e) { return to_strides[d] > to_strides[e]; });
  Dims shape;
  std::array<Dims, 2> strides;
  for (size_t d : order) {
    shape.push_back(b.values.Shape(y)[d]);
    strides[0].push_back(from_strides[d]);
    strides[1].push_back(to_strides[d]);
  }
  LoopNest<2> nest = Collapse<2>(shape, strides);
  bool in_signed = b.values.Type(value) == DType::kInt8,
       out_signed = b.values.Type(y) == DType::kInt8;
  Kernel kernel;
  if (both) {
    kernel = LookUp(nest, RequantizeTable(from, in_signed, to, out_signed));
  } else if (to_bytes) {
    kernel = [nest, to, out_signed](void* const* operands) {
      const float* in = static_cast<const float*>(operands[0]);
      uint8_t* out = static_cast<uint8_t*>(operands[1]);
      ForEachPart(nest, [&](const std::array<int64_t, 2>& at, int64_t n) {
        Rows().quantize(in + at[0], nest.RowStride(0), out + at[1], nest.RowStride(1), n, to.scale,
                        to.zero, out_signed);
      });
    };
  } else {
    kernel = [nest, from, in_signed](void* const* operands) {
      const uint8_t* in = static_cast<const uint8_t*>(operands[0]);
      float* out = static_cast<float*>(operands[1]);
      ForEachPart(nest, [&](const std::array<int64_t, 2>& at, int64_t n) {
        Rows().dequantize(in + at[0], nest.RowStride(0), out + at[1], nest.RowStride(1), n,
                          from.scale, from.zero, in_signed);
      });
    };
  }
  b.steps.Add(std::string("byoc:") + op.kind->name, {x, target}, kernel, Describe(target.desc));
  b.buffers.Set(y, target);
}

}  // namespace

size_t BuildQuantize(Builder& b, const Op& op) {
  BuildConversion(b, op, /*from_bytes=*/false, /*to_bytes=*/true);
  return 0;
}

size_t BuildDequantize(Builder& b, const Op& op) {
  BuildConversion(b, op, /*from_bytes=*/true, /*to_bytes=*/false);
  return 0;
}

size_t BuildRequantize(Builder& b, const Op& op) {
  BuildConversion(b, op, /*from_bytes=*/true, /*to_bytes=*/true);
  return 0;
}

}  // namespace byoc::onednn
