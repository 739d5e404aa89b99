/*!
 * \file machine.h
 * \brief Does an artifact fit this machine: its versions and its CPU, told by its manifest.
 */
#ifndef BYOC_RUNTIME_MACHINE_H_
#define BYOC_RUNTIME_MACHINE_H_

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/optional.h>

#include <set>
#include <string>
#include <vector>

#include "artifact/manifest.h"

namespace byoc {

/*! \brief One thing that was compared with this machine. */
struct Fit {
  /*! \brief "tvm", "tvm-ffi" or "cpu". */
  std::string subject;
  /*! \brief What the file was made for. */
  std::string wanted;
  /*! \brief Why it does not run here, and what to do; empty when it does. */
  std::string problem;
};

/*! \brief Features of this CPU in LLVM's names ("avx512f"); empty where the system is silent. */
const std::set<std::string>& CpuFeatures();

/*! \brief Version of the tvm-ffi library in this process, "0.1.14". */
std::string TvmFfiVersion();

/*!
 * \brief Compare versions and CPU with what the code of a file needs.
 * \param manifest Of the file.
 * \param tvm Version of the installed apache-tvm, empty when there is none; it counts for bytecode
 * of TVM's VM only.
 * \return What was compared, in the order it matters; nothing where the file holds no such code.
 */
std::vector<Fit> FitMachine(const Manifest& manifest, const std::string& tvm);

/*!
 * \brief Compare what a segment requires with this machine.
 * \param needs Of the segment.
 * \param equipment What its vendor finds here: [[device], driver, bytes], see byoc/vendor.h; null
 * where it does not tell.
 * \return What is missing, in words that follow "segment 's'"; empty when nothing is.
 */
std::string Missing(const Requirements& needs,
                    const tvm::ffi::Optional<tvm::ffi::Array<tvm::ffi::Any>>& equipment);

/*! \brief Whether a vendor has to be asked in order to know. */
bool NeedsEquipment(const Requirements& needs);

/*! \brief Throws byoc.ArtifactError with the first problem that `FitMachine` finds. */
void CheckMachine(const Manifest& manifest, const std::string& tvm);

}  // namespace byoc

#endif  // BYOC_RUNTIME_MACHINE_H_
