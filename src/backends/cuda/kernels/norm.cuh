// rms_norm and layer_norm, with or without a residual: a block per row, then the row gridDim.x
// further on, which is read while this one is reduced. A row is read once and stays in registers;
// w and b are fetched before the kernel waits for its predecessor. Float32 throughout. One row is
// bound by latency (a read, a sum over the block, a write), many by memory.
//
//   ELEMENT  float, f16 or bf16: of x, residual, sum and y
//   WIDTH    elements of a row
//   THREADS  of a block
//   VECTORS  of 16 bytes that a thread holds of a row; 0: single elements, read again each pass
//   BLOCKS   of a multiprocessor that the registers must suffice for
//   RESIDUAL, SUM, BIAS  whether there is one
//   LAYER    layer_norm
#include "device/dependency.cuh"
#include "device/elements.cuh"
#include "device/reduce.cuh"

using Element = ELEMENT;
constexpr int kWidth = WIDTH;
constexpr int kThreads = THREADS;
constexpr int kVectors = VECTORS;
constexpr int kBlocks = BLOCKS;
constexpr bool kResidual = RESIDUAL;
constexpr bool kSum = SUM;
constexpr bool kBias = BIAS;
constexpr bool kLayer = LAYER;

struct Rows {
  const Element* x;
  const Element* residual;
  const float* w;
  const float* b;
  Element* sum;
  Element* y;
  int count;
  int x_stride, residual_stride, sum_stride, y_stride;  // in elements
  float eps;
};

// for_all(f) calls f(s) for each of this thread's summands. Sets the mean (0 for rms_norm) and
// returns the factor. The sums of a row, and one row and the next, use different halves of
// `shared`, so the barrier in between says that a half may be written again.
template <class ForAll>
__device__ __forceinline__ float row_scale(const ForAll& for_all, float eps, int parity,
                                           float (&shared)[2][32], float& mean) {
  mean = 0.0f;
  if constexpr (kLayer) {
    float total = 0.0f;
    for_all([&](float s) { total += s; });
    mean = block_sum<kThreads>(total, shared[0]) * (1.0f / kWidth);
    parity = 1;
  }
  float squares = 0.0f;
  for_all([&](float s) { squares = fmaf(s - mean, s - mean, squares); });
  return rsqrtf(block_sum<kThreads>(squares, shared[parity]) * (1.0f / kWidth) + eps);
}

// This thread's part of a row, in vectors.
constexpr int kN = Vector16<Element>::kElements;
constexpr int kHeld = kVectors > 0 ? kVectors : 1;
struct Part {
  // The compiler drops the test where every thread has kVectors.
  static __device__ __forceinline__ bool has(int j) {
    return (j + 1) * kThreads * kN <= kWidth || at(j) < kWidth;
  }
  static __device__ __forceinline__ int at(int j) { return (j * kThreads + int(threadIdx.x)) * kN; }
};

struct RawRow {
  Vector16<Element> x[kHeld], residual[kHeld];

  __device__ __forceinline__ void load(const Rows& rows, int row) {
#pragma unroll
    for (int j = 0; j < kHeld; ++j) {
      x[j].raw = residual[j].raw = make_uint4(0, 0, 0, 0);
      if (!Part::has(j)) continue;
      x[j].load(rows.x + int64_t(row) * rows.x_stride + Part::at(j));
      if constexpr (kResidual)
        residual[j].load(rows.residual + int64_t(row) * rows.residual_stride + Part::at(j));
    }
  }
  __device__ __forceinline__ void add(float (&s)[kHeld][kN]) const {
#pragma unroll
    for (int j = 0; j < kHeld; ++j) {
      x[j].to_floats(s[j]);
      if constexpr (kResidual) {
        float r[kN];
        residual[j].to_floats(r);
#pragma unroll
        for (int k = 0; k < kN; ++k) s[j][k] += r[k];
      }
    }
  }
};

__device__ __forceinline__ void load_constants(const float* from, float (&to)[kN]) {
#pragma unroll
  for (int k = 0; k < kN; k += 4)  // as ld.global.nc it would be moved behind the wait
    asm volatile("ld.global.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(to[k]), "=f"(to[k + 1]), "=f"(to[k + 2]), "=f"(to[k + 3])
                 : "l"(from + k));
}

__device__ __forceinline__ void rows_in_registers(const Rows& rows, float (&shared)[2][32]) {
  // Registers suffice for w as well; where a thread has few elements, for b and the next row too.
  constexpr bool kHoldW = kThreads * kVectors * kN <= 8192;
  constexpr bool kFew = kVectors * kN <= 8;
  float w[kHeld][kN], b[kHeld][kN];
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
    if (!Part::has(j)) continue;
    if constexpr (kHoldW) load_constants(rows.w + Part::at(j), w[j]);
    if constexpr (kBias && kFew) load_constants(rows.b + Part::at(j), b[j]);
  }
  wait_for_dependency();
  RawRow raw;
  int row = blockIdx.x;
  if (row < rows.count) raw.load(rows, row);
  for (int parity = 0; row < rows.count; parity ^= 1) {
    float s[kHeld][kN];
    raw.add(s);
    const int next = row + gridDim.x;
    if (kFew && next < rows.count) raw.load(rows, next);
    if constexpr (kSum) {
#pragma unroll
      for (int j = 0; j < kHeld; ++j)
        if (Part::has(j))
          store_floats(rows.sum + int64_t(row) * rows.sum_stride + Part::at(j), s[j]);
    }
    const auto for_all = [&](const auto& visit) {
#pragma unroll
      for (int j = 0; j < kHeld; ++j)
        if (Part::has(j)) {
#pragma unroll
          for (int k = 0; k < kN; ++k) visit(s[j][k]);
        }
    };
    float mean;
    const float scale = row_scale(for_all, rows.eps, parity, shared, mean);
#pragma unroll
    for (int j = 0; j < kHeld; ++j) {
      if (!Part::has(j)) continue;
      if constexpr (!kHoldW) load_constants(rows.w + Part::at(j), w[j]);
      if constexpr (kBias && !kFew) load_constants(rows.b + Part::at(j), b[j]);
#pragma unroll
      for (int k = 0; k < kN; ++k) {
        s[j][k] = (s[j][k] - mean) * scale * w[j][k];
        if constexpr (kBias) s[j][k] += b[j][k];
      }
      store_floats(rows.y + int64_t(row) * rows.y_stride + Part::at(j), s[j]);
    }
    if (!kFew && next < rows.count) raw.load(rows, next);
    row = next;
  }
}

// Any width and address. Each element is read and written by one thread only, so y and sum may
// alias x and residual here too.
__device__ __forceinline__ void rows_by_element(const Rows& rows, float (&shared)[2][32]) {
  wait_for_dependency();
  int parity = 0;
  for (int row = blockIdx.x; row < rows.count; row += gridDim.x, parity ^= 1) {
    const auto summand = [&](int i) {
      float s = to_float(rows.x[int64_t(row) * rows.x_stride + i]);
      if constexpr (kResidual)
        s += to_float(rows.residual[int64_t(row) * rows.residual_stride + i]);
      return s;
    };
    const auto for_all = [&](const auto& visit) {
      for (int i = threadIdx.x; i < kWidth; i += kThreads) visit(summand(i));
    };
    float mean;
    const float scale = row_scale(for_all, rows.eps, parity, shared, mean);
    for (int i = threadIdx.x; i < kWidth; i += kThreads) {
      const float s = summand(i);
      if constexpr (kSum) rows.sum[int64_t(row) * rows.sum_stride + i] = from_float<Element>(s);
      float y = (s - mean) * scale * rows.w[i];
      if constexpr (kBias) y += rows.b[i];
      rows.y[int64_t(row) * rows.y_stride + i] = from_float<Element>(y);
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, kBlocks)
    norm_rows(const Element* x, const Element* residual, const float* w, const float* b,
              Element* sum, Element* y, int count, int x_stride, int residual_stride,
              int sum_stride, int y_stride, float eps) {
  alignas(16) __shared__ float shared[2][32];
  launch_dependents();
  const Rows rows{x,        residual,        w,          b,        sum, y, count,
                  x_stride, residual_stride, sum_stride, y_stride, eps};
  if constexpr (kVectors > 0)
    rows_in_registers(rows, shared);
  else
    rows_by_element(rows, shared);
}
