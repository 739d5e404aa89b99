/*!
 * \file byoc/session.h
 * \brief Run a compiled model (.byoc) from C or C++, without Python.
 *
 *   model.byoc ──byoc_open──▶ byoc_session ──byoc_run(inputs, outputs)──▶ written in place
 *
 * C: opaque handles, a status per call, the reason as text (`byoc_last_error`). C++: the class
 * `byoc::Session` at the end of this file, which throws. Link with libbyoc_runtime:
 * `find_package(byoc)` and `target_link_libraries(app PRIVATE byoc::runtime)`.
 *
 * Opening checks every byte of the file, then that it fits this machine, before any code of it is
 * loaded; docs/deploy.md tells in which order. Models with static shapes whose vendors have native
 * runtimes can be run; others are refused by name.
 *
 * Threads: one session may be used from any number of threads at once; `byoc_close` must be the
 * last call. Sessions of equal files share weights, host library and the vendors' segments.
 */
#ifndef BYOC_SESSION_H_
#define BYOC_SESSION_H_

#include <stddef.h>
#include <stdint.h>

#define BYOC_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/*! \brief How a call ended; the reason as text is in `byoc_last_error`. */
typedef enum byoc_status {
  BYOC_OK = 0,
  BYOC_ERROR_ARGUMENT = 1,  /* a null pointer, an index out of range, a bad option */
  BYOC_ERROR_ARTIFACT = 2,  /* damaged, of another version, for another machine, not signed */
  BYOC_ERROR_VENDOR = 3,    /* a vendor's library is missing or refuses a segment */
  BYOC_ERROR_INPUT = 4,     /* buffers that do not fit the model */
  BYOC_ERROR_EXECUTION = 5, /* a task failed at run time */
  BYOC_ERROR_MEMORY = 6,    /* no memory left */
  BYOC_ERROR_INTERNAL = 7,  /* anything else */
  BYOC_ERROR_DEADLINE = 8   /* a request was not done in the time it was given */
} byoc_status;

/*! \brief A loaded model; made by `byoc_open`, freed by `byoc_close`. */
typedef struct byoc_session byoc_session;

/*! \brief A named input or output; all pointers are valid until the session is closed. */
typedef struct byoc_port {
  const char* name;
  const char* dtype; /* "float32", "int64", "bfloat16", ... */
  size_t rank;
  const int64_t* shape;
  size_t bytes; /* of the dense row-major tensor */
} byoc_port;

/*! \brief Dense row-major memory of a caller, aligned to the element at least. */
typedef struct byoc_buffer {
  void* data; /* of an input: only read */
  size_t bytes;
} byoc_buffer;

/*! \brief A failed call of a vendor that was answered by its fallback on the host. */
typedef struct byoc_fault {
  const char* segment;
  const char* vendor;
  const char* kind; /* "error", "deadline", "nan"; "build", "load": the vendor refused it */
  const char* message;
  int64_t number; /* of the segment's failures, from 1 */
  int replaced;   /* 1: the fallback has taken over for good */
} byoc_fault;

/*! \brief How a model is opened. All fields may be zero. Set `size` to sizeof(byoc_options): later
 * fields may follow. */
typedef struct byoc_options {
  size_t size;
  /*! Folders searched for vendors' libraries, joined by ':', before those of the environment
      variable BYOC_LIBRARY_PATH and the folder of libbyoc_runtime itself. */
  const char* library_path;
  /*! PEM file of the ed25519 public key the file must be signed with (needs libcrypto). */
  const char* require_signature;
  /*! 1: no fallbacks on the host; a vendor's failure is an error of the call. */
  int no_healing;
  /*! 1: vendors that were to run in processes of their own (which needs Python) run in this one. */
  int no_isolation;
  /*! Told of every fault, on a thread of the runtime. */
  void (*on_fault)(const byoc_fault* fault, void* user);
  void* user;
} byoc_options;

/*! \brief Bytes of memory, known before the first run. See docs/deploy.md. */
typedef struct byoc_memory {
  size_t weights;   /* constants read where the file has them (mapped) */
  size_t packed;    /* constants packed by vendors, as far as they tell */
  size_t workspace; /* intermediates of one request, with what vendors tell of theirs */
  size_t ports;     /* inputs and outputs of one request: the caller's */
  size_t code;      /* host library and vendors' blobs */
  size_t peak;      /* all of these */
} byoc_memory;

/*! \brief Returns the version of byoc, such as "0.1.0"; static memory. */
BYOC_API const char* byoc_version(void);

/*! \brief Returns why the last call of this thread failed; "" when none did. Valid until the next
    call of this thread. */
BYOC_API const char* byoc_last_error(void);

/*! \brief Sets the threads for parallel work of sessions opened after this; 1 to 1024. */
BYOC_API byoc_status byoc_set_num_threads(int count);

/*!
 * \brief Loads a model.
 *
 * \param path of a .byoc file.
 * \param options may be null.
 * \param session receives the session, which the caller closes; null on failure.
 */
BYOC_API byoc_status byoc_open(const char* path, const byoc_options* options,
                               byoc_session** session);

/*! \brief Frees a session that nobody uses any more; null is fine. */
BYOC_API void byoc_close(byoc_session* session);

/*! \brief Returns the name of the model; valid until the session is closed. */
BYOC_API const char* byoc_name(const byoc_session* session);
/*! \brief Returns the number of inputs. */
BYOC_API size_t byoc_input_count(const byoc_session* session);
/*! \brief Returns the number of outputs. */
BYOC_API size_t byoc_output_count(const byoc_session* session);
/*! \brief Describes input `index`, from 0; the text in `port` belongs to the session. */
BYOC_API byoc_status byoc_input(const byoc_session* session, size_t index, byoc_port* port);
/*! \brief Describes output `index`, from 0; the text in `port` belongs to the session. */
BYOC_API byoc_status byoc_output(const byoc_session* session, size_t index, byoc_port* port);

/*! \brief Tells the memory of this session, in bytes. */
BYOC_API byoc_status byoc_get_memory(const byoc_session* session, byoc_memory* memory);

/*!
 * \brief Runs one inference and waits for it. Any number of threads at once.
 *
 * After a failure the contents of the outputs mean nothing.
 *
 * \param inputs memory of all inputs, in order; only read.
 * \param outputs memory of all outputs, in order; the caller's, may overlap the inputs.
 */
BYOC_API byoc_status byoc_run(byoc_session* session, const byoc_buffer* inputs, size_t input_count,
                              const byoc_buffer* outputs, size_t output_count);

/*!
 * \brief Runs one inference and waits for it, `seconds` at most; BYOC_ERROR_DEADLINE beyond.
 *
 * It runs on copies of inputs and outputs. A request that is too late is cancelled: tasks that have
 * not begun are left out, vendors are told of calls that are under way. Inputs and outputs are the
 * caller's again in any case.
 *
 * \param seconds above 0.
 */
BYOC_API byoc_status byoc_run_within(byoc_session* session, const byoc_buffer* inputs,
                                     size_t input_count, const byoc_buffer* outputs,
                                     size_t output_count, double seconds);

#ifdef __cplusplus
}  // extern "C"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace byoc {

/*! \brief Thrown when a call fails; what() tells why. */
class SessionError : public std::runtime_error {
 public:
  SessionError(byoc_status status, const char* text) : std::runtime_error(text), status_(status) {}
  /*! \brief The status that the call returned. */
  byoc_status status() const { return status_; }

 private:
  byoc_status status_;
};

/*! \brief A named input or output. */
struct SessionPort {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  size_t bytes;
};

/*! \brief A vector as an input or output; its elements must have the port's dtype. */
template <typename T>
byoc_buffer BufferOf(std::vector<T>& values) {
  return {values.data(), values.size() * sizeof(T)};
}
template <typename T>
byoc_buffer BufferOf(const std::vector<T>& values) {
  return {const_cast<T*>(values.data()), values.size() * sizeof(T)};
}

/*! \brief A loaded model. Throws SessionError. `Run` may be called from several threads. */
class Session {
 public:
  /*! \brief Loads a .byoc file. */
  explicit Session(const std::string& path) : Session(path, byoc_options{}) {}
  /*! \brief Loads a .byoc file; `options.size` is set here. */
  Session(const std::string& path, byoc_options options) {
    options.size = sizeof(options);
    Check(byoc_open(path.c_str(), &options, &handle_));
    for (size_t i = 0; i < byoc_input_count(handle_); ++i) inputs_.push_back(Port(byoc_input, i));
    for (size_t i = 0; i < byoc_output_count(handle_); ++i) {
      outputs_.push_back(Port(byoc_output, i));
    }
  }
  ~Session() { byoc_close(handle_); }
  Session(Session&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)),
        inputs_(std::move(other.inputs_)),
        outputs_(std::move(other.outputs_)) {}
  Session& operator=(Session&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(inputs_, other.inputs_);
    std::swap(outputs_, other.outputs_);
    return *this;
  }

  /*! \brief Name of the model. */
  std::string name() const { return byoc_name(handle_); }
  /*! \brief Names and types of the inputs, in order. */
  const std::vector<SessionPort>& inputs() const { return inputs_; }
  /*! \brief Names and types of the outputs, in order. */
  const std::vector<SessionPort>& outputs() const { return outputs_; }

  /*! \brief Memory of this session, in bytes. */
  byoc_memory memory() const {
    byoc_memory memory;
    Check(byoc_get_memory(handle_, &memory));
    return memory;
  }

  /*! \brief Runs one inference; results are written to `outputs`. Any thread. */
  void Run(const std::vector<byoc_buffer>& inputs, const std::vector<byoc_buffer>& outputs) {
    Check(byoc_run(handle_, inputs.data(), inputs.size(), outputs.data(), outputs.size()));
  }

  /*! \brief Runs one inference, and throws when it is not done within `seconds`. Any thread. */
  void RunWithin(double seconds, const std::vector<byoc_buffer>& inputs,
                 const std::vector<byoc_buffer>& outputs) {
    Check(byoc_run_within(handle_, inputs.data(), inputs.size(), outputs.data(), outputs.size(),
                          seconds));
  }

  /*! \brief The C handle; owned by this object. */
  byoc_session* handle() const { return handle_; }

 private:
  static void Check(byoc_status status) {
    if (status != BYOC_OK) throw SessionError(status, byoc_last_error());
  }
  template <typename F>
  SessionPort Port(F get, size_t index) const {
    byoc_port port;
    Check(get(handle_, index, &port));
    return {port.name, port.dtype, {port.shape, port.shape + port.rank}, port.bytes};
  }

  byoc_session* handle_ = nullptr;
  std::vector<SessionPort> inputs_, outputs_;
};

}  // namespace byoc
#endif  // __cplusplus

#endif  // BYOC_SESSION_H_
