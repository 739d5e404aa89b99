/*!
 * \file gemm.h
 * \brief The array's arithmetic on a CPU: uint8 rows times packed int8 weights.
 *
 * Weights lie in blocks of 16 columns, k in groups of 4: [n / 16][k / 4][16][4] (docs/npu.md). One
 * group is 64 bytes, one AVX-512 register, one operand of vpdpbusd. That instruction wants an
 * unsigned left operand: rows hold x + 128, and 128 * (sum of a weight column) is taken off again.
 */
#ifndef BYOC_NPU_GEMM_H_
#define BYOC_NPU_GEMM_H_

#include <cstdint>

namespace byoc::npu {

/*! \brief offsets[j] = 128 * (sum over k of w[k][j]) modulo 2^32, for j < blocks * 16. */
void Offsets(const int8_t* w, int64_t blocks, int64_t groups, int32_t* offsets);

/*!
 * \brief c[i][j] (+)= sum over k of (a[i][k] - 128) * w[k][j], modulo 2^32.
 * a: rows x (4 * groups) bytes. c: rows x n, dense. w: packed, ceil(n / 16) blocks.
 */
void Gemm(const uint8_t* a, int64_t rows, int64_t groups, const int8_t* w, const int32_t* offsets,
          int64_t n, bool accumulate, int32_t* c);

}  // namespace byoc::npu

#endif  // BYOC_NPU_GEMM_H_
