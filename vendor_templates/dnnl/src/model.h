/// \file model.h
/// \brief A segment ready to run: the program, its packed constants, and its instances.
///
/// A static program has one instance, built by the constructor. One with variables gets an instance
/// per set of values, built at the first call with them; the least recently used are dropped.
#ifndef BYOC_DNNL_MODEL_H_
#define BYOC_DNNL_MODEL_H_

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "checked_instance.h"
#include "program.h"
#include "storage.h"

namespace byoc::onednn {

/// A caller's tensor: row-major, borrowed for the length of a call.
struct TensorRef {
  void* data;
  const int64_t* shape;  ///< `rank` numbers
  int rank;
  DType dtype;
};

/// One segment: what an artifact becomes when it is loaded.
class Model {
 public:
  /// Builds a static program's instance; one with variables waits for its first call.
  ///
  /// \param constants Borrowed: their bytes must stay as long as `ConstantsToKeep` says.
  /// \param threads How many there are for building and for every run.
  /// \param release Told of constants that have been packed and will hardly be read again.
  /// \throw ProgramError naming the op that cannot be built.
  Model(Program program, std::vector<Constant> constants, int threads,
        ConstantStore::Release release = nullptr);

  const Program& program() const { return program_; }

  /// Compute outputs from inputs; safe to call from several threads.
  ///
  /// \throw ProgramError where number, dtype or shape of the tensors do not fit the program.
  void Run(const std::vector<TensorRef>& inputs, const std::vector<TensorRef>& outputs) const;

  /// Run `repeat` times; one JSON object per step with its time.
  std::string Profile(const std::vector<TensorRef>& inputs, const std::vector<TensorRef>& outputs,
                      int repeat) const;

  /// The steps for given values of the variables, as JSON.
  ///
  /// \param bindings One value per variable, in the program's order; none for a static program.
  std::string Describe(const Bindings& bindings) const;

  /// Bytes of packed constants of a static program; 0 while shapes are open.
  size_t PackedBytes() const { return only_ == nullptr ? 0 : only_->fast().packed_bytes(); }

  /// Bytes of each call of a static program; 0 while shapes are open.
  size_t WorkspaceBytes() const {
    return only_ == nullptr ? 0 : static_cast<size_t>(only_->fast().workspace_bytes());
  }

  /// Which constants a static program still reads where the artifact has them.
  std::vector<bool> ConstantsInUse() const;

  /// Those, and the ones that a form which keeps NaN would be built of, were it needed.
  std::vector<bool> ConstantsToKeep() const;

 private:
  struct Slot {
    Bindings bindings;
    std::mutex building;
    std::shared_ptr<const CheckedInstance> instance;
  };

  std::shared_ptr<const CheckedInstance> Get(const Bindings& bindings) const;
  std::shared_ptr<const CheckedInstance> Build(const Bindings& bindings) const;
  Bindings Bind(const std::vector<TensorRef>& inputs) const;
  void Check(const std::vector<TensorRef>& tensors, const std::vector<int>& values,
             const Bindings& bindings, const char* what) const;
  std::shared_ptr<const CheckedInstance> Prepare(const std::vector<TensorRef>& inputs,
                                                 const std::vector<TensorRef>& outputs) const;

  Program program_;
  mutable ConstantStore constants_;
  int threads_;
  std::shared_ptr<const CheckedInstance> only_;  // of a static program
  mutable std::mutex mutex_;
  mutable std::list<std::shared_ptr<Slot>> slots_;  // most recently used first
};

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_MODEL_H_
