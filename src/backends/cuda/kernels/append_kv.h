// append_kv: rotary positions for q and k, and k and v into the paged cache. See append_kv.cuh;
// rope.h chooses the configuration.
#pragma once

#include "backends/cuda/cuda_stream.h"
#include "ops/append_kv.h"

namespace brayton::cuda {

void append_kv(Stream& stream, const AppendKvArgs& args);

}  // namespace brayton::cuda
