// The kernel table's linear: which of the kernels in linear_kernels.h, or cuBLASLt, computes a
// layer.
#pragma once

#include "backends/backend.h"
#include "backends/cuda/device_info.h"
#include "ops/linear.h"

namespace brayton::cuda {

enum class LinearKernel { kGemv, kSkinny, kGemmHopper, kGemm, kSimple, kCublasLt };

struct LinearShape {
  DType dtype = DType::kBF16;
  int64_t rows = 1;     // of x
  int64_t outputs = 0;  // columns of y
  int64_t columns = 0;  // of x and w
  bool gated = false;
  bool x_aligned = true;  // rows at multiples of 16 bytes
  bool y_aligned = true;  // the same, and bias
};

// By a model, without cuBLASLt.
LinearKernel choose_linear(const LinearShape& shape, const DeviceInfo& device);

// By measurements where the stream's backend has them.
void linear(Stream& stream, const LinearArgs& args);

}  // namespace brayton::cuda
