#include "gemm.h"

#include <algorithm>
#include <cstring>

#include "clones.h"

#ifdef BYOC_NPU_X86
#include <immintrin.h>
#endif

namespace byoc::npu {
namespace {

constexpr int64_t kLanes = 16;

/*! \brief Add the sums of one row of one block to c, taking off the offset of a. */
inline void Finish(const uint32_t* sum, const int32_t* offsets, int64_t width, bool accumulate,
                   int32_t* c) {
  for (int64_t j = 0; j < width; ++j) {
    const uint32_t before = accumulate ? static_cast<uint32_t>(c[j]) : 0;
    c[j] = static_cast<int32_t>(before + sum[j] - static_cast<uint32_t>(offsets[j]));
  }
}

BYOC_NPU_CLONES
void Portable(const uint8_t* a, int64_t rows, int64_t groups, const int8_t* w,
              const int32_t* offsets, int64_t n, bool accumulate, int32_t* c) {
  for (int64_t block = 0; block * kLanes < n; ++block) {
    const int8_t* wb = w + block * groups * 64;
    const int64_t width = std::min(kLanes, n - block * kLanes);
    for (int64_t i = 0; i < rows; ++i) {
      const uint8_t* row = a + i * groups * 4;
      // 64 partial sums, one per byte of a group: the inner loop is a plain vector loop.
      int32_t part[64] = {};
      for (int64_t g = 0; g < groups; ++g) {
        uint8_t four[64];
        for (int64_t j = 0; j < 16; ++j) std::memcpy(four + 4 * j, row + 4 * g, 4);
        for (int64_t j = 0; j < 64; ++j) {
          part[j] = static_cast<int32_t>(static_cast<uint32_t>(part[j]) +
                                         static_cast<uint32_t>(four[j] * wb[g * 64 + j]));
        }
      }
      uint32_t sum[kLanes];
      for (int64_t j = 0; j < kLanes; ++j) {
        sum[j] = static_cast<uint32_t>(part[4 * j]) + static_cast<uint32_t>(part[4 * j + 1]) +
                 static_cast<uint32_t>(part[4 * j + 2]) + static_cast<uint32_t>(part[4 * j + 3]);
      }
      Finish(sum, offsets + block * kLanes, width, accumulate, c + i * n + block * kLanes);
    }
  }
}

#ifdef BYOC_NPU_X86
#define BYOC_NPU_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

BYOC_NPU_VNNI inline __m512i Broadcast(const uint8_t* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return _mm512_set1_epi32(four);
}

/*! \brief One tile: Rows rows, Blocks blocks of 16 columns, all of k; sums stay in registers. */
template <int Rows, int Blocks>
BYOC_NPU_VNNI void Tile(const uint8_t* a, int64_t groups, const int8_t* w, const int32_t* offsets,
                        int64_t n, int64_t width, bool accumulate, int32_t* c) {
  __m512i acc[Rows][Blocks];
  for (int i = 0; i < Rows; ++i) {
    for (int b = 0; b < Blocks; ++b) acc[i][b] = _mm512_setzero_si512();
  }
  for (int64_t g = 0; g < groups; ++g) {
    __m512i wv[Blocks];
    for (int b = 0; b < Blocks; ++b) wv[b] = _mm512_loadu_si512(w + (b * groups + g) * 64);
    for (int i = 0; i < Rows; ++i) {
      const __m512i x = Broadcast(a + (i * groups + g) * 4);
      for (int b = 0; b < Blocks; ++b) acc[i][b] = _mm512_dpbusd_epi32(acc[i][b], x, wv[b]);
    }
  }
  for (int b = 0; b < Blocks; ++b) {
    const int64_t left = std::min(kLanes, width - b * kLanes);
    const auto mask = static_cast<__mmask16>((1u << left) - 1);
    const __m512i offset = _mm512_loadu_si512(offsets + b * kLanes);
    for (int i = 0; i < Rows; ++i) {
      int32_t* out = c + i * n + b * kLanes;
      __m512i value = _mm512_sub_epi32(acc[i][b], offset);
      if (accumulate) value = _mm512_add_epi32(value, _mm512_maskz_loadu_epi32(mask, out));
      _mm512_mask_storeu_epi32(out, mask, value);
    }
  }
}

template <int Blocks>
BYOC_NPU_VNNI void Columns(const uint8_t* a, int64_t rows, int64_t groups, const int8_t* w,
                           const int32_t* offsets, int64_t n, int64_t width, bool accumulate,
                           int32_t* c) {
  constexpr int kRows = 6;  // 6 x 4 sums + 4 weights + 1 input of 32 registers
  int64_t i = 0;
  for (; i + kRows <= rows; i += kRows) {
    Tile<kRows, Blocks>(a + i * groups * 4, groups, w, offsets, n, width, accumulate, c + i * n);
  }
  for (; i < rows; ++i) {
    Tile<1, Blocks>(a + i * groups * 4, groups, w, offsets, n, width, accumulate, c + i * n);
  }
}

BYOC_NPU_VNNI void Vnni(const uint8_t* a, int64_t rows, int64_t groups, const int8_t* w,
                        const int32_t* offsets, int64_t n, bool accumulate, int32_t* c) {
  for (int64_t j = 0; j < n; j += 4 * kLanes) {
    const int64_t width = std::min(4 * kLanes, n - j);
    const int8_t* wj = w + j / kLanes * groups * 64;
    switch ((width + kLanes - 1) / kLanes) {
      case 4:
        Columns<4>(a, rows, groups, wj, offsets + j, n, width, accumulate, c + j);
        break;
      case 3:
        Columns<3>(a, rows, groups, wj, offsets + j, n, width, accumulate, c + j);
        break;
      case 2:
        Columns<2>(a, rows, groups, wj, offsets + j, n, width, accumulate, c + j);
        break;
      default:
        Columns<1>(a, rows, groups, wj, offsets + j, n, width, accumulate, c + j);
        break;
    }
  }
}
#endif

using GemmFunction = decltype(&Portable);

GemmFunction Choose() {
#ifdef BYOC_NPU_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    return &Vnni;
  }
#endif
  return &Portable;
}

}  // namespace

void Offsets(const int8_t* w, int64_t blocks, int64_t groups, int32_t* offsets) {
  for (int64_t b = 0; b < blocks; ++b) {
    int32_t part[64] = {};
    for (int64_t g = 0; g < groups; ++g) {
      const int8_t* p = w + (b * groups + g) * 64;
      for (int j = 0; j < 64; ++j) part[j] += p[j];
    }
    for (int64_t j = 0; j < kLanes; ++j) {
      const int64_t sum =
          int64_t{part[4 * j]} + part[4 * j + 1] + part[4 * j + 2] + part[4 * j + 3];
      offsets[b * kLanes + j] = static_cast<int32_t>(static_cast<uint32_t>(sum) * 128u);
    }
  }
}

void Gemm(const uint8_t* a, int64_t rows, int64_t groups, const int8_t* w, const int32_t* offsets,
          int64_t n, bool accumulate, int32_t* c) {
  static const GemmFunction kBest = Choose();
  kBest(a, rows, groups, w, offsets, n, accumulate, c);
}

}  // namespace byoc::npu
