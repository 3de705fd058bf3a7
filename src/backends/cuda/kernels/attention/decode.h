// The configuration of attention_decode (attention_shape.h). See decode.cuh, decode_simple.cuh.
#pragma once

#include "backends/cuda/device_info.h"
#include "ops/attention.h"

namespace brayton::cuda {

struct DecodeConfig {
  bool tensor_cores =
      false;      // decode.cuh; otherwise decode_simple.cuh, and nothing else here counts
  int heads = 1;  // query heads of a unit of work
  int tile = 16;  // keys of a warp's step
  int warps = 4;
  int stages = 2;  // tiles in a warp's ring
  int blocks = 1;  // of a multiprocessor

  int64_t passes(int64_t group) const { return (group + heads - 1) / heads; }
  int64_t shared_bytes(int64_t head_dim, int64_t sequences) const;
  // As many as run at once, unless there can't be so many chunks of keys.
  int64_t grid(const DeviceInfo& device, const AttentionArgs& args) const;
};

DecodeConfig choose_decode(const DeviceInfo& device, const AttentionArgs& args);

}  // namespace brayton::cuda
