// linear for any type and any size, in float32 on the CUDA cores: the oracle's path, and what is
// left for sizes that the fast kernels do not take.
//
// linear_tile: a block computes 64 rows by 64 columns of y, a thread 4 by 4 of them, 16 of k at a
// time from shared memory. Bound by the multiply-add units. linear_rows: a warp computes a column
// of up to four rows of y. Bound by reading w.
//
//   ELEMENT      float, bf16 or f16: of x, w and y
//   GATED, BIAS  whether it is, and whether there is one
//   ACTIVATION   as in activation.cuh; negative: none
#include "device/activation.cuh"
#include "device/dependency.cuh"
#include "device/reduce.cuh"
#include "device/types.cuh"

using Element = ELEMENT;
constexpr bool kGated = GATED;
constexpr bool kBias = BIAS;
constexpr int kActivation = ACTIVATION;
constexpr int kParts = kGated ? 2 : 1;  // rows of w for a column of y: the gate's, then the up one

struct Linear {
  const Element* x;
  const Element* w;
  const float* bias;
  Element* y;
  int rows, outputs, columns, x_stride, y_stride;

  __device__ __forceinline__ float x_at(int row, int k) const {
    return row < rows && k < columns ? to_float(x[int64_t(row) * x_stride + k]) : 0.0f;
  }
  __device__ __forceinline__ float w_at(int part, int output, int k) const {
    if (output >= outputs || k >= columns) return 0.0f;
    return to_float(w[(int64_t(part) * outputs + output) * columns + k]);
  }
  __device__ __forceinline__ void write(int row, int output, const float (&sums)[kParts]) const {
    if (row >= rows || output >= outputs) return;
    float z = sums[0];
    if constexpr (kBias) z += bias[output];
    if constexpr (kActivation >= 0) z = activate<kActivation>(z);
    if constexpr (kGated) {
      float up = sums[1];
      if constexpr (kBias) up += bias[outputs + output];
      z *= up;
    }
    y[int64_t(row) * y_stride + output] = from_float<Element>(z);
  }
};

constexpr int kTile = 64;
constexpr int kDepth = 16;
constexpr int kPitch = kTile + 4;

extern "C" __global__ void __launch_bounds__(256)
    linear_tile(const Element* x, const Element* w, const float* bias, Element* y, int rows,
                int outputs, int columns, int x_stride, int y_stride) {
  __shared__ __align__(16) float x_tile[kDepth][kPitch];
  __shared__ __align__(16) float w_tile[kParts][kDepth][kPitch];
  const Linear linear{x, w, bias, y, rows, outputs, columns, x_stride, y_stride};
  const int first_output = blockIdx.x * kTile, first_row = blockIdx.y * kTile;
  const int across = threadIdx.x % 16 * 4, down = threadIdx.x / 16 * 4;
  launch_dependents();
  wait_for_dependency();
  float sums[4][4][kParts] = {};
#pragma unroll 1
  for (int k = 0; k < columns; k += kDepth) {
#pragma unroll
    for (int i = 0; i < kTile * kDepth / 256; ++i) {
      const int at = threadIdx.x + i * 256;
      const int line = at / kDepth, depth = at % kDepth;
      x_tile[depth][line] = linear.x_at(first_row + line, k + depth);
#pragma unroll
      for (int part = 0; part < kParts; ++part)
        w_tile[part][depth][line] = linear.w_at(part, first_output + line, k + depth);
    }
    __syncthreads();
#pragma unroll
    for (int depth = 0; depth < kDepth; ++depth) {
      const float4 xs = *reinterpret_cast<const float4*>(&x_tile[depth][down]);
      const float x_values[4] = {xs.x, xs.y, xs.z, xs.w};
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        const float4 ws = *reinterpret_cast<const float4*>(&w_tile[part][depth][across]);
        const float w_values[4] = {ws.x, ws.y, ws.z, ws.w};
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j)
            sums[i][j][part] = fmaf(x_values[i], w_values[j], sums[i][j][part]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j)
      linear.write(first_row + down + i, first_output + across + j, sums[i][j]);
}

extern "C" __global__ void __launch_bounds__(256)
    linear_rows(const Element* x, const Element* w, const float* bias, Element* y, int rows,
                int outputs, int columns, int x_stride, int y_stride) {
  constexpr int kRows = 4;
  const Linear linear{x, w, bias, y, rows, outputs, columns, x_stride, y_stride};
  const int output = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
  const int first_row = blockIdx.y * kRows;
  launch_dependents();
  wait_for_dependency();
  float sums[kRows][kParts] = {};
#pragma unroll 4
  for (int k = lane; k < columns; k += 32) {
    float x_values[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) x_values[i] = linear.x_at(first_row + i, k);
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const float w_value = linear.w_at(part, output, k);
#pragma unroll
      for (int i = 0; i < kRows; ++i) sums[i][part] = fmaf(x_values[i], w_value, sums[i][part]);
    }
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) sums[i][part] = warp_sum(sums[i][part]);
    if (lane == i) linear.write(first_row + i, output, sums[i]);
  }
}
