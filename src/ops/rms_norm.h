// rms_norm: s = x + residual (s = x without one)
//           y[t, i] = s[t, i] * rsqrt(mean_i(s[t, i]^2) + eps) * w[i]
// Sums are float32. Source: Zhang and Sennrich 2019.
#pragma once

#include "brayton/tensor_view.h"

namespace brayton {

struct RmsNormArgs {
  TensorView x;         // [T, D]
  TensorView residual;  // [T, D] or empty
  TensorView w;         // [D] f32
  TensorView sum;       // [T, D] s; empty unless residual is given; may alias x or residual
  TensorView y;         // [T, D]; may alias x unless sum does
  float eps = 1e-5f;
};

void check(const RmsNormArgs& args);
void reference(const RmsNormArgs& args);

}  // namespace brayton
