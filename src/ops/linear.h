// linear: y[t, n] = f(sum_k x[t, k] * w[n, k] + bias[n]), f the identity unless there is an
// activation gated:  y[t, i] = f(z[t, i]) * z[t, F + i], z [T, 2F] the plain linear's result
#pragma once

#include <optional>

#include "brayton/tensor_view.h"
#include "ops/activation.h"

namespace brayton {

class PackedWeight;  // a backend's own layout of w, see backends/packed_weight.h

struct LinearArgs {
  TensorView x;     // [T, K]; rows may be strided
  TensorView w;     // [N, K] as in the checkpoint, any type; may be absent beside `packed`
  TensorView bias;  // [N] f32 or empty
  TensorView y;     // [T, N]; [T, N / 2] when gated
  const PackedWeight* packed = nullptr;
  std::optional<ActivationKind> activation;  // only where the backend fuses it
  bool gated = false;                        // needs an activation
};

void check(const LinearArgs& args);
void reference(const LinearArgs& args);

}  // namespace brayton
