// append_kv: the heads of q and k are normalised as rms_norm has it, then get rotary positions as
// rope has them, q in place; then the step's k and v go into the cache, where attention reads them.
// Between norm and rotation nothing is rounded to q's type.
#pragma once

#include "brayton/tensor_view.h"

namespace brayton {

struct AppendKvArgs {
  TensorView q;               // [T, heads, head_dim], changed; rows may be strided
  TensorView k;               // [T, kv_heads, head_dim], undefined afterwards; rows may be strided
  TensorView v;               // [T, kv_heads, head_dim]; rows may be strided
  TensorView positions;       // [T] i32
  TensorView inv_freq;        // [P] f32, 2P <= head_dim; empty: no rotary positions
  TensorView q_norm, k_norm;  // [head_dim] f32: weights for each head of q, of k; empty: no norm
  TensorView cache;           // [blocks, 2 (k, v), kv_heads, block_size, head_dim]
  TensorView query_offsets;   // [S + 1] i32, see attention
  TensorView kv_lengths;      // [S] i32
  TensorView block_table;     // [S, max_blocks] i32
  bool interleaved = false;
  float scale = 1.0f;  // of what turns
  float norm_eps = 1e-5f;
};

void check(const AppendKvArgs& args);
void reference(const AppendKvArgs& args);

}  // namespace brayton
