#include "backends/cpu/kernels/quantize_rows.h"

#include "backends/cpu/kernels/simd.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {
namespace {

constexpr int kVectors = kBlock / kLanes;

BRAYTON_INLINE I32 max_lanes(I32 a, I32 b) {
  const I32 greater = a > b;
  return (greater & a) | (~greater & b);
}

// Compared as bits, so that NaN is the largest and makes the whole block NaN.
BRAYTON_INLINE float largest_magnitude(const F32* x) {
  I32 largest{};
  for (int v = 0; v < kVectors; ++v) largest = max_lanes(largest, as_i32(abs(x[v])));
  const int32_t bits = max_i32(largest);
  float result;
  __builtin_memcpy(&result, &bits, 4);
  return result;
}

constexpr float kLargest = 127 << kPlaneBits;

// One block: 32 floats to the planes of q and d; the sums of q's halves.
BRAYTON_INLINE void quantize_block(const float* x, int8_t* high, int8_t* low, float* d,
                                   int32_t halves[2]) {
  F32 values[kVectors];
  for (int v = 0; v < kVectors; ++v) values[v] = load(x + v * kLanes);
  const float largest = largest_magnitude(values);
  const float scale = largest / kLargest;
  const float inverse = largest > 0x1p-110f ? kLargest / largest : 0.0f;
  I32 sums[2] = {};
  for (int v = 0; v < kVectors; ++v) {
    const I32 rounded = round_to_int(values[v] * inverse);
    const I32 upper = (rounded + (1 << (kPlaneBits - 1))) >> kPlaneBits;
    store_i8(high + v * kLanes, upper);
    store_i8(low + v * kLanes, rounded - (upper << kPlaneBits));
    sums[v / (kVectors / 2)] += rounded;
  }
  for (int half = 0; half < 2; ++half) halves[half] = sum_i32(sums[half]);
  *d = scale;
}

}  // namespace

void quantize_tile(const LinearLayout& layout, const LinearWork& work, int64_t token, int tile,
                   uint8_t* to) {
  const int64_t stride = quantized_block_bytes(layout) * tile;
  for (int t = 0; t < tile; ++t) {
    const float* x = work.x + (token + t) * work.x_stride;
    for (int64_t block = 0; block < work.k / kBlock; ++block) {
      uint8_t* out = to + block * stride;
      float d;
      int32_t halves[2];
      auto* high = reinterpret_cast<int8_t*>(out) + t * kBlock;
      quantize_block(x + block * kBlock, high, high + tile * kBlock, &d, halves);
      uint8_t* ds = out + kPlanes * tile * kBlock;
      __builtin_memcpy(ds + t * 4, &d, 4);
      uint8_t* aux = ds + tile * 4 + t * layout.subs * 4;
      for (int sub = 0; sub < layout.subs; ++sub) {
        const int32_t sum = layout.subs == 2 ? halves[sub] : halves[0] + halves[1];
        const float weighted = d * static_cast<float>(sum);
        const int32_t start = -layout.zero * sum;
        if (layout.has_min()) {
          __builtin_memcpy(aux + sub * 4, &weighted, 4);
        } else {
          __builtin_memcpy(aux + sub * 4, &start, 4);
        }
      }
    }
  }
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
