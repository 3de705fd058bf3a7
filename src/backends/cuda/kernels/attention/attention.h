// attention: the decodes of a step by one kernel, its other sequences by another.
#pragma once

#include "backends/cuda/cuda_stream.h"
#include "ops/attention.h"

namespace brayton::cuda {

// Where k and v are given, they are put into the cache first (append_kv).
void attention(Stream& stream, const AttentionArgs& args);

}  // namespace brayton::cuda
