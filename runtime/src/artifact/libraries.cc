#include "artifact/libraries.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tvm/ffi/cast.h>
#include <tvm/ffi/container/map.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include "artifact/kernel_segment.h"
#include "byoc/vendor.h"
#include "core/checked.h"
#include "core/errors.h"
#include "core/tensors.h"
#include "core/text.h"
#include "core/thread_pool.h"
#include "plan/binding.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

std::string FileName(const ManifestVendor& vendor) { return "lib" + vendor.library + ".so"; }

std::optional<std::string> Find(const ManifestVendor& vendor,
                                const std::vector<std::string>& folders) {
  for (const std::string& folder : folders) {
    std::string path = folder + "/" + FileName(vendor);
    struct stat status;
    if (stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode)) return path;
  }
  return std::nullopt;
}

std::optional<ffi::Function> Registered(const ManifestVendor& vendor, const char* part) {
  return ffi::Function::GetGlobal("byoc.vendor." + vendor.name + "." + part);
}

/*! \brief The file of the library that an address lies in. */
std::string FileOf(int64_t address) {
  Dl_info info;
  const bool found = dladdr(reinterpret_cast<void*>(address), &info) != 0;
  return found && info.dli_fname != nullptr ? info.dli_fname : "another library";
}

bool SameFile(const std::string& a, const std::string& b) {
  struct stat first, second;
  return stat(a.c_str(), &first) == 0 && stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

[[noreturn]] void ThrowTwice(const std::string& vendor, const std::string& first,
                             const std::string& second) {
  ThrowVendorError("vendor '" + vendor + "' is in two libraries: " + first +
                   ", which this process has loaded, and " + second +
                   "; a process uses one of them: start another, uninstall one of the two, or "
                   "register one by another name (BYOC_REGISTER_VENDOR)");
}

/*! \brief An anonymous file that nobody can write to any more; closed when this goes. */
class SealedFile {
 public:
  /*! \brief Throws RuntimeError. */
  SealedFile(const char* data, size_t size)
      : fd_(memfd_create("byoc.so", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    size_t done = 0;
    while (fd_ >= 0 && done < size) {
      const ssize_t wrote = write(fd_, data + done, size - done);
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) break;
      done += static_cast<size_t>(wrote);
    }
    constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (fd_ >= 0 && done == size && fcntl(fd_, F_ADD_SEALS, kSeals) == 0) return;
    const int problem = errno;
    if (fd_ >= 0) close(fd_);
    TVM_FFI_THROW(RuntimeError) << "no memory file of " << size
                                << " bytes: " << std::strerror(problem);
  }
  ~SealedFile() { close(fd_); }
  SealedFile(const SealedFile&) = delete;
  SealedFile& operator=(const SealedFile&) = delete;

  /*!
   * \brief A path of the file that this process has never used before.
   *
   * The loader takes a path that it knows for the library that it knows, and file numbers return
   * when files are closed. "/." changes a path and not where it leads: a counter, bit by bit.
   */
  std::string path() const {
    static std::atomic<uint32_t> used{0};
    std::string path = "/proc";
    for (uint32_t number = used.fetch_add(1), bit = 0; bit < 32; ++bit) {
      path += (number >> bit & 1) != 0 ? "/." : "/";
    }
    return path + "/self/fd/" + std::to_string(fd_);
  }

 private:
  int fd_;
};

/*!
 * \brief Before a library of TVM's compiler is loaded: what it asks for must be there.
 *
 * It reaches TVM's runtime by its context, but a few functions of tvm-ffi by name, without linking
 * it. Those are to be found, although who loaded us may have kept what we need to itself.
 */
void PrepareForCode() {
  static const bool visible = [] {
    Dl_info info;
    return dladdr(reinterpret_cast<void*>(&TVMFFIFunctionCall), &info) != 0 &&
           dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_GLOBAL) != nullptr;
  }();
  static_cast<void>(visible);  // else the library says what it misses
  thread_pool::Install();
}

/*! \brief Load the library of a file, with TVM's context; throws RuntimeError. */
ffi::Module LoadFile(const std::string& path) {
  PrepareForCode();
  // By name, since the path of an open file has no suffix to tell what it is.
  static const ffi::Function load =
      ffi::Function::GetGlobalRequired("ffi.Module.load_from_file.so");
  return load(path, "so").cast<ffi::Module>();  // the mapping outlives the file
}

/*!
 * \brief A shared object out of a blob, and the function that is called.
 *
 * Opened before tvm-ffi opens the same path: every symbol now, none for others to see. tvm-ffi
 * would bind them lazily, and one that is missing would end the process at its first call.
 */
class BlobLibrary {
 public:
  BlobLibrary(const char* data, size_t size, const std::string& symbol) {
    const SealedFile file(data, size);
    const std::string path = file.path();
    PrepareForCode();
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) {
      std::string reason = dlerror();
      // The path is no file that anybody could look for.
      if (reason.compare(0, path.size() + 2, path + ": ") == 0) reason.erase(0, path.size() + 2);
      TVM_FFI_THROW(ValueError) << "its blob does not load as a shared object: " << reason
                                << "; link all that it needs into it, for this machine";
    }
    const std::string name = "__tvm_ffi_" + symbol;
    call_ = reinterpret_cast<TVMFFISafeCallType>(dlsym(handle_, name.c_str()));
    if (call_ == nullptr) {
      dlclose(handle_);
      TVM_FFI_THROW(ValueError) << "vendor author: its blob exports no function '" << name
                                << "', which LibraryRuntime(" << Quoted(symbol)
                                << ") calls; give a PrimFunc that global_symbol, or write "
                                << "TVM_FFI_DLL_EXPORT_TYPED_FUNC(" << symbol << ", function)";
    }
    try {
      module_ = LoadFile(path);
    } catch (...) {
      dlclose(handle_);
      throw;
    }
  }
  ~BlobLibrary() {
    module_.reset();
    dlclose(handle_);
  }
  BlobLibrary(const BlobLibrary&) = delete;
  BlobLibrary& operator=(const BlobLibrary&) = delete;

  /*! \brief Throws what it raises, and RuntimeError for a status without an error. */
  void Call(const std::vector<ffi::AnyView>& args) const {
    ffi::Any result;
    ThrowRaised(call_(nullptr, reinterpret_cast<const TVMFFIAny*>(args.data()),
                      static_cast<int32_t>(args.size()), reinterpret_cast<TVMFFIAny*>(&result)));
  }

 private:
  void* handle_ = nullptr;
  TVMFFISafeCallType call_ = nullptr;
  std::optional<ffi::Module> module_;
};

constexpr uintptr_t kCodeAlignment = 64;  // what TVM's compiler takes for granted

/*! \brief A tensor as compiled code takes it: without an offset, and where it is, or moved. */
class CodeTensor {
 public:
  CodeTensor(const DLTensor& given, bool read) : view_(given) {
    view_.data = static_cast<char*>(given.data) + given.byte_offset;
    view_.byte_offset = 0;
    if (reinterpret_cast<uintptr_t>(view_.data) % kCodeAlignment == 0) return;
    home_ = view_.data;
    moved_ = NewTensor(ffi::ShapeView(given.shape, static_cast<size_t>(given.ndim)), given.dtype);
    view_.data = moved_->data_ptr();
    if (read) std::memcpy(view_.data, home_, ffi::GetDataSize(view_));
  }
  DLTensor* view() { return &view_; }
  void WriteBack() const {
    if (home_ != nullptr) std::memcpy(home_, view_.data, ffi::GetDataSize(view_));
  }

 private:
  DLTensor view_;
  void* home_ = nullptr;  // where it was
  std::optional<ffi::Tensor> moved_;
};

}  // namespace

std::vector<std::string> LibraryFolders(const char* given) {
  std::vector<std::string> folders;
  for (const char* list : {given, static_cast<const char*>(std::getenv("BYOC_LIBRARY_PATH"))}) {
    std::string rest = list == nullptr ? "" : list;
    while (!rest.empty()) {
      const size_t colon = rest.find(':');
      if (colon != 0) folders.push_back(rest.substr(0, colon));
      rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
    }
  }
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&LibraryFolders), &info) != 0 && info.dli_fname != nullptr) {
    const std::string path = info.dli_fname;
    const size_t slash = path.rfind('/');
    folders.push_back(slash == std::string::npos ? "." : path.substr(0, slash));
  }
  return folders;
}

void CheckVendor(const ManifestVendor& vendor, const std::vector<std::string>& folders) {
  if (BringsCode(vendor)) return;
  if (vendor.runtime == VendorRuntime::kPython) {
    ThrowVendorError("vendor '" + vendor.name + "' runs in Python: without it only vendors with " +
                     "native runtimes can be used; load the file in Python, or compile the model " +
                     "without '" + vendor.name + "'");
  }
  if (Registered(vendor, "init")) return;  // loaded already, or linked into the program
  const bool plain = !vendor.library.empty() &&
                     std::all_of(vendor.library.begin(), vendor.library.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || std::strchr("_.-+", c) != nullptr;
                     });
  if (!plain) {
    ThrowVendorError("vendor '" + vendor.name + "': '" + vendor.library +
                     "' is no name of a library");
  }
  if (Find(vendor, folders)) return;
  std::string searched;
  for (const std::string& folder : folders) searched += (searched.empty() ? "" : ", ") + folder;
  ThrowVendorError("vendor '" + vendor.name + "': library " + FileName(vendor) + " (package '" +
                   vendor.package + "') is missing; searched: " + searched +
                   "; put it beside libbyoc_runtime.so, or name its folder in " +
                   "byoc_options.library_path or BYOC_LIBRARY_PATH");
}

void OpenVendor(const std::string& vendor, const std::string& path) {
  const std::string prefix = "byoc.vendor." + vendor;
  if (const auto address = ffi::Function::GetGlobal(prefix + ".address")) {
    const std::string known = FileOf((*address)().cast<int64_t>());
    if (SameFile(known, path)) return;
    ThrowTwice(vendor, known, path);
  }
  if (ffi::Function::GetGlobal(prefix + ".init")) return;  // of an older vendor.h, or no library's
  thread_pool::Install();  // a library, or what it loads, may hold kernels of TVM's
  ffi::Function::RemoveGlobal("byoc.vendor_twice");
  // Every symbol now: one that is missing would end the process when it is first called. For good:
  // the functions that it registers point into it.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    const char* reason = dlerror();
    ThrowVendorError("vendor '" + vendor + "': " + path +
                     " does not load: " + (reason != nullptr ? reason : "unknown reason") +
                     "; is the vendor's SDK on this machine, and all of it linked?");
  }
  if (const auto twice = ffi::Function::GetGlobal("byoc.vendor_twice")) {
    const auto told = (*twice)().cast<ffi::Array<ffi::Any>>();
    const std::string name = std::string(told[0].cast<ffi::String>());
    const auto first = ffi::Function::GetGlobal("byoc.vendor." + name + ".address");
    ThrowTwice(name, first ? FileOf((*first)().cast<int64_t>()) : "another library",
               FileOf(told[1].cast<int64_t>()));
  }
}

ffi::Function LoadVendor(const ManifestVendor& vendor, const std::vector<std::string>& folders) {
  if (vendor.runtime == VendorRuntime::kLibrary) return LibraryInit(vendor.symbol);
  if (vendor.runtime == VendorRuntime::kHost) return KernelsInit();
  std::string path = "the library in this process";
  if (!Registered(vendor, "init")) {
    CheckVendor(vendor, folders);
    path = *Find(vendor, folders);
    OpenVendor(vendor.name, path);
  }
  const std::optional<ffi::Function> init = Registered(vendor, "init");
  const std::optional<ffi::Function> version = Registered(vendor, "api_version");
  if (!init || !version) {
    ThrowVendorError("vendor author: " + path + " does not register byoc.vendor." + vendor.name +
                     ".init and byoc.vendor." + vendor.name +
                     ".api_version; use BYOC_REGISTER_VENDOR(" + vendor.name +
                     ", factory) of byoc/vendor.h");
  }
  const int64_t found = (*version)().cast<int64_t>();
  if (found != kVendorApiVersion) {
    ThrowVendorError("vendor '" + vendor.name + "': " + path + " was built for vendor API " +
                     std::to_string(found) + ", this byoc has " +
                     std::to_string(kVendorApiVersion) + "; install matching releases of '" +
                     vendor.package + "' and of byoc");
  }
  return *init;
}

ffi::Function LibraryInit(const std::string& symbol) {
  const auto init = [symbol](const ffi::Bytes& bytes, const ffi::Array<ffi::Tensor>& constants,
                             const ffi::String&) {
    const int64_t outputs = PortsAtHand().outputs;
    if (outputs < 0) TVM_FFI_THROW(ValueError) << "nobody says how many outputs it has";
    // byoc's own binding passes a mapped blob by the context, without a copy.
    const ffi::Any context = SegmentContext();
    const auto blob = context.cast<ffi::Map<ffi::String, ffi::Any>>()["blob"].cast<ffi::Tensor>();
    const auto library = std::make_shared<const BlobLibrary>(
        static_cast<const char*>(blob.data_ptr()), static_cast<size_t>(blob.shape()[0]), symbol);
    std::vector<ffi::Tensor> weights;
    for (const ffi::Tensor& constant : constants) {
      const bool fits = reinterpret_cast<uintptr_t>(constant.data_ptr()) % kCodeAlignment == 0;
      weights.push_back(fits ? constant : CopyOf(constant));
    }
    return ffi::Function::FromPacked([library, weights, outputs](ffi::PackedArgs args, ffi::Any*) {
      const auto read = static_cast<size_t>(args.size() - outputs);
      std::vector<CodeTensor> tensors;
      tensors.reserve(static_cast<size_t>(args.size()));
      for (size_t i = 0; i < static_cast<size_t>(args.size()); ++i) {
        tensors.emplace_back(*args[static_cast<int>(i)].cast<DLTensor*>(), i < read);
      }
      std::vector<ffi::AnyView> views;
      for (size_t i = 0; i < read; ++i) views.emplace_back(tensors[i].view());
      for (const ffi::Tensor& weight : weights) views.emplace_back(weight);
      for (size_t i = read; i < tensors.size(); ++i) views.emplace_back(tensors[i].view());
      library->Call(views);
      for (size_t i = read; i < tensors.size(); ++i) tensors[i].WriteBack();
    });
  };
  return ffi::Function::FromTyped(init);
}

ffi::Module LoadHost(const char* data, size_t size) {
  try {
    return LoadFile(SealedFile(data, size).path());
  } catch (const ffi::Error& error) {
    ThrowArtifactError("the host library does not load: " + std::string(error.message()));
  }
}

}  // namespace byoc
