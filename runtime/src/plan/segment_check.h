/// \file
/// Proving that a vendor's segment keeps its contract: it writes all of its outputs, nothing else.
///
///   first call     outputs poisoned ─▶ execute ─▶ poison left?   costs a pass over the outputs,
///   once BYOC_CHECK=1   every call on copies that are aligned to their element only:
///                  │ canary │ input … │ canary │ output, poisoned … │ canary │
///                  twice, with another poison: what differs was not computed from the inputs
#ifndef BYOC_RUNTIME_SEGMENT_CHECK_H_
#define BYOC_RUNTIME_SEGMENT_CHECK_H_

#include <tvm/ffi/function.h>

#include <cstddef>

namespace byoc {

/// Whether the environment asks for checks of every call: BYOC_CHECK is set and not "0".
bool ChecksWanted();

/// Returns `execute(inputs..., outputs...)`, watched: at its first call, or at every call where
/// `ChecksWanted` says so now. What it finds is thrown as a VendorError for the vendor's author.
///
/// \param outputs how many of the arguments are written, the last ones.
tvm::ffi::Function WatchSegment(tvm::ffi::Function execute, size_t outputs);

}  // namespace byoc

#endif  // BYOC_RUNTIME_SEGMENT_CHECK_H_
