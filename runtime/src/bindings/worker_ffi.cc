/*
 * Workers as Python sees them.
 */
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/reflection/registry.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "worker/worker.h"
#include "worker/worker_serve.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;
using ffi::Array, ffi::Function, ffi::Map, ffi::PackedArgs, ffi::String, ffi::Tensor;

/*!
 * \brief start(), wait(), stop(), pid(), and segment(name, number, outputs, deadline, patient,
 * advice) -> execute. The process ends when the last of these is gone.
 */
Map<String, Function> MakeWorker(String vendor, const Array<String>& argv, Array<Tensor> load,
                                 double start_seconds) {
  Worker::Settings settings;
  settings.vendor = vendor;
  for (const String& arg : argv) settings.argv.emplace_back(arg);
  settings.load.assign(load.begin(), load.end());
  settings.start_seconds = start_seconds;
  auto worker = std::make_shared<Worker>(std::move(settings));
  const auto segment = [worker](String name, int64_t number, int64_t outputs, double deadline,
                                bool patient, String advice) {
    Worker::Segment one{std::string(name), number,  static_cast<size_t>(outputs),
                        deadline,          patient, std::string(advice)};
    return Function::FromPacked(
        [worker, one = std::move(one)](PackedArgs args, ffi::Any*) { worker->Run(one, args); });
  };
  return {{"start", Function::FromTyped([worker] { worker->Start(); })},
          {"wait", Function::FromTyped([worker] { worker->WaitUntilReady(); })},
          {"pid", Function::FromTyped([worker] { return worker->pid(); })},
          {"stop", Function::FromTyped([worker] { worker->Stop(); })},
          {"segment", Function::FromTyped(segment)}};
}

void ServeAll(const Array<Function>& segments) {
  Serve(std::vector<Function>(segments.begin(), segments.end()));
}

TVM_FFI_STATIC_INIT_BLOCK() {
  ffi::reflection::GlobalDef()
      .def("byoc.runtime.Worker", MakeWorker)
      .def("byoc.runtime.serve", ServeAll)
      .def("byoc.runtime.watch_parent", WatchParent)
      .def("byoc.runtime.report_failure", ReportFailure);
}

}  // namespace
}  // namespace byoc
