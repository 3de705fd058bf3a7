// linear for a few rows of x, on tensor cores. See skinny.cuh and, for Hopper, skinny_hopper.cuh.
#pragma once

#include <cstdint>
#include <optional>

#include "backends/cuda/device_info.h"
#include "backends/cuda/kernels/gemm/linear_kernels.h"

namespace brayton::cuda {

struct SkinnyShape {
  int64_t rows = 1;     // of x
  int64_t outputs = 0;  // columns of y
  int64_t columns = 0;  // of x and w
  bool gated = false;
};

struct SkinnyConfig {
  bool hopper = false;  // bulk tensor copies and wgmma
  int tokens = 8;       // rows of x that the kernel is compiled for
  int stages = 2;       // of the ring
  int x_stages = 0;     // of x's own ring; hopper only
  int prefetch = 0;     // units more that are fetched to L2; hopper only
  int cluster = 1;      // blocks that share x; hopper only
  int blocks = 1;       // no more than run at once: they wait for each other
  int tiles = 1;        // of 128 rows of w, rounded up to whole clusters
  int64_t shared_bytes = 0;
  int64_t workspace_bytes = 0;
};

// Nothing where the kernels cannot: more than 128 rows, or columns not a multiple of 8.
std::optional<SkinnyConfig> choose_skinny(const SkinnyShape& shape, const DeviceInfo& device);

}  // namespace brayton::cuda
