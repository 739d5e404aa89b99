/*! \brief Does an artifact fit this machine: the C++ side of runtime/io/cpu.py and its checks. */
#ifndef BYOC_RUNTIME_MACHINE_H_
#define BYOC_RUNTIME_MACHINE_H_

#include <set>
#include <string>

#include "artifact/manifest.h"

namespace byoc {

/*! \brief Features of this CPU in LLVM's names ("avx512f"); empty where the system is silent. */
const std::set<std::string>& CpuFeatures();

/*! \brief Version of the tvm-ffi library in this process, "0.1.14". */
std::string TvmFfiVersion();

/*! \brief Throws byoc.ArtifactError when host code of this artifact cannot run here. */
void CheckMachine(const Manifest& manifest);

}  // namespace byoc

#endif  // BYOC_RUNTIME_MACHINE_H_
