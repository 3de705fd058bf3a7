// layer_norm: s = x + residual (s = x without one)
//             y[t, i] = (s[t, i] - mean) * rsqrt(var + eps) * w[i] + b[i], mean and var over i
// Sums are float32. Source: Ba, Kiros and Hinton 2016.
#pragma once

#include "brayton/tensor_view.h"

namespace brayton {

struct LayerNormArgs {
  TensorView x;         // [T, D]
  TensorView residual;  // [T, D] or empty
  TensorView w;         // [D] f32
  TensorView b;         // [D] f32 or empty
  TensorView sum;       // [T, D] s; empty unless residual is given; may alias x or residual
  TensorView y;         // [T, D]; may alias x unless sum does
  float eps = 1e-5f;
};

void check(const LayerNormArgs& args);
void reference(const LayerNormArgs& args);

}  // namespace brayton
