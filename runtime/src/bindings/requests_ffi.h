/*! \brief Requests that nobody waits for, as Python sees them. */
#ifndef BYOC_RUNTIME_REQUESTS_FFI_H_
#define BYOC_RUNTIME_REQUESTS_FFI_H_

#include <tvm/ffi/container/map.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/optional.h>
#include <tvm/ffi/string.h>

#include <memory>

#include "core/completions.h"
#include "plan/executor.h"

namespace byoc {

/*!
 * \brief take(seconds) -> [[ticket, error kind, message, trace, results, abandoned]...], kinds
 * empty when all went well. Waits for something to be done, or `wake`, or the time. abandoned: a
 * vendor did not end a call that was cancelled, and may use the memory of the ports ever after.
 */
tvm::ffi::Function MakeTake(std::shared_ptr<Completions> completions);

/*!
 * \brief submit(ticket, traced, deadline, inputs..., outputs...), cancel(ticket), take(seconds),
 * wake(): requests that nobody waits for. deadline: seconds, told to vendors; 0: none. The memory
 * of the ports must stay until their ticket was taken.
 */
tvm::ffi::Map<tvm::ffi::String, tvm::ffi::Function> OpenRequestQueue(
    std::shared_ptr<Executor> executor, const tvm::ffi::Optional<tvm::ffi::Module>& host);

}  // namespace byoc

#endif  // BYOC_RUNTIME_REQUESTS_FFI_H_
