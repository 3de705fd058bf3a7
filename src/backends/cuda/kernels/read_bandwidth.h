// How fast this GPU reads its memory: the bound of decoding.
#pragma once

#include "backends/cuda/cuda_stream.h"

namespace brayton::cuda {

// Bytes/s of the best of several passes over a buffer of 1 GiB, or of half of what is free.
double measure_read_bandwidth(const Driver& driver, CudaStream& stream);

}  // namespace brayton::cuda
