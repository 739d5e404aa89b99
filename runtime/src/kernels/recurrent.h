/// \file
/// The steps of recurrent layers (LSTM, GRU, RNN), one after another. Compiled kernels call this by
/// name; the product of the input with its weights is theirs, for all steps at once.
///
/// Equations, operands and the order of gates are those of byoc/kit/recurrent.py.
#ifndef BYOC_RUNTIME_RECURRENT_H_
#define BYOC_RUNTIME_RECURRENT_H_

#include <dlpack/dlpack.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/recurrent_slice.h"

namespace byoc {
namespace kernels {

/// Numbers side by side in a packed weight.
inline constexpr int64_t kPanel = 16;

/// One layer: T steps, a batch of B, D directions, G gates, H numbers in a gate, P in the state
/// that is put out (H unless it is projected). Tensors are dense, float32 or float64, all of one
/// dtype; null where the layer has none.
struct RecurrentJob {
  RecurrentKind kind;
  bool reverse;  ///< The first direction runs backward; the second always does.
  bool linear_before_reset, input_forget;
  double clip;                          ///< 0: sums are not clipped.
  std::vector<Activation> activations;  ///< f, g, h of each direction in turn.

  const DLTensor* gates;       ///< [T, B, D·G·H]: x·wᵀ
  const DLTensor* weight;      ///< [D, G·H, P], or packed [D, G, ceil(H / kPanel), P, kPanel]
  const DLTensor* bias;        ///< [D, 2·G·H]
  const DLTensor* lengths;     ///< int32 [B]
  const DLTensor* h;           ///< [D, B, P]
  const DLTensor* c;           ///< [D, B, H]
  const DLTensor* peepholes;   ///< [D, 3·H]
  const DLTensor* projection;  ///< [D, P, H], or packed [D, 1, ceil(P / kPanel), H, kPanel]

  const DLTensor* y;       ///< receives [T, B, D·P]
  const DLTensor* last_h;  ///< receives [D, B, P]
  const DLTensor* last_c;  ///< receives [D, B, H]; an LSTM's
};

/// Runs a layer; directions and rows of the batch are shared among threads.
///
/// Throws ValueError for dtypes, shapes or lengths that do not fit.
void RunRecurrent(const RecurrentJob& job);

/// Reads functions as calls spell them: "sigmoid:0:0 tanh:0:0". Throws ValueError for unknown ones.
std::vector<Activation> ParseActivations(std::string_view text);

}  // namespace kernels
}  // namespace byoc

#endif  // BYOC_RUNTIME_RECURRENT_H_
