// The configuration of attention_prefill (attention_shape.h). See prefill.cuh, prefill_simple.cuh.
#pragma once

#include "backends/cuda/device_info.h"
#include "backends/cuda/jit/kernel_spec.h"
#include "backends/cuda/kernels/attention/attention_shape.h"

namespace brayton::cuda {

struct PrefillConfig {
  bool tensor_cores = false;  // prefill.cuh; otherwise prefill_simple.cuh, and only warps count
  int pack = 1;               // heads of a kv head's group in one tile
  int warps = 4;
  int tiles = 2;  // of 16 rows, of a warp
  int keys = 64;  // of a step

  int64_t rows() const { return int64_t{warps} * tiles * 16; }
  int64_t tokens() const { return rows() / pack; }
  int64_t shared_bytes(int64_t head_dim) const;
};

PrefillConfig choose_prefill(const DeviceInfo& device, const AttentionArgs& args);

// What the tensor core kernels have in common.
// Two-byte elements of one type, rows on 16 bytes, a positive scale.
bool suits_tensor_cores(const AttentionArgs& args);
// The most heads of a group, a divisor of it, that leave few of a tile's rows idle.
int packed_heads(int64_t group, int64_t rows);
// At most so many tiles of `tokens` tokens: each sequence may end with a part of one.
int64_t most_tiles(const PrefillRange& range, int64_t tokens);
// Shapes and features, as macros.
void define_attention(KernelSpec& spec, const AttentionArgs& args);
int32_t window_of(const AttentionArgs& args);

}  // namespace brayton::cuda
