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

// How many quads dot_run takes at a time for stored values of 0..kLargest.
#if defined(__AVX512VNNI__) || !defined(__SSSE3__)
template <int kLargest>
inline constexpr int kRunQuads = 1;
#else
template <int kLargest>  // what sums of 16 bits hold, and registers
inline constexpr int kRunQuads = kLargest <= 31   ? 4
                                 : kLargest <= 63 ? 2
                                                  : 1;
#endif

// sum + w[i] . x[4i..4i+3] over kRunQuads<kLargest> quads, per lane, exact. |x| <= 127. With
// kLargest = 255 the stored value 128 means 0: some levels take it off the weights, others
// (kTakesZeroOff false) leave that to the caller, who starts from -128 * sum(x).
#if defined(__AVX512VNNI__)

inline constexpr bool kTakesZeroOff = false;

template <int kLargest>
BRAYTON_INLINE I32 dot_run(I32 sum, const U8* w, const int8_t* x) {
  return (I32)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w[0], (__m512i)splat_quad(x));
}

#elif defined(__SSSE3__)

inline constexpr bool kTakesZeroOff = true;

#if defined(__AVX2__)
using Bytes = __m256i;
BRAYTON_INLINE I16 multiply_add(Bytes u, Bytes s) { return (I16)_mm256_maddubs_epi16(u, s); }
BRAYTON_INLINE I32 widen_add(I16 a) {
  return (I32)_mm256_madd_epi16((Bytes)a, _mm256_set1_epi16(1));
}
BRAYTON_INLINE Bytes magnitude(Bytes a) { return _mm256_abs_epi8(a); }
BRAYTON_INLINE Bytes with_sign(Bytes a, Bytes sign) { return _mm256_sign_epi8(a, sign); }
#else
using Bytes = __m128i;
BRAYTON_INLINE I16 multiply_add(Bytes u, Bytes s) { return (I16)_mm_maddubs_epi16(u, s); }
BRAYTON_INLINE I32 widen_add(I16 a) { return (I32)_mm_madd_epi16((Bytes)a, _mm_set1_epi16(1)); }
BRAYTON_INLINE Bytes magnitude(Bytes a) { return _mm_abs_epi8(a); }
BRAYTON_INLINE Bytes with_sign(Bytes a, Bytes sign) { return _mm_sign_epi8(a, sign); }
#endif

template <int kLargest>
BRAYTON_INLINE I32 dot_run(I32 sum, const U8* w, const int8_t* x) {
  if constexpr (kLargest == 255) {  // |w - 128| <= 128: a pair's sum fits 16 bits, two pairs' not
    const Bytes centred = (Bytes)(w[0] ^ 0x80);
    return sum +
           widen_add(multiply_add(magnitude(centred), with_sign((Bytes)splat_quad(x), centred)));
  } else {
    static_assert(kRunQuads<kLargest> * 2 * 127 * kLargest <= 32767);
    I16 run = multiply_add((Bytes)w[0], (Bytes)splat_quad(x));
    for (int i = 1; i < kRunQuads<kLargest>; ++i)
      run += multiply_add((Bytes)w[i], (Bytes)splat_quad(x + 4 * i));
    return sum + widen_add(run);
  }
}

#else

inline constexpr bool kTakesZeroOff = false;

template <int kLargest>
BRAYTON_INLINE I32 dot_run(I32 sum, const U8* w, const int8_t* x) {
  // Bytes 0, 2 and 1, 3 as 16-bit lanes; products fit them: 255 * 127 < 2^15.
  const I16 x02 = (I16)splat_i32((x[0] & 0xffff) | x[2] * 65536);
  const I16 x13 = (I16)splat_i32((x[1] & 0xffff) | x[3] * 65536);
  const I32 p02 = (I32)((I16)((U32)w[0] & 0x00ff00ffu) * x02);
  const I32 p13 = (I32)((I16)((U32)w[0] >> 8 & 0x00ff00ffu) * x13);
  sum += (p02 >> 16) + ((I32)((U32)p02 << 16) >> 16);
  return sum + (p13 >> 16) + ((I32)((U32)p13 << 16) >> 16);
}

#endif

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
