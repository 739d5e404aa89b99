/*!
 * \brief Reading the file format under an artifact: the C++ side of runtime/io/archive.py, which
 * tells how it is laid out and why every byte of it is known.
 */
#ifndef BYOC_RUNTIME_ARCHIVE_H_
#define BYOC_RUNTIME_ARCHIVE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace byoc {

/*! \brief One file of the archive; sha256: a digest in hex per started chunk of 4 MiB. */
struct Member {
  std::string name;
  uint64_t size = 0;
  uint32_t crc32 = 0;
  std::vector<std::string> sha256;
};

/*! \brief An ed25519 signature of the manifest. */
struct Signature {
  std::array<unsigned char, 32> public_key;
  std::array<unsigned char, 64> value;
};

/*! \brief A file open for reading. Throws byoc.ArtifactError. */
class ArchiveFile {
 public:
  explicit ArchiveFile(const std::string& path);
  ~ArchiveFile();
  ArchiveFile(const ArchiveFile&) = delete;
  ArchiveFile& operator=(const ArchiveFile&) = delete;

  int fd() const { return fd_; }
  uint64_t size() const { return size_; }
  /*! \brief Bytes at an offset; fewer where the file ends. */
  std::string Read(uint64_t size, uint64_t offset) const;

 private:
  int fd_;
  uint64_t size_;
};

/*! \brief The manifest, its hash checked; nothing else is looked at. Throws byoc.ArtifactError. */
std::string ReadManifest(const ArchiveFile& file);

/*! \brief The signature, not checked; none where the file has none. */
std::optional<Signature> ReadSignature(const ArchiveFile& file);

/*!
 * \brief Check every byte of the archive but the manifest: member -> offset of its data. Throws
 * byoc.ArtifactError naming the first member that is damaged.
 */
std::map<std::string, uint64_t> Verify(const ArchiveFile& file, const std::string& manifest,
                                       const std::vector<Member>& members, int threads = 2);

}  // namespace byoc

#endif  // BYOC_RUNTIME_ARCHIVE_H_
