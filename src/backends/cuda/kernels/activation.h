// activation and gated_activation. See activation.cuh.
#pragma once

#include "backends/cuda/cuda_stream.h"
#include "ops/activation.h"

namespace brayton::cuda {

void activation(Stream& stream, const ActivationArgs& args);
void gated_activation(Stream& stream, const GatedActivationArgs& args);

}  // namespace brayton::cuda
