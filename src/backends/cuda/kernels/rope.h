// rope, and how kernels that turn heads share out their work. See rope.cuh, append_kv.cuh.
#pragma once

#include <initializer_list>

#include "backends/cuda/cuda_stream.h"
#include "ops/rope.h"

namespace brayton::cuda {

// Heads must lie side by side in a row. Throws Error.
void check_heads(const char* op, const TensorView& x, const char* name);

// A head's elements in units of up to two vectors, as RotaryHead of device/rotary.cuh has them.
struct RotaryUnits {
  int64_t turning = 0;  // of a head that turns
  int64_t passing = 0;  // of the rest of such a head
  int64_t all = 0;      // of a head that does not turn
};
RotaryUnits rotary_units(int64_t head_dim, int64_t pairs, bool interleaved, int access);

// Elements of a memory access that suits all tensors: 16 bytes of the widest type, or less.
int rotary_access(std::initializer_list<TensorView> rows, int64_t head_dim, int64_t pairs,
                  bool interleaved);

struct RotaryConfig {
  static constexpr int kThreads = 128;
  int tokens = 1;  // of a block; when 1, blocks may share a token
  int units = 1;   // of a thread
  unsigned grid[2] = {1, 1};
};
RotaryConfig choose_rotary(const DeviceInfo& device, int64_t tokens, int64_t token_units,
                           int64_t pairs);

void rope(Stream& stream, const RopeArgs& args);

}  // namespace brayton::cuda
