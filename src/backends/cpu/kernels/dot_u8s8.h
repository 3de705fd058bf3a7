// Dot products of stored weights (unsigned bytes, one lane a row) with 8-bit activations.
#pragma once

#include "backends/cpu/kernels/simd.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {

BRAYTON_INLINE U8 load_bytes(const uint8_t* p) {
  U8 v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

// Four activations in every lane.
BRAYTON_INLINE I32 splat_quad(const int8_t* x) {
  int32_t word;
  __builtin_memcpy(&word, x, 4);
  return splat_i32(word);
}

// start + sum over kQuads of w[q] . x[4q..4q+3] per lane, exact. Stored values are 0..kLargest, and
// |x| <= 127. With kLargest = 255 the stored value 128 means 0, `start` being -128 * sum(x): some
// levels take the 128 off the weights instead.
template <int kLargest, int kQuads>
BRAYTON_INLINE I32 dot_quads(const U8* w, const int8_t* x, I32 start) {
#if defined(__AVX512VNNI__)
  __m512i sum = (__m512i)start;
  for (int q = 0; q < kQuads; ++q)
    sum = _mm512_dpbusd_epi32(sum, (__m512i)w[q], (__m512i)splat_quad(x + 4 * q));
  return (I32)sum;
#elif defined(__SSSE3__)
#if defined(__AVX2__)
  using Bytes = __m256i;
  const auto multiply_add = [](Bytes a, Bytes b) { return _mm256_maddubs_epi16(a, b); };
  const auto widen_add = [](Bytes a) { return (I32)_mm256_madd_epi16(a, _mm256_set1_epi16(1)); };
  const auto magnitude = [](Bytes a) { return _mm256_abs_epi8(a); };
  const auto with_sign = [](Bytes a, Bytes sign) { return _mm256_sign_epi8(a, sign); };
#else
  using Bytes = __m128i;
  const auto multiply_add = [](Bytes a, Bytes b) { return _mm_maddubs_epi16(a, b); };
  const auto widen_add = [](Bytes a) { return (I32)_mm_madd_epi16(a, _mm_set1_epi16(1)); };
  const auto magnitude = [](Bytes a) { return _mm_abs_epi8(a); };
  const auto with_sign = [](Bytes a, Bytes sign) { return _mm_sign_epi8(a, sign); };
#endif
  if constexpr (kLargest == 255) {  // |w - 128| <= 128: a pair's sum fits 16 bits, two pairs' not
    I32 sum{};
    for (int q = 0; q < kQuads; ++q) {
      const auto centred = (Bytes)(w[q] ^ 0x80);
      const auto signed_x = with_sign((Bytes)splat_quad(x + 4 * q), centred);
      sum += widen_add(multiply_add(magnitude(centred), signed_x));
    }
    return sum;
  } else {
    constexpr int kFit = 32767 / (2 * 127 * kLargest);  // sums that 16 bits hold
    constexpr int kRun = kFit < kQuads ? kFit : kQuads;
    static_assert(kRun >= 1 && kQuads % kRun == 0);
    I32 sum = start;
    for (int q = 0; q < kQuads; q += kRun) {
      I16 run = (I16)multiply_add((Bytes)w[q], (Bytes)splat_quad(x + 4 * q));
      for (int i = 1; i < kRun; ++i)
        run += (I16)multiply_add((Bytes)w[q + i], (Bytes)splat_quad(x + 4 * (q + i)));
      sum += widen_add((Bytes)run);
    }
    return sum;
  }
#else
  I32 sum = start;
  for (int q = 0; q < kQuads; ++q) {  // products fit 16 bits: 255 * 127 < 2^15
    const I16 x02 = (I16)splat_i32((x[4 * q] & 0xffff) | x[4 * q + 2] * 65536);
    const I16 x13 = (I16)splat_i32((x[4 * q + 1] & 0xffff) | x[4 * q + 3] * 65536);
    const I32 p02 = (I32)((I16)(w[q] & (U8)splat_i32(0x00ff00ff)) * x02);
    const I32 p13 = (I32)((I16)((U32)w[q] >> 8 & 0x00ff00ffu) * x13);
    sum += (p02 >> 16) + ((I32)((U32)p02 << 16) >> 16);
    sum += (p13 >> 16) + ((I32)((U32)p13 << 16) >> 16);
  }
  return sum;
#endif
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
