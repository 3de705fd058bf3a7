// unpack_step. See step_inputs.cuh.
#pragma once

#include "backends/cuda/cuda_stream.h"
#include "ops/unpack_step.h"

namespace brayton::cuda {

// Blocks for at most `items` entries, of which each thread takes one where the GPU has room.
int64_t unpack_step_blocks(int64_t items, int multiprocessors);

void unpack_step(Stream& stream, const UnpackStepArgs& args);

}  // namespace brayton::cuda
