// binary (add, mul) and scale. See elementwise.cuh.
#pragma once

#include "backends/cuda/cuda_stream.h"
#include "ops/elementwise.h"

namespace brayton::cuda {

void binary(Stream& stream, const BinaryArgs& args);
void scale(Stream& stream, const ScaleArgs& args);

}  // namespace brayton::cuda
