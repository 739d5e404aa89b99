/// \file
/// Some rows of the batch of a recurrent layer, in one direction, on one thread.
///
/// recurrent_slice.cc is compiled once per instruction set; `Slices()` picks the widest one that
/// this CPU has. The loops are plain C++ that compilers turn into vector code.
#ifndef BYOC_RUNTIME_RECURRENT_SLICE_H_
#define BYOC_RUNTIME_RECURRENT_SLICE_H_

#include <cstdint>

namespace byoc {
namespace kernels {

enum class RecurrentKind : uint8_t { kRnn, kGru, kLstm };

/// How many gates the weights of a layer hold.
static inline int64_t GatesOf(RecurrentKind kind) {
  return kind == RecurrentKind::kLstm ? 4 : kind == RecurrentKind::kGru ? 3 : 1;
}

/// A function of the ONNX operators.
struct Activation {
  enum Kind : uint8_t {
    kAffine,
    kElu,
    kHardSigmoid,
    kLeakyRelu,
    kRelu,
    kScaledTanh,
    kSigmoid,
    kSoftplus,
    kSoftsign,
    kTanh,
    kThresholdedRelu,
  };
  Kind kind;
  double alpha, beta;
};

/// What one call of a slice works on. Pointers to tensors stand at the first row and direction that
/// is meant; `rows` is what `batch` was cut into.
template <typename T>
struct RecurrentSlice {
  RecurrentKind kind;
  bool backward, linear_before_reset, input_forget;
  double clip;
  const Activation* activations;  ///< f, g, h

  int64_t steps, rows, hidden;
  int64_t width;           ///< of h and y: P, or H where nothing is projected
  const T* gates;          ///< [steps, batch, …]
  int64_t gates_step;      ///< from one step to the next
  int64_t gates_row;       ///< from one row to the next
  const T* weight;         ///< packed
  const T* projection;     ///< packed, or null
  const T* bias;           ///< [2·G·H] or null
  const T* peepholes;      ///< [3·H] or null
  const int32_t* lengths;  ///< [rows] or null
  const T* h;              ///< [rows, P] or null
  const T* c;              ///< [rows, H] or null
  T* y;                    ///< [steps, batch, …]
  int64_t y_step, y_row;
  T* last_h;  ///< [rows, P]
  T* last_c;  ///< [rows, H], or null: no LSTM
};

/// The loops for one instruction set.
struct RecurrentKernels {
  void (*run32)(const RecurrentSlice<float>& slice);
  void (*run64)(const RecurrentSlice<double>& slice);
};

/// The loops for this CPU.
const RecurrentKernels& Slices();

}  // namespace kernels
}  // namespace byoc

#endif  // BYOC_RUNTIME_RECURRENT_SLICE_H_
