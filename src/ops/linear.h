// linear: y[t, n] = sum_k x[t, k] * w[n, k] + bias[n]
#pragma once

#include "brayton/tensor_view.h"

namespace brayton {

class PackedWeight;  // a backend's own layout of w, see backends/packed_weight.h

struct LinearArgs {
  TensorView x;     // [T, K]; rows may be strided
  TensorView w;     // [N, K] as in the checkpoint, any type; may be absent beside `packed`
  TensorView bias;  // [N] f32 or empty
  TensorView y;     // [T, N]
  const PackedWeight* packed = nullptr;
};

void check(const LinearArgs& args);
void reference(const LinearArgs& args);

}  // namespace brayton
