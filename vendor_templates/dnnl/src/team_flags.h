/// \file team_flags.h
/// \brief The processor's sticky mark of an invalid operation, of all threads of OpenMP's team.
///
/// A comparison, maximum or minimum that meets NaN sets it, and so does what makes NaN (inf - inf,
/// 0 * inf, the root of a negative number). It stays until it is cleared.
#ifndef BYOC_DNNL_TEAM_FLAGS_H_
#define BYOC_DNNL_TEAM_FLAGS_H_

namespace byoc::onednn {

/// Clear the mark of the calling thread alone: who called us may have left it.
void ClearOwnInvalid();

/// Whether a thread of the team has the mark; it is cleared.
bool TakeInvalid();

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_TEAM_FLAGS_H_
