// linear on Hopper's tensor cores: the choice of tiles, see gemm_hopper.cuh.
#pragma once

#include <span>
#include <vector>

#include "backends/cuda/cuda_stream.h"
#include "ops/linear.h"

namespace brayton::cuda {

// y [rows, n] of a linear, [rows, n / 2] when gated; k is what is summed over.
struct GemmShape {
  int64_t rows = 0, n = 0, k = 0;
  bool gated = false;

  friend bool operator==(const GemmShape&, const GemmShape&) = default;
};

// Tiles of 64 * consumers rows by tile_n columns (of gate and up together). Side by side in a
// cluster: cluster_m of them with other rows, cluster_n with other columns, each computed by
// `splits` blocks that have a part of k.
struct GemmChoice {
  int consumers = 2;
  int tile_n = 256;
  int cluster_m = 1;
  int cluster_n = 1;
  int splits = 1;
  int stages = 4;
  int chunk = 64;  // columns of y that a warp stores at once

  int tile_m() const { return 64 * consumers; }
  int blocks() const { return cluster_m * cluster_n; }  // of a cluster
  friend bool operator==(const GemmChoice&, const GemmChoice&) = default;
};

// The numbers of rows that choices are made for: every number stands for the next of these, numbers
// beyond the last for the last. So a plan can have all kernels compiled that a program may need.
std::span<const int64_t> gemm_row_buckets();

// The model's best, at most `count`, the best first; one at least. Pure. The bucket of shape.rows
// decides, not the number itself.
std::vector<GemmChoice> gemm_candidates(const GemmShape& shape, const DeviceInfo& device,
                                        int count = 8);
GemmChoice choose_gemm(const GemmShape& shape, const DeviceInfo& device);

// What the model expects, in microseconds.
double gemm_microseconds(const GemmShape& shape, const GemmChoice& choice,
                         const DeviceInfo& device);
// Bytes of shared memory that the kernel asks for.
int64_t gemm_shared_bytes(const GemmChoice& choice);
// Clusters of the launch.
int64_t gemm_clusters(const GemmShape& shape, const GemmChoice& choice, const DeviceInfo& device);

// Whether linear_gemm_hopper() takes these: types, sizes and alignment.
bool gemm_hopper_supports(const DeviceInfo& device, const LinearArgs& args);
// linear_gemm_hopper() with another choice, for measurements.
void linear_gemm_hopper_with(CudaStream& stream, const LinearArgs& args, const GemmChoice& choice);

}  // namespace brayton::cuda
