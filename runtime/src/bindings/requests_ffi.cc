#include "bindings/requests_ffi.h"

#include <algorithm>
#include <exception>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "core/processor.h"
#include "core/tensors.h"
#include "plan/assemble.h"

namespace byoc {

namespace ffi = tvm::ffi;
using ffi::Any, ffi::Array, ffi::Function, ffi::Map, ffi::Module, ffi::Optional;
using ffi::PackedArgs, ffi::String, ffi::Tensor;

namespace {

/*! \brief The requests of one caller that are in flight, by ticket. */
struct RequestQueue {
  std::shared_ptr<Completions> completions = std::make_shared<Completions>();
  std::mutex mutex;
  std::map<int64_t, std::shared_ptr<Executor::Request>> requests;
};

}  // namespace

Function MakeTake(std::shared_ptr<Completions> completions) {
  return Function::FromTyped([completions](double seconds) {
    Array<Array<Any>> all;
    std::vector<Completions::Item> items = completions->Take(seconds);
    Processor::BlockIfShuttingDown();
    for (Completions::Item& item : items) {
      String kind, message;
      if (item.error) {
        try {
          std::rethrow_exception(item.error);
        } catch (const ffi::Error& error) {
          kind = error.kind(), message = error.message();
        } catch (const std::exception& error) {
          kind = "RuntimeError", message = error.what();
        }
      }
      Tensor trace = NewTensor({static_cast<int64_t>(item.trace.size())}, {kDLInt, 64, 1});
      std::copy(item.trace.begin(), item.trace.end(), static_cast<int64_t*>(trace.data_ptr()));
      Array<Any> fields{item.ticket, kind, message, trace, item.results, item.abandoned};
      all.push_back(std::move(fields));
    }
    return all;
  });
}

Map<String, Function> OpenRequestQueue(std::shared_ptr<Executor> executor,
                                       const Optional<Module>& host) {
  auto queue = std::make_shared<RequestQueue>();
  const auto submit = [executor, host, queue](PackedArgs args, Any*) {
    const int64_t ticket = args[0].cast<int64_t>();
    auto request = std::make_shared<Executor::Request>();
    request->traced = args[1].cast<bool>();
    const double seconds = args[2].cast<double>();
    if (seconds > 0) request->stop.due = After(seconds);
    request->ports = Pointers(args, 3);
    CheckCount(*executor, request->ports.size());
    Executor::Request* self = request.get();
    request->done = [queue, ticket, self, host](std::exception_ptr error) {
      std::shared_ptr<Executor::Request> kept;
      {
        std::lock_guard<std::mutex> lock(queue->mutex);
        const auto it = queue->requests.find(ticket);
        kept = std::move(it->second);
        queue->requests.erase(it);
      }
      queue->completions->Push(
          {ticket, std::move(error), std::move(self->trace), {}, self->stop.HasAbandoned()});
    };
    {
      std::lock_guard<std::mutex> lock(queue->mutex);
      queue->requests[ticket] = request;
    }
    try {
      Executor::Start(executor, std::move(request));
    } catch (...) {  // it has not begun, and never ends
      std::lock_guard<std::mutex> lock(queue->mutex);
      queue->requests.erase(ticket);
      throw;
    }
  };
  const auto cancel = [queue](int64_t ticket) {
    std::shared_ptr<Executor::Request> request;
    {
      std::lock_guard<std::mutex> lock(queue->mutex);
      const auto it = queue->requests.find(ticket);
      if (it != queue->requests.end()) request = it->second;
    }
    if (request != nullptr) request->stop.Cancel();  // vendors' code: no lock is held
  };
  const auto wake = [completions = queue->completions] { completions->Wake(); };
  return {{"submit", Function::FromPacked(submit)},
          {"cancel", Function::FromTyped(cancel)},
          {"take", MakeTake(queue->completions)},
          {"wake", Function::FromTyped(wake)}};
}

}  // namespace byoc
