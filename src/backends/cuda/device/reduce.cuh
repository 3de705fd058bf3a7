// Sums and maxima over a warp or a block. The order is fixed: results are bit-equal from run to
// run.
#pragma once

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}

// Over the whole block, result in every thread. `shared` holds a float per warp; it may be used
// again after the next __syncthreads().
template <int kThreads>
__device__ __forceinline__ float block_sum(float x, float* shared) {
  static_assert(kThreads % 32 == 0 && kThreads <= 1024);
  x = warp_sum(x);
  if constexpr (kThreads == 32) return x;
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < kThreads / 32; ++i) total += shared[i];
  return total;
}
