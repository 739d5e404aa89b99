/// \file
/// In the worker: what the process does that worker.h starts.
#ifndef BYOC_RUNTIME_WORKER_SERVE_H_
#define BYOC_RUNTIME_WORKER_SERVE_H_

#include <tvm/ffi/function.h>

#include <cstdint>
#include <string>
#include <vector>

#include "worker/worker.h"

namespace byoc {

/// Ends this process when the one that started it is gone, whatever else it does.
void WatchParent(int64_t parent);

/// Tells the other end that loading failed.
///
/// \param kind class of the error ("VendorError").
void ReportFailure(const std::string& kind, const std::string& message);

/// Tells the other end that it is ready and runs what is asked for until nobody asks any more.
///
/// A call that makes no sense is answered by an error, and what is asked next is run.
void Serve(const std::vector<tvm::ffi::Function>& segments, int socket = kWorkerSocket,
           int memory = kWorkerMemory);

}  // namespace byoc

#endif  // BYOC_RUNTIME_WORKER_SERVE_H_
