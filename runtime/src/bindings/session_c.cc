/*
 * The C interface of byoc/session.h. No exception crosses it: `Guarded` turns each into a status
 * and this thread's text.
 */
#include <tvm/ffi/error.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "byoc/session.h"
#include "core/errors.h"
#include "core/processor.h"
#include "core/thread_pool.h"
#include "model/model.h"
#include "plan/executor.h"

/*! \brief One caller's view of a model. */
struct byoc_session {
  std::shared_ptr<const byoc::Model> model;
  std::shared_ptr<byoc::Executor> executor;  // holds the model, also of requests that go on
};

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

std::string& LastError() {
  static thread_local std::string text;
  return text;
}

byoc_status Fail(byoc_status status, const char* text) {
  try {
    LastError() = text;
  } catch (...) {
    LastError().clear();  // no memory for the text: the status says it
  }
  return status;
}

byoc_status StatusOf(const std::string& kind) {
  if (kind == "byoc.ArtifactError") return BYOC_ERROR_ARTIFACT;
  if (kind == "byoc.VendorError") return BYOC_ERROR_VENDOR;
  if (kind == "byoc.InputError") return BYOC_ERROR_INPUT;
  if (kind == "byoc.ExecutionError") return BYOC_ERROR_EXECUTION;
  if (kind == "byoc.OptionError") return BYOC_ERROR_ARGUMENT;
  return kind == "ValueError" || kind == "TypeError" ? BYOC_ERROR_ARGUMENT : BYOC_ERROR_INTERNAL;
}

template <typename F>
byoc_status Guarded(F body) noexcept {
  LastError().clear();
  try {
    body();
    return BYOC_OK;
  } catch (const std::bad_alloc&) {
    return Fail(BYOC_ERROR_MEMORY, "out of memory");
  } catch (const ffi::Error& error) {
    try {
      return Fail(StatusOf(std::string(error.kind())), std::string(error.message()).c_str());
    } catch (...) {
      return Fail(BYOC_ERROR_MEMORY, "out of memory");
    }
  } catch (const std::exception& error) {
    return Fail(BYOC_ERROR_INTERNAL, error.what());
  } catch (...) {
    return Fail(BYOC_ERROR_INTERNAL, "unknown C++ exception");
  }
}

void Require(bool condition, const char* text) {
  if (!condition) TVM_FFI_THROW(ValueError) << text;
}

[[noreturn]] void ThrowInputError(const std::string& text) {
  throw ffi::Error("byoc.InputError", text, "");
}

/*! \brief Threads of processors must rest when static objects go. */
void StopAtExit() {
  static std::once_flag once;
  std::call_once(once, [] { std::atexit(Processor::Shutdown); });
}

const PlanTensor& TensorOf(const byoc_session* session, const PlanPort& port) {
  return session->executor->plan().tensors[port.tensor];
}

std::string TypeText(const ManifestPort& port) {
  std::string text = port.dtype + "[";
  for (size_t i = 0; i < port.shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(port.shape[i]);
  }
  return text + "]";
}

/*! \brief The callers' pointers, once they are known to fit the ports. */
std::vector<void*> Check(const byoc_session* session, const char* kind,
                         const std::vector<PlanPort>& ports,
                         const std::vector<ManifestPort>& declared, const byoc_buffer* buffers,
                         size_t count) {
  if (count != ports.size()) {
    ThrowInputError("the model has " + std::to_string(ports.size()) + " " + kind + "s, got " +
                    std::to_string(count));
  }
  Require(count == 0 || buffers != nullptr, "the buffers are a null pointer");
  std::vector<void*> pointers;
  for (size_t i = 0; i < count; ++i) {
    const PlanTensor& t = TensorOf(session, ports[i]);
    const std::string who = std::string(kind) + " '" + ports[i].name + "'";
    if (buffers[i].bytes != static_cast<size_t>(t.nbytes)) {
      ThrowInputError(who + " has " + std::to_string(buffers[i].bytes) + " bytes, expected " +
                      std::to_string(t.nbytes) + " (" + TypeText(declared[i]) + ")");
    }
    if (buffers[i].data == nullptr && t.nbytes != 0) ThrowInputError(who + " is a null pointer");
    if (reinterpret_cast<uintptr_t>(buffers[i].data) % t.itemsize() != 0) {
      ThrowInputError(who + " is not aligned to its elements of " + std::to_string(t.itemsize()) +
                      " bytes");
    }
    pointers.push_back(buffers[i].data);
  }
  return pointers;
}

byoc_status GetPort(const byoc_session* session, size_t index, byoc_port* port, bool input) {
  return Guarded([&] {
    Require(session != nullptr, "session is a null pointer");
    Require(port != nullptr, "port is a null pointer");
    const Manifest& manifest = session->model->manifest();
    const auto& declared = input ? manifest.inputs : manifest.outputs;
    const auto& ports =
        input ? session->executor->plan().inputs : session->executor->plan().outputs;
    if (index >= ports.size()) {
      TVM_FFI_THROW(ValueError) << (input ? "input " : "output ") << index << " of "
                                << ports.size();
    }
    const PlanTensor& t = TensorOf(session, ports[index]);
    *port = byoc_port{ports[index].name.c_str(), declared[index].dtype.c_str(), t.shape.size(),
                      t.shape.data(), static_cast<size_t>(t.nbytes)};
  });
}

/*! \brief The caller's options, of this version or an older one. */
byoc_options ReadOptions(const byoc_options* given) {
  byoc_options options{};
  if (given == nullptr) return options;
  Require(given->size >= sizeof(size_t), "byoc_options.size is not set");
  Require(given->size <= sizeof(options),
          "byoc_options is of a later byoc than libbyoc_runtime: install matching releases");
  std::memcpy(&options, given, given->size);
  return options;
}

}  // namespace
}  // namespace byoc

using byoc::Guarded, byoc::Require;

const char* byoc_version(void) { return BYOC_VERSION; }

const char* byoc_last_error(void) { return byoc::LastError().c_str(); }

byoc_status byoc_set_num_threads(int count) {
  return Guarded([&] { byoc::thread_pool::SetNumThreads(count); });
}

byoc_status byoc_open(const char* path, const byoc_options* given, byoc_session** session) {
  if (session != nullptr) *session = nullptr;
  return Guarded([&] {
    Require(path != nullptr, "path is a null pointer");
    Require(session != nullptr, "session is a null pointer");
    const byoc_options options = byoc::ReadOptions(given);
    byoc::StopAtExit();
    auto opened = std::make_unique<byoc_session>();
    opened->model = byoc::Model::Load(
        path, {options.library_path, options.require_signature, options.no_isolation == 0});
    byoc::Model::OnFault on_fault;
    if (options.on_fault != nullptr) {
      on_fault = [tell = options.on_fault, user = options.user](
                     const std::string& segment, const std::string& vendor, const std::string& kind,
                     const std::string& message, int64_t number, bool replaced) {
        const byoc_fault fault{segment.c_str(), vendor.c_str(), kind.c_str(),
                               message.c_str(), number,         replaced};
        tell(&fault, user);
      };
    }
    try {
      struct Whole {
        std::shared_ptr<const byoc::Model> model;  // outlives the executor
        std::shared_ptr<byoc::Executor> executor;
      };
      auto whole = std::make_shared<Whole>();
      whole->model = opened->model;
      whole->executor = opened->model->NewSession(options.no_healing == 0, on_fault);
      opened->executor = {whole, whole->executor.get()};
    } catch (const tvm::ffi::Error& error) {
      if (std::string(error.kind()) != "byoc.ArtifactError") throw;
      byoc::ThrowArtifactError(std::string(path) + ": " + std::string(error.message()));
    }
    *session = opened.release();
  });
}

void byoc_close(byoc_session* session) {
  if (session == nullptr) return;
  Guarded([&] {
    delete session;
    // Vendors' segments end on their processors' threads. Not later than this returns, for what
    // they rely on may be torn down next.
    byoc::Processor::Settle();
  });
}

const char* byoc_name(const byoc_session* session) {
  return session == nullptr ? "" : session->model->manifest().name.c_str();
}

size_t byoc_input_count(const byoc_session* session) {
  return session == nullptr ? 0 : session->executor->plan().inputs.size();
}

size_t byoc_output_count(const byoc_session* session) {
  return session == nullptr ? 0 : session->executor->plan().outputs.size();
}

byoc_status byoc_input(const byoc_session* session, size_t index, byoc_port* port) {
  return byoc::GetPort(session, index, port, true);
}

byoc_status byoc_output(const byoc_session* session, size_t index, byoc_port* port) {
  return byoc::GetPort(session, index, port, false);
}

byoc_status byoc_get_memory(const byoc_session* session, byoc_memory* memory) {
  return Guarded([&] {
    Require(session != nullptr, "session is a null pointer");
    Require(memory != nullptr, "memory is a null pointer");
    const byoc::Plan& plan = session->executor->plan();
    byoc::ModelMemory m = session->model->Memory();
    m.workspace += static_cast<size_t>(plan.arena_bytes + plan.scratch_bytes);
    for (const auto* ports : {&plan.inputs, &plan.outputs}) {
      for (const byoc::PlanPort& port : *ports) {
        m.ports += static_cast<size_t>(byoc::TensorOf(session, port).nbytes);
      }
    }
    const size_t peak = m.weights + m.packed + m.workspace + m.ports + m.code;
    *memory = byoc_memory{m.weights, m.packed, m.workspace, m.ports, m.code, peak};
  });
}

namespace byoc {
namespace {

/*! \brief Checks the buffers of a call and makes it: run(inputs, outputs). */
template <typename F>
void RunChecked(byoc_session* session, const byoc_buffer* inputs, size_t input_count,
                const byoc_buffer* outputs, size_t output_count, F run) {
  Require(session != nullptr, "session is a null pointer");
  const Plan& plan = session->executor->plan();
  const Manifest& manifest = session->model->manifest();
  const std::vector<void*> from =
      Check(session, "input", plan.inputs, manifest.inputs, inputs, input_count);
  const std::vector<void*> to =
      Check(session, "output", plan.outputs, manifest.outputs, outputs, output_count);
  run(from.data(), to.data());
}

}  // namespace
}  // namespace byoc

byoc_status byoc_run(byoc_session* session, const byoc_buffer* inputs, size_t input_count,
                     const byoc_buffer* outputs, size_t output_count) {
  return Guarded([&] {
    byoc::RunChecked(session, inputs, input_count, outputs, output_count,
                     [&](void* const* from, void* const* to) {
                       session->executor->Run(from, to, /*anywhere=*/true);
                     });
  });
}

byoc_status byoc_run_within(byoc_session* session, const byoc_buffer* inputs, size_t input_count,
                            const byoc_buffer* outputs, size_t output_count, double seconds) {
  bool in_time = true;
  const byoc_status status = Guarded([&] {
    Require(seconds > 0, "seconds must be above 0");
    byoc::RunChecked(session, inputs, input_count, outputs, output_count,
                     [&](void* const* from, void* const* to) {
                       in_time = byoc::Executor::RunWithin(session->executor, from, to, seconds);
                     });
  });
  if (in_time) return status;
  return byoc::Fail(BYOC_ERROR_DEADLINE,
                    "the request was not done in the time it was given; tasks "
                    "that had not begun were left out");
}
