// append_kv: norms of heads and rotary positions for q and k, and k and v into the paged cache. See
// append_kv.cuh.
#pragma once

#include "backends/cuda/kernels/rope.h"
#include "ops/append_kv.h"

namespace brayton::cuda {

struct AppendKvSizes {
  int64_t heads, kv_heads, head_dim, pairs;
  bool interleaved = false;
  bool q_norm = false;
  bool k_norm = false;
};

struct AppendKvConfig {
  int lanes = 1;  // with a norm: of a head, each with the units u, u + lanes, ... of it
  int units = 1;  // of a thread
  RotaryConfig blocks;
};
AppendKvConfig choose_append_kv(const DeviceInfo& device, int64_t tokens,
                                const AppendKvSizes& sizes, int access);

void append_kv(Stream& stream, const AppendKvArgs& args);

}  // namespace brayton::cuda
