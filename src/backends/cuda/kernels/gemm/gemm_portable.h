// linear on the tensor cores of any GPU: the choice of tiles, see gemm_portable.cuh.
#pragma once

#include "backends/cuda/cuda_stream.h"
#include "ops/linear.h"

namespace brayton::cuda {

struct PortableGemmChoice {
  int tile_m = 128, tile_n = 128;
  int warps_m = 2, warps_n = 4;
  int stages = 4;

  int threads() const { return 32 * warps_m * warps_n; }
  int64_t shared_bytes() const { return int64_t{stages} * (tile_m + tile_n) * 64; }
  friend bool operator==(const PortableGemmChoice&, const PortableGemmChoice&) = default;
};

// n: rows of the weight, gate and up together when gated.
PortableGemmChoice choose_gemm_portable(int64_t rows, int64_t n, const DeviceInfo& device);

}  // namespace brayton::cuda
