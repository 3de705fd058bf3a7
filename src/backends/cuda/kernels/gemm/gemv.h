// linear for one to four rows of x. See gemv.cuh.
#pragma once

#include <cstdint>
#include <optional>

#include "backends/cuda/device_info.h"
#include "backends/cuda/kernels/gemm/linear_kernels.h"

namespace brayton::cuda {

struct GemvShape {
  int64_t rows = 1;     // of x
  int64_t outputs = 0;  // columns of y
  int64_t columns = 0;  // of x and w
  bool gated = false;
};

struct GemvConfig {
  int rows = 1;  // that the kernel is compiled for
  int warps = 8;
  int piece = 1024;   // elements of a row in a stage
  int stages = 2;     // of a warp's ring
  int prefetch = 0;   // stages more, to L2
  bool bulk = false;  // bulk copies instead of cp.async
  unsigned blocks = 1;
  int64_t shared_bytes = 0;
};

// Nothing where the kernel cannot: too many rows, or too much of x for shared memory.
std::optional<GemvConfig> choose_gemv(const GemvShape& shape, const DeviceInfo& device);

}  // namespace brayton::cuda
