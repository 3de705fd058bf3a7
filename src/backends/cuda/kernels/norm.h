// rms_norm and layer_norm, with the residual's addition. See norm.cuh.
#pragma once

#include "backends/cuda/cuda_stream.h"
#include "ops/layer_norm.h"
#include "ops/rms_norm.h"

namespace brayton::cuda {

struct NormConfig {
  int threads = 32;  // of a block, which computes one row at a time
  int vectors = 0;   // of 16 bytes that a thread holds of a row; 0: single elements
  int blocks = 1;    // of a multiprocessor
};

// `aligned`: all rows and weights lie at multiples of 16 bytes.
NormConfig choose_norm(DType dtype, int64_t width, bool bias, bool aligned);

void rms_norm(Stream& stream, const RmsNormArgs& args);
void layer_norm(Stream& stream, const LayerNormArgs& args);

}  // namespace brayton::cuda
