// dequantize: block formats of GGUF -> floats, as ops/quant_blocks.cc has it, bit for bit: products
// and sums round to float32 one after the other, never fused. A thread computes 8 neighbouring
// elements of a block. Used while weights are loaded; bound by the writes.
//
//   FORMAT   see below: DType's numbers
//   ELEMENT  float, f16 or bf16
//   THREADS  of a block
#include "device/dependency.cuh"
#include "device/elements.cuh"

constexpr int kFormat = FORMAT;
using Element = ELEMENT;
constexpr int kThreads = THREADS;

constexpr int kQ4_0 = 32, kQ4_1 = 33, kQ5_0 = 34, kQ5_1 = 35, kQ8_0 = 36;
constexpr int kQ2_K = 37, kQ3_K = 38, kQ4_K = 39, kQ5_K = 40, kQ6_K = 41;
static_assert(kFormat >= kQ4_0 && kFormat <= kQ6_K);

constexpr int kBlockElements = kFormat >= kQ2_K ? 256 : 32;
constexpr int kSizes[] = {18, 20, 22, 24, 34, 84, 110, 144, 176, 210};
constexpr int kBlockBytes = kSizes[kFormat - kQ4_0];
constexpr int kCount = 8;  // elements of a thread; divides the groups of all formats

__device__ __forceinline__ float half_at(const uint8_t* p) {
  return to_float(f16{*reinterpret_cast<const uint16_t*>(p)});  // blocks have even sizes
}

// y[i] = scale * q[i], and `+ offset` where there is one.
__device__ __forceinline__ void multiply(float scale, const int (&q)[kCount], float (&y)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) y[i] = __fmul_rn(scale, float(q[i]));
}
__device__ __forceinline__ void multiply_add(float scale, const int (&q)[kCount], float offset,
                                             float (&y)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) y[i] = __fadd_rn(__fmul_rn(scale, float(q[i])), offset);
}

// Scale or min number g of Q4_K and Q5_K, 6 bits.
__device__ __forceinline__ int scale_of(const uint8_t* packed, int g, bool min) {
  const int low = packed[g % 4 + (min ? 4 : 0)];
  if (g < 4) return low & 63;
  const int both = packed[4 + g];
  return (min ? both >> 4 : both & 15) | (low >> 6 << 4);
}

// Elements at to at + 7 of a block.
__device__ __forceinline__ void decode(const uint8_t* block, int at, float (&y)[kCount]) {
  int q[kCount];
  if constexpr (kFormat < kQ8_0) {  // the low nibbles of 16 bytes, then the high ones
    constexpr bool kOffset = kFormat == kQ4_1 || kFormat == kQ5_1;
    constexpr bool kFive = kFormat == kQ5_0 || kFormat == kQ5_1;
    const uint8_t* high = block + (kOffset ? 4 : 2);
    const uint8_t* bytes = high + (kFive ? 4 : 0) + at % 16;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      q[i] = bytes[i] >> (at / 16 * 4) & 15;
      if constexpr (kFive) q[i] |= (high[at / 8] >> i & 1) << 4;
      if constexpr (!kOffset) q[i] -= kFive ? 16 : 8;
    }
    if constexpr (kOffset)
      multiply_add(half_at(block), q, half_at(block + 2), y);
    else
      multiply(half_at(block), q, y);
  } else if constexpr (kFormat == kQ8_0) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) q[i] = static_cast<signed char>(block[2 + at + i]);
    multiply(half_at(block), q, y);
  } else if constexpr (kFormat == kQ2_K || kFormat == kQ3_K) {  // groups of 16
    const int g = at / 16;
    const int in_bytes = g / 8 * 32 + g % 2 * 16 + at % 16, shift = g % 8 / 2 * 2;
    const uint8_t* bytes = block + (kFormat == kQ2_K ? 16 : 32) + in_bytes;
#pragma unroll
    for (int i = 0; i < kCount; ++i) q[i] = bytes[i] >> shift & 3;
    if constexpr (kFormat == kQ2_K) {
      const float scale = __fmul_rn(half_at(block + 80), float(block[g] & 15));
      const float min = __fmul_rn(half_at(block + 82), float(block[g] >> 4));
      multiply_add(scale, q, -min, y);
    } else {
      const uint8_t* high = block + g % 2 * 16 + at % 16;
      const uint8_t* scales = block + 96;
#pragma unroll
      for (int i = 0; i < kCount; ++i) q[i] = (q[i] | (high[i] >> (g / 2) & 1) << 2) - 4;
      const int low = scales[g % 8] >> (g / 8 * 4) & 15;
      const int rest = scales[8 + g % 4] >> (g / 4 * 2) & 3;
      multiply(__fmul_rn(half_at(block + 108), float((low | rest << 4) - 32)), q, y);
    }
  } else if constexpr (kFormat == kQ4_K || kFormat == kQ5_K) {  // groups of 32
    const int g = at / 32;
    const uint8_t* bytes = block + (kFormat == kQ4_K ? 16 : 48) + g / 2 * 32 + at % 32;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      q[i] = bytes[i] >> (g % 2 * 4) & 15;
      if constexpr (kFormat == kQ5_K) q[i] |= (block[16 + at % 32 + i] >> g & 1) << 4;
    }
    const float scale = __fmul_rn(half_at(block), float(scale_of(block + 4, g, false)));
    const float min = __fmul_rn(half_at(block + 2), float(scale_of(block + 4, g, true)));
    multiply_add(scale, q, -min, y);
  } else {  // Q6_K, groups of 16
    const int g = at / 16;
    const int half = g / 8, run = g % 8 / 2, first = g % 2 * 16 + at % 16;
    const uint8_t* low = block + half * 64 + run % 2 * 32 + first;
    const uint8_t* high = block + 128 + half * 32 + first;
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      q[i] = (low[i] >> (run / 2 * 4) & 15 | (high[i] >> (run * 2) & 3) << 4) - 32;
    const int scale = static_cast<signed char>(block[192 + g]);
    multiply(__fmul_rn(half_at(block + 208), float(scale)), q, y);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    dequantize(const uint8_t* blocks, int64_t elements, Element* out) {
  launch_dependents();
  wait_for_dependency();
  const int64_t step = int64_t(gridDim.x) * kThreads * kCount;
  for (int64_t at = (int64_t(blockIdx.x) * kThreads + threadIdx.x) * kCount; at < elements;
       at += step) {
    float y[kCount];
    decode(blocks + at / kBlockElements * kBlockBytes, int(at % kBlockElements), y);
    store_floats(out + at, y);
  }
}
