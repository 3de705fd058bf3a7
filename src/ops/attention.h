// attention: causal attention of a ragged batch over a paged cache.
// First the step's keys and values are put into the cache (unless append_kv has done that: k and v
// are empty then), then for token t of sequence s, at position i, and for every key position j in
// (i - window, i]:
//   score = scale * (q[t, h] . k[j, h / group]) + slope[h] * (j - i)
//   score = softcap * tanh(score / softcap)          when softcap > 0
//   y[t, h] = sum_j softmax_j(score) v[j, h / group]
// Key j of sequence s lies in block block_table[s, j / block_size], at slot j % block_size.
#pragma once

#include "brayton/tensor_view.h"

namespace brayton {

struct AttentionArgs {
  TensorView q;              // [T, heads, head_dim]; rows may be strided
  TensorView k;              // [T, kv_heads, head_dim] or empty; rows may be strided
  TensorView v;              // [T, kv_heads, head_dim] or empty; rows may be strided
  TensorView cache;          // [blocks, 2 (k, v), kv_heads, block_size, head_dim] f32, f16 or bf16
  TensorView query_offsets;  // [S + 1] i32: tokens of sequence s are [offset[s], offset[s + 1])
  TensorView kv_lengths;     // [S] i32: cached keys after this step, new ones included
  TensorView block_table;    // [S, max_blocks] i32
  TensorView slopes;         // [heads] f32 ALiBi slopes, or empty
  TensorView y;              // [T, heads, head_dim]
  float scale = 1.0f;
  int64_t window = 0;  // 0: all; W: a token sees itself and the W - 1 before it
  float softcap = 0.0f;
  int64_t decodes = 0;  // a hint: each of the first so many sequences has one token in this step
};

void check(const AttentionArgs& args);
// Offsets, lengths and blocks that the host can read: their ranges.
void check_contents(const AttentionArgs& args);
void reference(const AttentionArgs& args);

}  // namespace brayton
