/*
 * What compiled kernels of the host call by name, in processes with and without TVM. Arguments are
 * as TVM's kernels pass them to its own functions, whose names byoc.host replaces by these.
 */
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>
#include <tvm/ffi/string.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/tensors.h"
#include "kernels/found.h"
#include "kernels/recurrent.h"
#include "kernels/sort.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

int64_t Length(const DLTensor* x, int axis) { return x->shape[axis < 0 ? axis + x->ndim : axis]; }

/// sort(x, values, axis, ascending) and argsort(x, indices, axis, ascending).
void SortWhole(ffi::PackedArgs args, bool indices) {
  auto* x = args[0].cast<DLTensor*>();
  auto* out = args[1].cast<DLTensor*>();
  const int axis = args[2].cast<int>();
  kernels::Sort({x, axis, args[3].cast<bool>(), Length(x, axis), nullptr, indices ? nullptr : out,
                 indices ? out : nullptr});
}

/// argsort_nms(x, valid, indices, axis, ascending).
void SortValid(ffi::PackedArgs args, ffi::Any*) {
  auto* x = args[0].cast<DLTensor*>();
  const int axis = args[3].cast<int>();
  kernels::Sort({x, axis, args[4].cast<bool>(), Length(x, axis), args[1].cast<DLTensor*>(), nullptr,
                 args[2].cast<DLTensor*>()});
}

/// topk(x, results of `kind`..., k, axis, kind, ascending); kind: both, values or indices.
void TopK(ffi::PackedArgs args, ffi::Any*) {
  const int results = args.size() - 5;
  auto* x = args[0].cast<DLTensor*>();
  const int64_t k = args[1 + results].cast<int64_t>();
  const int axis = args[2 + results].cast<int>();
  const std::string kind = args[3 + results].cast<ffi::String>();
  DLTensor* values = kind == "indices" ? nullptr : args[1].cast<DLTensor*>();
  DLTensor* indices = kind == "values" ? nullptr : args[results].cast<DLTensor*>();
  kernels::Sort({x, axis, args[4 + results].cast<bool>(), k < 1 ? Length(x, axis) : k, nullptr,
                 values, indices});
}

/// unique(x, sorted, with first, with inverse, with counts[, axis]) -> values, or all that is
/// wanted.
void Unique(ffi::PackedArgs args, ffi::Any* result) {
  auto* x = args[0].cast<DLTensor*>();
  std::optional<int> axis;
  if (args.size() > 5 && args[5] != nullptr) {
    axis = args[5].cast<int>();
    if (*axis < 0) *axis += x->ndim;
  }
  const kernels::Distinct found = kernels::Unique(*x, axis, args[1].cast<bool>());
  ffi::Array<ffi::Tensor> all{found.values};
  if (args[2].cast<bool>()) all.push_back(found.first);
  if (args[3].cast<bool>()) all.push_back(found.inverse);
  if (args[4].cast<bool>()) all.push_back(found.counts);
  if (all.size() == 1) {
    *result = found.values;
  } else {
    *result = std::move(all);
  }
}

/// recurrent(kind, direction, operands, activations, clip, linear_before_reset, input_forget, what
/// `operands` names, with x·w for x and w..., y, h[, c]); see byoc/host/legalize/recurrent.py.
void Recurrent(ffi::PackedArgs args, ffi::Any*) {
  const std::string kind = args[0].cast<ffi::String>(), direction = args[1].cast<ffi::String>();
  const std::string operands = args[2].cast<ffi::String>();
  const std::string activations = args[3].cast<ffi::String>();
  kernels::RecurrentJob job{};
  job.kind = kind == "lstm"  ? kernels::RecurrentKind::kLstm
             : kind == "gru" ? kernels::RecurrentKind::kGru
                             : kernels::RecurrentKind::kRnn;
  job.reverse = direction == "reverse";
  job.activations = kernels::ParseActivations(activations);
  job.clip = args[4].cast<double>();
  job.linear_before_reset = args[5].cast<bool>();
  job.input_forget = args[6].cast<bool>();
  const std::pair<std::string_view, const DLTensor**> places[] = {
      {"x", &job.gates}, {"r", &job.weight}, {"b", &job.bias},      {"lengths", &job.lengths},
      {"h", &job.h},     {"c", &job.c},      {"p", &job.peepholes}, {"proj", &job.projection},
  };
  int next = 7;
  const auto tensor = [&args, &next]() -> const DLTensor* {
    if (next >= args.size()) TVM_FFI_THROW(ValueError) << "a recurrent layer lacks tensors";
    return args[next++].cast<DLTensor*>();
  };
  for (std::string_view left = operands; !left.empty();) {
    const std::string_view name = left.substr(0, left.find(' '));
    left.remove_prefix(std::min(name.size() + 1, left.size()));
    for (const auto& [known, place] : places) {
      if (known == name) *place = tensor();
    }
  }
  job.y = tensor();
  job.last_h = tensor();
  if (job.kind == kernels::RecurrentKind::kLstm) job.last_c = tensor();
  kernels::RunRecurrent(job);
}

/// shape_to_tensor(shape) -> int64 [rank].
ffi::Tensor ShapeToTensor(const ffi::Shape& shape) {
  const int64_t rank = static_cast<int64_t>(shape.size());
  ffi::Tensor result = NewTensor(ffi::ShapeView(&rank, 1), DLDataType{kDLInt, 64, 1});
  std::copy(shape.begin(), shape.end(), static_cast<int64_t*>(result.data_ptr()));
  return result;
}

TVM_FFI_STATIC_INIT_BLOCK() {
  namespace refl = tvm::ffi::reflection;
  refl::GlobalDef()
      .def_packed("byoc.runtime.kernel.argsort",
                  [](ffi::PackedArgs args, ffi::Any*) { SortWhole(args, /*indices=*/true); })
      .def_packed("byoc.runtime.kernel.argsort_nms", SortValid)
      .def("byoc.runtime.kernel.nonzero", [](DLTensor* x) { return kernels::NonZero(*x); })
      .def_packed("byoc.runtime.kernel.recurrent", Recurrent)
      .def("byoc.runtime.kernel.shape_to_tensor", ShapeToTensor)
      .def_packed("byoc.runtime.kernel.sort",
                  [](ffi::PackedArgs args, ffi::Any*) { SortWhole(args, /*indices=*/false); })
      .def_packed("byoc.runtime.kernel.topk", TopK)
      .def_packed("byoc.runtime.kernel.unique", Unique);
}

}  // namespace
}  // namespace byoc
