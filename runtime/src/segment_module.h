/*!
 * \file segment_module.h
 * \brief A segment as a tvm-ffi module, for users of TVM's stock pipeline.
 *
 * `relax.transform.RunCodegen` wants a module that serves the segment's symbol and that
 * `export_library` can pack into a .so. byoc's own programs do not use it.
 */
#ifndef BYOC_SEGMENT_MODULE_H_
#define BYOC_SEGMENT_MODULE_H_

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/string.h>

namespace byoc {

/*! \brief What `SegmentModuleObj::kind` answers; part of exported libraries. */
inline constexpr const char* kSegmentModuleKind = "byoc.segment";

/*!
 * \brief Make the module of one segment; the vendor's init runs at the first call.
 * \param symbol name the compiled Relax code calls it by.
 */
tvm::ffi::Module MakeSegmentModule(tvm::ffi::String symbol, tvm::ffi::String vendor,
                                   tvm::ffi::Bytes blob,
                                   tvm::ffi::Array<tvm::ffi::Tensor> constants,
                                   tvm::ffi::String options);

/*! \brief Read what `SaveToBytes` wrote; throws ValueError when the bytes are damaged. */
tvm::ffi::Module LoadSegmentModule(const tvm::ffi::Bytes& bytes);

}  // namespace byoc

#endif  // BYOC_SEGMENT_MODULE_H_
