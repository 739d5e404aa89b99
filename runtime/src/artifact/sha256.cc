/*
 * The rounds are those of FIPS 180-4, section 6.2.2. x86 has had instructions for them since 2016:
 * four rounds per pair of SHA256RNDS2, the schedule by SHA256MSG1 and SHA256MSG2.
 */
#include "artifact/sha256.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace byoc {
namespace {

using State = std::array<uint32_t, 8>;

alignas(16) constexpr uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

inline uint32_t Rotate(uint32_t x, int by) { return x >> by | x << (32 - by); }

void Portable(State* state, const unsigned char* data, size_t blocks) {
  for (; blocks > 0; --blocks, data += 64) {
    uint32_t w[64];
    for (int t = 0; t < 16; ++t) {
      w[t] = static_cast<uint32_t>(data[4 * t]) << 24 |
             static_cast<uint32_t>(data[4 * t + 1]) << 16 |
             static_cast<uint32_t>(data[4 * t + 2]) << 8 | data[4 * t + 3];
    }
    for (int t = 16; t < 64; ++t) {
      const uint32_t a = w[t - 15], b = w[t - 2];
      w[t] = (Rotate(b, 17) ^ Rotate(b, 19) ^ b >> 10) + w[t - 7] +
             (Rotate(a, 7) ^ Rotate(a, 18) ^ a >> 3) + w[t - 16];
    }
    State s = *state;
    for (int t = 0; t < 64; ++t) {
      const uint32_t e = s[4], a = s[0];
      const uint32_t t1 = s[7] + (Rotate(e, 6) ^ Rotate(e, 11) ^ Rotate(e, 25)) +
                          ((e & s[5]) ^ (~e & s[6])) + kRound[t] + w[t];
      const uint32_t t2 = (Rotate(a, 2) ^ Rotate(a, 13) ^ Rotate(a, 22)) +
                          ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
      for (int i = 7; i > 0; --i) s[i] = s[i - 1];
      s[4] += t1;
      s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; ++i) (*state)[i] += s[i];
  }
}

#if defined(__x86_64__)
bool HaveInstructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_SSE4_1) == 0 || (c & bit_SSSE3) == 0) {
    return false;
  }
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & 1u << 29) != 0;
}

__attribute__((target("sha,sse4.1,ssse3"))) void Hardware(State* state, const unsigned char* data,
                                                          size_t blocks) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const auto number = [&](int i) { return static_cast<int>((*state)[i]); };
  __m128i abef = _mm_set_epi32(number(0), number(1), number(4), number(5));
  __m128i cdgh = _mm_set_epi32(number(2), number(3), number(6), number(7));
  for (; blocks > 0; --blocks, data += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i w[4];  // the last 16 words of the schedule
    for (int group = 0; group < 16; ++group) {
      __m128i& now = w[group & 3];
      if (group < 4) {
        now = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data) + group);
        now = _mm_shuffle_epi8(now, swap);
      } else {
        const __m128i last = w[(group + 3) & 3];
        now = _mm_add_epi32(_mm_sha256msg1_epu32(now, w[(group + 1) & 3]),
                            _mm_alignr_epi8(last, w[(group + 2) & 3], 4));
        now = _mm_sha256msg2_epu32(now, last);
      }
      const auto* k = reinterpret_cast<const __m128i*>(kRound) + group;
      const __m128i sum = _mm_add_epi32(now, _mm_load_si128(k));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  alignas(16) uint32_t one[4], two[4];
  _mm_store_si128(reinterpret_cast<__m128i*>(one), abef);
  _mm_store_si128(reinterpret_cast<__m128i*>(two), cdgh);
  *state = {one[3], one[2], two[3], two[2], one[1], one[0], two[1], two[0]};
}
#endif

void Compress(State* state, const unsigned char* data, size_t blocks) {
#if defined(__x86_64__)
  static const bool hardware = HaveInstructions();
  if (hardware) return Hardware(state, data, blocks);
#endif
  Portable(state, data, blocks);
}

}  // namespace

Sha256::Sha256()
    : state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19} {}

void Sha256::Update(const void* bytes, size_t size) {
  const auto* data = static_cast<const unsigned char*>(bytes);
  total_ += size;
  if (filled_ > 0) {
    const size_t take = std::min(size, sizeof(block_) - filled_);
    std::memcpy(block_ + filled_, data, take);
    filled_ += take, data += take, size -= take;
    if (filled_ < sizeof(block_)) return;
    Compress(&state_, block_, 1);
    filled_ = 0;
  }
  Compress(&state_, data, size / sizeof(block_));
  filled_ = size % sizeof(block_);
  if (filled_ > 0) std::memcpy(block_, data + size - filled_, filled_);
}

std::string Sha256::Hex() {
  const uint64_t bits = total_ * 8;
  unsigned char tail[72] = {0x80};
  const size_t padding = (filled_ < 56 ? 56 : 120) - filled_;
  for (int i = 0; i < 8; ++i) tail[padding + i] = static_cast<unsigned char>(bits >> (56 - 8 * i));
  Update(tail, padding + 8);
  std::string hex;
  for (uint32_t word : state_) {
    for (int shift = 28; shift >= 0; shift -= 4) hex += "0123456789abcdef"[word >> shift & 15];
  }
  return hex;
}

std::string Sha256Hex(const void* data, size_t size) {
  Sha256 hash;
  hash.Update(data, size);
  return hash.Hex();
}

std::string ContentName(const std::vector<std::string>& digests) {
  Sha256 hash;
  for (const std::string& digest : digests) hash.Update(digest.data(), digest.size());
  return hash.Hex();
}

uint32_t Crc32(const void* data, size_t size) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> made{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
      made[i] = value;
    }
    return made;
  }();
  uint32_t crc = ~0u;
  const auto* bytes = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < size; ++i) crc = table[(crc ^ bytes[i]) & 255] ^ crc >> 8;
  return ~crc;
}

}  // namespace byoc
