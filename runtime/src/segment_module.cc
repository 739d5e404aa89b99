/*!
 * \file segment_module.cc
 *
 * Serialized form, little-endian, no padding:
 *
 *   u64 version | str symbol | str vendor | str options | str blob | u64 n | n tensors
 *   str    = u64 length, bytes
 *   tensor = DLDataType, u64 ndim, i64 shape[ndim], raw row-major data
 */
#include "segment_module.h"

#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace byoc {
namespace {

using tvm::ffi::Any;
using tvm::ffi::Array;
using tvm::ffi::Bytes;
using tvm::ffi::Function;
using tvm::ffi::Module;
using tvm::ffi::Optional;
using tvm::ffi::String;
using tvm::ffi::Tensor;

constexpr uint64_t kFormatVersion = 1;
constexpr size_t kAlignment = 64;  // what vendors are promised for constants

struct AlignedAlloc {
  void AllocData(DLTensor* t) {
    const size_t size = tvm::ffi::GetDataSize(*t);
    t->data = std::aligned_alloc(kAlignment, (size / kAlignment + 1) * kAlignment);
    if (t->data == nullptr) TVM_FFI_THROW(MemoryError) << "cannot allocate " << size << " bytes";
  }
  void FreeData(DLTensor* t) { std::free(t->data); }
};

class Writer {
 public:
  void Raw(const void* data, size_t size) { out_.append(static_cast<const char*>(data), size); }
  void U64(uint64_t value) { Raw(&value, sizeof(value)); }
  void Str(const char* data, size_t size) {
    U64(size);
    Raw(data, size);
  }
  Bytes Finish() { return Bytes(std::move(out_)); }

 private:
  std::string out_;
};

class Reader {
 public:
  explicit Reader(const Bytes& bytes) : next_(bytes.data()), left_(bytes.size()) {}

  const char* Take(uint64_t size) {
    if (size > left_) {
      TVM_FFI_THROW(ValueError) << "a serialized byoc segment is truncated: expected " << size
                                << " more bytes, found " << left_;
    }
    const char* at = next_;
    next_ += size;
    left_ -= size;
    return at;
  }
  template <typename T>
  T Value() {
    T value;
    std::memcpy(&value, Take(sizeof(T)), sizeof(T));
    return value;
  }
  String Str() {
    const uint64_t size = Value<uint64_t>();
    return String(Take(size), size);
  }
  Bytes Blob() {
    const uint64_t size = Value<uint64_t>();
    return Bytes(Take(size), size);
  }
  Tensor Array() {
    const auto dtype = Value<DLDataType>();
    const auto ndim = Value<uint64_t>();
    if (ndim > left_ / sizeof(int64_t)) Take(left_ + 1);  // throws
    std::vector<int64_t> shape(ndim);
    uint64_t size = (uint64_t{dtype.bits} * dtype.lanes + 7) / 8;
    for (int64_t& dim : shape) {
      dim = Value<int64_t>();
      if (dim < 0 || (dim > 0 && size > left_ / static_cast<uint64_t>(dim))) Take(left_ + 1);
      size *= static_cast<uint64_t>(dim);
    }
    Tensor tensor = Tensor::FromNDAlloc(AlignedAlloc(), tvm::ffi::ShapeView(shape.data(), ndim),
                                        dtype, DLDevice{kDLCPU, 0});
    std::memcpy(tensor.data_ptr(), Take(size), size);
    return tensor;
  }

 private:
  const char* next_;
  uint64_t left_;
};

class SegmentModuleObj : public tvm::ffi::ModuleObj {
 public:
  SegmentModuleObj(String symbol, String vendor, Bytes blob, Array<Tensor> constants,
                   String options)
      : symbol_(std::move(symbol)),
        vendor_(std::move(vendor)),
        blob_(std::move(blob)),
        constants_(std::move(constants)),
        options_(std::move(options)) {}

  const char* kind() const final { return kSegmentModuleKind; }

  int GetPropertyMask() const final { return Module::kBinarySerializable | Module::kRunnable; }

  Optional<Function> GetFunction(const String& name) final {
    if (name != symbol_) return std::nullopt;
    auto self = tvm::ffi::GetObjectPtr<SegmentModuleObj>(this);  // keeps the module alive
    return Function::FromPacked([self](tvm::ffi::PackedArgs args, Any* result) {
      self->Execute().CallPacked(args, result);
    });
  }

  Bytes SaveToBytes() const final {
    Writer out;
    out.U64(kFormatVersion);
    out.Str(symbol_.data(), symbol_.size());
    out.Str(vendor_.data(), vendor_.size());
    out.Str(options_.data(), options_.size());
    out.Str(blob_.data(), blob_.size());
    out.U64(constants_.size());
    for (const Tensor& tensor : constants_) {
      const DLTensor* t = tensor.GetDLTensorPtr();
      out.Raw(&t->dtype, sizeof(t->dtype));
      out.U64(static_cast<uint64_t>(t->ndim));
      out.Raw(t->shape, sizeof(int64_t) * static_cast<size_t>(t->ndim));
      out.Raw(tensor.data_ptr(), tvm::ffi::GetDataSize(*t));
    }
    return out.Finish();
  }

 private:
  Function Execute() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!execute_) {
      Function init = FindInit();
      execute_ = init(blob_, constants_, options_).cast<Function>();
    }
    return *execute_;
  }

  Function FindInit() const {
    const std::string name = std::string("byoc.vendor.") + std::string(vendor_) + ".init";
    if (auto init = Function::GetGlobal(name)) return *init;
    if (auto load = Function::GetGlobal("byoc.load_vendor")) {
      (*load)(vendor_);
      if (auto init = Function::GetGlobal(name)) return *init;
    }
    TVM_FFI_THROW(RuntimeError) << "segment '" << symbol_ << "': the runtime of vendor '" << vendor_
                                << "' is not loaded; install the vendor's package and import byoc";
    TVM_FFI_UNREACHABLE();
  }

  const String symbol_, vendor_;
  const Bytes blob_;
  const Array<Tensor> constants_;
  const String options_;
  std::mutex mutex_;
  std::optional<Function> execute_;
};

}  // namespace

Module MakeSegmentModule(String symbol, String vendor, Bytes blob, Array<Tensor> constants,
                         String options) {
  return Module(tvm::ffi::make_object<SegmentModuleObj>(std::move(symbol), std::move(vendor),
                                                        std::move(blob), std::move(constants),
                                                        std::move(options)));
}

Module LoadSegmentModule(const Bytes& bytes) {
  Reader in(bytes);
  const auto version = in.Value<uint64_t>();
  if (version != kFormatVersion) {
    TVM_FFI_THROW(ValueError) << "a serialized byoc segment has format version " << version
                              << ", this byoc reads " << kFormatVersion;
  }
  String symbol = in.Str(), vendor = in.Str(), options = in.Str();
  Bytes blob = in.Blob();
  const auto count = in.Value<uint64_t>();
  Array<Tensor> constants;
  for (uint64_t i = 0; i < count; ++i) constants.push_back(in.Array());
  return MakeSegmentModule(symbol, vendor, blob, constants, options);
}

}  // namespace byoc
