// rope: rotary positions. Each head's first 2P dimensions are P pairs; pair p of token t turns by
//   angle = positions[t] * inv_freq[p]
//   (a, b) -> (a cos - b sin, a sin + b cos) * scale
// The other dimensions pass through. A pair is (p, p + P), or (2p, 2p + 1) when interleaved.
// Every scaling rule (linear, NTK, llama3, YaRN) is in inv_freq and scale. Source: Su et al. 2021.
#pragma once

#include "brayton/tensor_view.h"

namespace brayton {

struct RopeArgs {
  TensorView x;          // [T, H, head_dim]; rows may be strided
  TensorView positions;  // [T] i32
  TensorView inv_freq;   // [P] f32, 2P <= head_dim
  TensorView y;          // [T, H, head_dim]; may alias x
  bool interleaved = false;
  float scale = 1.0f;
};

void check(const RopeArgs& args);
void reference(const RopeArgs& args);

}  // namespace brayton
