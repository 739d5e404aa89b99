/*!
 * \file engines.h
 * \brief Engines that take long to build, built once on a machine: what vendors' `init` calls.
 *
 * \code
 *   Find ─▶ load ─▶ done                        found, and its vendor takes it
 *     │       └─ refused: set aside ─┐
 *     └──────── not there ───────────┴▶ lock ─▶ Find once more ─▶ build ─▶ save ─▶ Keep
 *                                        others wait here, and then find it
 * \endcode
 *
 * The key is of all that the engine may depend on: the segment's blob and constants, the options,
 * the vendor with its version and its code, threads, the CPU's features, devices and driver, and
 * what the vendor names. Names of the model are not in it.
 */
#ifndef BYOC_RUNTIME_ENGINES_H_
#define BYOC_RUNTIME_ENGINES_H_

#include <tvm/ffi/any.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>

#include <string>
#include <vector>

namespace byoc {

/*! \brief What an engine is built from. */
struct EngineSource {
  std::string vendor;
  /*! \brief Of the vendor that compiled the segment. */
  std::string version;
  std::string segment;
  tvm::ffi::Tensor blob;
  tvm::ffi::Array<tvm::ffi::Tensor> constants;
  /*! \brief JSON. */
  std::string options;
  int64_t threads = 1;
  /*! \brief Which of the vendor's code this is, and what it finds on this machine. */
  std::string code, equipment;
  /*! \brief What else the vendor says that it depends on. */
  std::vector<std::string> of;
};

/*! \brief How a vendor makes one. */
struct EngineMaker {
  /*! \brief (bytes, mapped) -> "", or why they are of no use. */
  tvm::ffi::TypedFunction<std::string(tvm::ffi::Tensor)> load;
  /*! \brief () -> None. */
  tvm::ffi::Function build;
  /*! \brief () -> what `load` is given the next time: a tensor or Bytes; None: nothing. */
  tvm::ffi::Function save;
};

/*! \brief The name that an engine is kept under. */
std::string EngineKey(const EngineSource& source);

/*!
 * \brief Load an engine that is kept, or build it and keep it. What goes wrong with the cache is
 * told in the vendor's log; errors of `build` are the caller's.
 */
void MakeEngine(const EngineSource& source, const EngineMaker& maker);

/*! \brief The same for the segment that is being bound on this thread; outside of that, build. */
void MakeEngineHere(const std::vector<std::string>& of, const EngineMaker& maker);

/*! \brief Bytes that all engines may have together: $BYOC_ENGINE_BYTES, else 4 GiB. */
uint64_t EngineLimit();

}  // namespace byoc

#endif  // BYOC_RUNTIME_ENGINES_H_
