/*!
 * \file archive.h
 * \brief The file format under an artifact: an uncompressed zip whose every byte is known.
 *
 * \code
 *   ┌ header │ manifest.json ┬ header │ plan.json ┬ … ┬ header, padding │ weights.bin ┐
 *   └ central directory │ end records │ comment: sha256 of the manifest ──────────────┘
 * \endcode
 *
 * The manifest lists every member with its size, CRC-32 and sha256. Names and sizes alone fix where
 * everything lies, so a reader writes down all headers as they must be and compares them with the
 * file: a bit that differs anywhere, padding included, is found, and no offset and no name of the
 * file is believed. Members are read once: what is hashed is what is handed out.
 * runtime/io/archive.py writes this format; nothing else reads it.
 */
#ifndef BYOC_RUNTIME_ARCHIVE_H_
#define BYOC_RUNTIME_ARCHIVE_H_

#include <tvm/ffi/container/tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace byoc {

/*! \brief The member whose arrays are mapped; it starts at a page of every supported system. */
inline constexpr const char* kWeightsMember = "weights.bin";

/*! \brief Where the members with vendors' blobs lie, in the programs for some shapes too. */
inline constexpr const char* kBlobFolder = "segments/";

/*! \brief Bytes of `kWeightsMember`, or of a blob, up to which it is copied: mapping saves little
 * then, and looking whether the file has changed would cost more than a call of so small a model
 * should. */
inline constexpr uint64_t kCopied = uint64_t{2} << 20;

/*! \brief One file of the archive, as the manifest describes it. */
struct Member {
  /*! \brief Plain: letters, digits, `_ . -` and folders. */
  std::string name;
  /*! \brief Bytes. */
  uint64_t size = 0;
  /*! \brief As zip files have it. */
  uint32_t crc32 = 0;
  /*! \brief A digest in hex for every started chunk of 4 MiB; at least one. */
  std::vector<std::string> sha256;
};

/*! \brief Throws byoc.ArtifactError: the manifest's entry of a member makes no sense. */
[[noreturn]] void ThrowMisdescribed(const std::string& name);

/*! \brief An ed25519 signature of the manifest. */
struct Signature {
  std::array<unsigned char, 32> public_key;
  std::array<unsigned char, 64> value;
};

/*! \brief A regular file that is open for reading. */
class ArchiveFile {
 public:
  /*!
   * \brief Open a file. A pipe is not waited for.
   * \param path Where it lies.
   * \throws byoc.ArtifactError when it cannot be opened or is no regular file.
   */
  explicit ArchiveFile(const std::string& path);

  /*!
   * \brief Share a regular file that the caller has opened.
   * \param fd Its number, which the caller may close afterwards.
   * \throws byoc.ArtifactError when it is no open file.
   */
  explicit ArchiveFile(int fd);

  ~ArchiveFile();
  ArchiveFile(const ArchiveFile&) = delete;
  ArchiveFile& operator=(const ArchiveFile&) = delete;

  int fd() const { return fd_; }
  /*! \brief Bytes of the file when it was opened. */
  uint64_t size() const { return size_; }

  /*!
   * \brief Read bytes into memory of the caller.
   * \param data At least `size` bytes.
   * \param size How many.
   * \param offset Where they begin in the file.
   * \return How many there are; fewer than `size` where the file ends.
   * \throws byoc.ArtifactError when the file cannot be read.
   */
  uint64_t ReadInto(char* data, uint64_t size, uint64_t offset) const;

  /*! \brief The same as a string. */
  std::string Read(uint64_t size, uint64_t offset) const;

 private:
  int fd_;
  uint64_t size_;
};

/*!
 * \brief Read the manifest and compare it with its hash; nothing else is looked at.
 * \return The bytes of manifest.json.
 * \throws byoc.ArtifactError when the file is no artifact, is cut short, or the manifest is
 * damaged.
 */
std::string ReadManifest(const ArchiveFile& file);

/*! \brief Read the signature, without checking it; nothing where the file has none. */
std::optional<Signature> ReadSignature(const ArchiveFile& file);

/*! \brief The members of a file, once every byte of it has been checked. */
struct Members {
  /*!
   * \brief By name, a private copy (uint8, one dimension) of the very bytes that were hashed, so
   * that nobody who can write to the file can exchange them. `kWeightsMember` and vendors' blobs
   * are among them where that was asked for, or where they are small.
   */
  std::map<std::string, tvm::ffi::Tensor> copies;
  /*! \brief Where each other member begins in the file, by name. */
  std::map<std::string, uint64_t> places;
};

/*! \brief Large members that stay in the file; none of what is code may. */
struct MappedKinds {
  bool weights = true;
  bool blobs = true;
};

/*!
 * \brief Check every byte of the archive but the manifest, which has been read.
 * \param file The archive.
 * \param manifest What `ReadManifest` gave.
 * \param members The members that it lists.
 * \param mapped What is not copied where it is large.
 * \param threads How many threads share the hashing.
 * \throws byoc.ArtifactError naming the first member that is damaged.
 */
Members ReadMembers(const ArchiveFile& file, const std::string& manifest,
                    const std::vector<Member>& members, MappedKinds mapped, int threads = 2);

/*! \brief The digests of bytes as `Member::sha256` has them. */
std::vector<std::string> DigestsOf(const void* data, uint64_t size);

/*! \brief Whether a member's bytes, from `offset` of the file on, have the hashes of the manifest.
 */
bool HasDigests(const ArchiveFile& file, const Member& member, uint64_t offset);

}  // namespace byoc

#endif  // BYOC_RUNTIME_ARCHIVE_H_
