// Block-quantised weights to floats on the device. See dequantize.cuh.
#pragma once

#include "backends/cuda/cuda_stream.h"

namespace brayton::cuda {

// `elements` (whole blocks) of a block format, at an even address, to float32, float16 or bfloat16
// at a multiple of 16 bytes. What ops/quant_blocks.h's to_f32 and from_f32 make of them, bit for
// bit.
void dequantize(CudaStream& stream, const void* blocks, DType format, int64_t elements, DType to,
                void* out);

}  // namespace brayton::cuda
