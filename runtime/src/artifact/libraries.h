/*!
 * \file libraries.h
 * \brief Native code of a model: vendors' libraries of this machine, and its host library.
 */
#ifndef BYOC_RUNTIME_LIBRARIES_H_
#define BYOC_RUNTIME_LIBRARIES_H_

#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <cstddef>
#include <string>
#include <vector>

#include "artifact/manifest.h"

namespace byoc {

/*!
 * \brief Folders where vendors' libraries are looked for.
 * \param given Folders joined by ':'; may be null.
 * \return In order: `given`, the environment's BYOC_LIBRARY_PATH, the folder of this library.
 */
std::vector<std::string> LibraryFolders(const char* given);

/*!
 * \brief See whether a vendor can be used from C, without loading anything.
 * \throws byoc.VendorError saying what is missing and where it was looked for.
 */
void CheckVendor(const ManifestVendor& vendor, const std::vector<std::string>& folders);

/*!
 * \brief Load a vendor's library from a path, unless it is there already; it stays.
 * \throws byoc.VendorError when it does not load, lacks symbols, or registers a vendor that another
 * library has registered.
 */
void OpenVendor(const std::string& vendor, const std::string& path);

/*!
 * \brief Find and load a vendor's library, unless it is there already.
 * \return The vendor's `init`, see byoc/vendor.h.
 * \throws byoc.VendorError
 */
tvm::ffi::Function LoadVendor(const ManifestVendor& vendor,
                              const std::vector<std::string>& folders);

/*!
 * \brief The `init` of segments whose blob is a shared object: `LibraryRuntime` of byoc/vendor.py.
 *
 * It loads the blob as `LoadHost` does, all symbols at once, and calls what it exports as
 * execute(inputs..., constants..., outputs...), on tensors that are aligned to 64 bytes: the code
 * of TVM's compiler takes that for granted.
 * \param symbol What to call; the library has it as `__tvm_ffi_<symbol>`, a function of tvm-ffi.
 */
tvm::ffi::Function LibraryInit(const std::string& symbol);

/*!
 * \brief Load a shared object from memory, for as long as the module lives.
 *
 * The bytes are written to an anonymous file that is then sealed: no other process can change what
 * is loaded, and no folder need be writable.
 * \param data The bytes of the shared object.
 * \param size How many.
 * \throws byoc.ArtifactError when it does not load.
 */
tvm::ffi::Module LoadHost(const char* data, size_t size);

}  // namespace byoc

#endif  // BYOC_RUNTIME_LIBRARIES_H_
