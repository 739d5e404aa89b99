/*!
 * \file model.h
 * \brief A .byoc file ready to run, without Python.
 *
 * \code
 *   file ─▶ manifest, signature ─▶ format, machine, vendors ─▶ every hash ─▶ mapped weights
 *        ─▶ host library, vendors' segments ─▶ Model ◀── shared by all sessions of equal files
 * \endcode
 *
 * The first row is the work of artifact/artifact_file.h, which Python shares.
 */
#ifndef BYOC_RUNTIME_MODEL_H_
#define BYOC_RUNTIME_MODEL_H_

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/optional.h>
#include <tvm/ffi/string.h>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "artifact/artifact_file.h"
#include "artifact/manifest.h"
#include "plan/binding.h"
#include "plan/executor.h"

namespace byoc {

/*! \brief Bytes; see byoc_memory of byoc/session.h. */
struct ModelMemory {
  size_t weights = 0, packed = 0, workspace = 0, ports = 0, code = 0;
};

/*! \brief A model that is loaded, without the state of its sessions; immutable, for all threads. */
class Model {
 public:
  struct Options {
    const char* library_path = nullptr;
    const char* require_signature = nullptr;
    bool isolation = true;  // false: run vendors here that were to run in a process of their own
  };
  /*! \brief segment, vendor, kind, message, number, replaced: see Guard::Report. */
  using OnFault = std::function<void(const std::string&, const std::string&, const std::string&,
                                     const std::string&, int64_t, bool)>;

  /*!
   * \brief Load a file, or share what an equal file has loaded.
   * \param path Where it lies.
   * \throws byoc.ArtifactError (the path is part of the message), byoc.VendorError when a vendor
   * cannot be used, byoc.OptionError for a key that is none.
   */
  static std::shared_ptr<const Model> Load(const std::string& path, const Options& options);

  const Manifest& manifest() const { return manifest_; }

  /*!
   * \brief An executor of its own for a session; the model must outlive it.
   * \param heal Put the host twins behind the segments that have one.
   * \param on_fault Told of every failure that a twin stands in for; may be empty.
   * \throws byoc.ArtifactError when plan and model do not fit, byoc.VendorError when a segment was
   * not built and nothing can run instead.
   */
  std::shared_ptr<Executor> NewSession(bool heal, const OnFault& on_fault) const;

  /*! \brief What the model holds, apart from sessions' workspace and ports. */
  ModelMemory Memory() const;

 private:
  explicit Model(Manifest manifest) : manifest_(std::move(manifest)) {}
  /*! \brief Whether what is mapped of the file is what was verified. */
  bool Unchanged() const { return watch_ == nullptr || watch_->Same(); }
  /*! \brief Take everything out of a verified file. */
  void Read(ArtifactFile* file, const std::vector<std::string>& folders);
  /*! \brief Arrays by number; `what` asks, for messages. */
  tvm::ffi::Array<tvm::ffi::Tensor> Pick(const std::vector<size_t>& numbers,
                                         const std::string& what) const;

  /*! \brief Whether a segment that its vendor cannot load is left to its twin. */
  bool MayFallBack(const std::string& segment) const;
  void CheckRequirements(const std::vector<std::string>& folders);
  tvm::ffi::Function BindVendor(const ManifestSegment& segment, const tvm::ffi::Tensor& blob,
                                const std::vector<std::string>& folders, PortCounts ports,
                                std::set<size_t>* in_use);
  tvm::ffi::Function Healed(const std::string& segment, size_t outputs,
                            const OnFault& on_fault) const;

  struct Twin {
    std::string plan;
    tvm::ffi::Array<tvm::ffi::Tensor> constants;
    size_t outputs = 0;
  };

  const Manifest manifest_;
  std::string plan_;
  std::vector<tvm::ffi::Tensor> arrays_;
  tvm::ffi::Array<tvm::ffi::Tensor> constants_;
  std::map<std::string, Twin> twins_;
  tvm::ffi::Optional<tvm::ffi::Module> host_;
  tvm::ffi::Map<tvm::ffi::String, tvm::ffi::Function> segments_;
  tvm::ffi::Map<tvm::ffi::String, tvm::ffi::String> vendors_;
  std::map<std::string, std::pair<std::string, std::string>> missing_;  // segment -> kind, why
  ModelMemory memory_;
  std::shared_ptr<FileWatch> watch_;  // null: nothing of the file is mapped
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_MODEL_H_
