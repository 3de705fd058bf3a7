// The configuration of attention_prefill_hopper (attention_shape.h). See prefill_hopper.cuh.
#pragma once

#include "backends/cuda/device_info.h"
#include "ops/attention.h"

namespace brayton::cuda {

struct PrefillHopperConfig {
  int pack = 1;        // heads of a kv head's group in one tile
  int warpgroups = 2;  // that multiply, 64 rows each
  int keys = 128;      // of a step
  int stages = 2;

  int64_t rows() const { return 64 * int64_t{warpgroups}; }
  int64_t tokens() const { return rows() / pack; }
  int64_t threads() const { return 128 * int64_t{warpgroups + 1}; }
  int64_t shared_bytes(int64_t head_dim) const;
  // Keys that one copy brings: a page, or what a step has in common with one.
  int64_t box_keys(int64_t block_size) const;
};

// For arguments that prefill_hopper_supports.
PrefillHopperConfig choose_prefill_hopper(const AttentionArgs& args);

}  // namespace brayton::cuda
