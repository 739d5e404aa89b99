/*! \brief Native code of a model: vendors' libraries of this machine, and its host library. */
#ifndef BYOC_RUNTIME_LIBRARIES_H_
#define BYOC_RUNTIME_LIBRARIES_H_

#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <string>
#include <vector>

#include "artifact/manifest.h"

namespace byoc {

/*! \brief A vendor could not be used. */
[[noreturn]] void ThrowVendorError(const std::string& message);

/*!
 * \brief Folders where vendors' libraries are looked for, in order: `given` (joined by ':'), the
 * environment's BYOC_LIBRARY_PATH, the folder of this library.
 */
std::vector<std::string> LibraryFolders(const char* given);

/*! \brief Throws byoc.VendorError when the vendor cannot be used from C; loads nothing. */
void CheckVendor(const ManifestVendor& vendor, const std::vector<std::string>& folders);

/*! \brief The vendor's `init`; its library is loaded unless it is there already, and stays. */
tvm::ffi::Function LoadVendor(const ManifestVendor& vendor,
                              const std::vector<std::string>& folders);

/*! \brief The bytes of a shared object as a module. Throws byoc.ArtifactError. */
tvm::ffi::Module LoadHost(const std::string& bytes);

}  // namespace byoc

#endif  // BYOC_RUNTIME_LIBRARIES_H_
