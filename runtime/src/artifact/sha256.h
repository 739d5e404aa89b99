/*! \brief SHA-256 (FIPS 180-4), with the CPU's own instructions where it has them. */
#ifndef BYOC_RUNTIME_SHA256_H_
#define BYOC_RUNTIME_SHA256_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace byoc {

class Sha256 {
 public:
  Sha256();
  void Update(const void* data, size_t size);
  /*! \brief The digest as 64 lower-case hex digits; nothing may follow. */
  std::string Hex();

 private:
  std::array<uint32_t, 8> state_;
  unsigned char block_[64];
  size_t filled_ = 0;
  uint64_t total_ = 0;
};

/*! \brief The digest of `size` bytes as hex. */
std::string Sha256Hex(const void* data, size_t size);

/*! \brief One name for bytes that were hashed in pieces: the digest of the digests. */
std::string ContentName(const std::vector<std::string>& digests);

/*! \brief CRC-32 as zip files have it. */
uint32_t Crc32(const void* data, size_t size);

}  // namespace byoc

#endif  // BYOC_RUNTIME_SHA256_H_
