/*!
 * \file artifact_file.h
 * \brief A .byoc file opened for use: the one reader of the format, for C and for Python.
 *
 * \code
 *   file ─▶ manifest, its hash ─▶ signature ─▶ format ─▶ versions, CPU ─▶ every byte ─▶ members
 *           ArtifactFile()        CheckSignature() manifest()  CheckMachine()   Verify() Take()
 * \endcode
 *
 * From cheap and harmless to costly, and nothing of the file is used before its hash was right.
 * Members are handed out as the very bytes that were hashed. Large weights and vendors' blobs alone
 * stay in the file, which is mapped and watched: who writes to it in place later is noticed
 * (`FileWatch`). Not so those of a file whose signature was checked, and blobs that are shared
 * objects: they are copied, too.
 */
#ifndef BYOC_RUNTIME_ARTIFACT_FILE_H_
#define BYOC_RUNTIME_ARTIFACT_FILE_H_

#include <tvm/ffi/container/tensor.h>

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "artifact/archive.h"
#include "artifact/manifest.h"
#include "artifact/signature.h"
#include "core/mapping.h"

namespace byoc {

/*! \brief One file, for one thread at a time. All methods throw byoc.ArtifactError. */
class ArtifactFile {
 public:
  /*!
   * \brief Read the manifest and check its hash.
   * \param path Where the file lies.
   */
  explicit ArtifactFile(const std::string& path);
  /*! \brief The same of a file that the caller has opened and may close. */
  explicit ArtifactFile(int fd);

  /*! \brief manifest.json, byte for byte. */
  const std::string& text() const { return text_; }
  /*! \brief The sha256 of `text`: equal ones mean equal files, since it holds all other hashes. */
  const std::string& digest() const { return digest_; }
  /*! \brief Who signed the file, not checked; nothing when nobody did. */
  const std::optional<Signature>& signature() const { return signature_; }

  /*! \brief Throws unless the file was signed with the key that `trusted` belongs to. */
  void CheckSignature(const PublicKey& trusted);

  /*! \brief The manifest, read when first asked for; throws when this byoc does not know its
   * format. */
  const Manifest& manifest();

  /*! \brief Check every byte of the file, keep the members and map the weights, or keep them too.
   */
  void Verify();

  /*!
   * \brief Give a member away; `Verify` comes before.
   * \param name Not that of the weights.
   * \return Its bytes: uint8, one dimension, private memory, or mapped and watched (a large blob).
   * Throws when there is none of that name, or it has been given away: nothing of a file is used
   * twice.
   */
  tvm::ffi::Tensor Take(const std::string& name);

  /*!
   * \brief An array of the manifest's table, a view of the mapped weights; `Verify` comes before.
   * \param number Its place in the table.
   */
  tvm::ffi::Tensor Array(size_t number);

  /*! \brief The watch of what is mapped; null where nothing is. */
  const std::shared_ptr<FileWatch>& watch() const { return watch_; }

 private:
  void Open();
  tvm::ffi::Tensor Map(uint64_t offset, uint64_t size);

  const ArchiveFile file_;
  std::string text_, digest_;
  FileWatch::Stamp stamp_{};
  std::optional<Signature> signature_;
  bool trusted_ = false;  // by its signature
  std::optional<Manifest> manifest_;
  std::map<std::string, std::optional<tvm::ffi::Tensor>> members_;  // nothing: given away
  std::optional<tvm::ffi::Tensor> weights_;
  std::shared_ptr<FileWatch> watch_;
};

/*! \brief The bytes of a member as a string. */
std::string ToString(const tvm::ffi::Tensor& bytes);

}  // namespace byoc

#endif  // BYOC_RUNTIME_ARTIFACT_FILE_H_
