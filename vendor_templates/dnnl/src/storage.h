/// \file storage.h
/// \brief Aligned memory, and the constants of a program in the layouts its instances want.
#ifndef BYOC_DNNL_STORAGE_H_
#define BYOC_DNNL_STORAGE_H_

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "layout.h"

namespace byoc::onednn {

/// Uninitialised memory, 64-byte aligned; large blocks ask for huge pages.
///
/// \return A block that frees itself with its last owner; never null.
/// \throw ProgramError when there is not enough memory.
std::shared_ptr<void> Allocate(size_t bytes);

/// The one CPU engine of the process.
const dnnl::engine& Engine();

/// A constant as the artifact holds it: row-major.
struct Constant {
  const void* data = nullptr;  ///< owned by the artifact
  Dims shape;
  DType dtype = DType::kFloat32;
};

/// Packs constants, each wanted layout once for all instances that live at the same time, of
/// all models in the process: plans of one model for several shapes share their weights.
///
/// A packed copy belongs to the instances that use it and dies with the last of them. While it
/// lives, so does a model that holds the constant: no other array can come to lie at its address.
class ConstantStore {
 public:
  /// Told of bytes that have been packed: they will hardly be read again.
  using Release = void (*)(const void* data, size_t size);

  /// \param release Called after bytes have been packed; null: nobody is told.
  explicit ConstantStore(std::vector<Constant> constants, Release release = nullptr)
      : constants_(std::move(constants)), release_(release) {}

  /// The constants by their index in the artifact.
  const std::vector<Constant>& constants() const { return constants_; }

  /// `data`, laid out as `from`, copied into layout `to`; safe to call from several threads.
  ///
  /// \return The one copy that all who ask for the same own together.
  std::shared_ptr<const void> Pack(const void* data, const Desc& from, const Desc& to);

 private:
  struct Packed {
    Desc from, to;
    std::weak_ptr<const void> memory;
  };
  /// What was packed, by the address of its source.
  struct Table {
    std::mutex mutex;
    std::map<const void*, std::vector<Packed>> packed;
    size_t swept = 0;  // entries left when those of the dead were last removed
  };
  bool IsConstant(const void* data) const;
  std::vector<Constant> constants_;
  const Release release_;
  Table own_;  // of copies that live only as long as this model
};

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_STORAGE_H_
