// Vectors of the level that a kernel is compiled for: compiler vector types, whose +, -, *, / and
// comparisons work lane by lane, and the few operations that need an instruction by name. To be
// included by kernels/*.cc only: everything is in the namespace of the level.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define BRAYTON_INLINE inline __attribute__((always_inline))
// Before a loop of few rounds, known when compiled, whose arrays are to be registers.
#if defined(__clang__)
#define BRAYTON_UNROLL _Pragma("unroll")
#else
#define BRAYTON_UNROLL _Pragma("GCC unroll 16")
#endif

namespace brayton::cpu::BRAYTON_CPU_LEVEL {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif
inline constexpr int kLanes = kVectorBytes / 4;  // of 32 bits

typedef float F32 __attribute__((vector_size(kVectorBytes)));
typedef int32_t I32 __attribute__((vector_size(kVectorBytes)));
typedef uint32_t U32 __attribute__((vector_size(kVectorBytes)));
typedef int16_t I16 __attribute__((vector_size(kVectorBytes)));
typedef int8_t I8 __attribute__((vector_size(kVectorBytes)));
typedef uint8_t U8 __attribute__((vector_size(kVectorBytes)));
typedef uint16_t U16Half __attribute__((vector_size(kVectorBytes / 2)));  // kLanes of 16 bits

BRAYTON_INLINE F32 load(const float* p) {
  F32 v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}
BRAYTON_INLINE void store(float* p, F32 v) { __builtin_memcpy(p, &v, sizeof(v)); }
BRAYTON_INLINE F32 splat(float x) { return x - F32{}; }
BRAYTON_INLINE I32 splat_i32(int32_t x) { return x - I32{}; }

// The first n lanes, 0 <= n <= kLanes; the others are zero, and their memory is not touched.
BRAYTON_INLINE F32 load_first(const float* p, int64_t n) {
#if defined(__AVX512F__)
  return (F32)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#else
  F32 v{};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}
BRAYTON_INLINE void store_first(float* p, F32 v, int64_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
#else
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
#endif
}

BRAYTON_INLINE F32 as_f32(I32 v) { return (F32)v; }
BRAYTON_INLINE I32 as_i32(F32 v) { return (I32)v; }
BRAYTON_INLINE F32 to_float(I32 v) { return __builtin_convertvector(v, F32); }
// a where the mask's lane is -1 (a comparison's true), b where it is 0.
BRAYTON_INLINE F32 select(I32 mask, F32 a, F32 b) {
  return (F32)((mask & (I32)a) | (~mask & (I32)b));
}

// a * b + c, fused where the level has it: always rounded in the same way within a level.
BRAYTON_INLINE F32 fma(F32 a, F32 b, F32 c) {
#if defined(__AVX512F__)
  return (F32)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (F32)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

// Of two lanes; b where a lane of a is NaN.
BRAYTON_INLINE F32 max(F32 a, F32 b) {
#if defined(__AVX512F__)
  return (F32)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (F32)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
  return (F32)_mm_max_ps((__m128)a, (__m128)b);
#else
  return select(a > b, a, b);
#endif
}
BRAYTON_INLINE F32 min(F32 a, F32 b) {
#if defined(__AVX512F__)
  return (F32)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (F32)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
  return (F32)_mm_min_ps((__m128)a, (__m128)b);
#else
  return select(a < b, a, b);
#endif
}
BRAYTON_INLINE F32 abs(F32 a) { return (F32)((I32)a & 0x7fffffff); }

// Nearest integer, ties to even; |a| < 2^22. By name where there is one: a sum could be contracted
// with a product in `a`.
BRAYTON_INLINE I32 round_to_int(F32 a) {
#if defined(__AVX512F__)
  return (I32)_mm512_cvtps_epi32((__m512)a);
#elif defined(__AVX2__)
  return (I32)_mm256_cvtps_epi32((__m256)a);
#elif defined(__SSE2__)
  return (I32)_mm_cvtps_epi32((__m128)a);
#else
  const float magic = 12582912.0f;  // 1.5 * 2^23: the sum's last bit is worth one
  return (I32)(a + magic) - (I32)splat(magic);
#endif
}

// Horizontal results; the order of the additions depends on the level only.
BRAYTON_INLINE float sum(F32 v) {
  float lanes[kLanes];
  store(lanes, v);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}
BRAYTON_INLINE float max_lane(F32 v) {
  float best = v[0];
  for (int i = 1; i < kLanes; ++i) best = v[i] > best ? v[i] : best;
  return best;
}

BRAYTON_INLINE int32_t sum_i32(I32 v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_epi32((__m512i)v);
#else
  int32_t total = 0;
  for (int i = 0; i < kLanes; ++i) total += v[i];
  return total;
#endif
}
BRAYTON_INLINE int32_t max_i32(I32 v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_epi32((__m512i)v);
#else
  int32_t best = v[0];
  for (int i = 1; i < kLanes; ++i) best = v[i] > best ? v[i] : best;
  return best;
#endif
}

// kLanes bytes, widened.
BRAYTON_INLINE I32 load_i8(const void* p) {
#if defined(__AVX512F__)
  return (I32)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p));
#elif defined(__AVX2__)
  return (I32)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p));
#elif defined(__SSE4_1__)
  return (I32)_mm_cvtepi8_epi32(_mm_loadu_si32(p));
#else
  I32 v;
  for (int i = 0; i < kLanes; ++i) v[i] = static_cast<const int8_t*>(p)[i];
  return v;
#endif
}
BRAYTON_INLINE I32 load_u8(const void* p) { return load_i8(p) & 0xff; }
// The low byte of each lane, which must be in [-128, 127].
BRAYTON_INLINE void store_i8(int8_t* p, I32 v) {
#if defined(__AVX512F__)
  _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8((__m512i)v));
#elif defined(__AVX2__)
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
  _mm_storel_epi64((__m128i*)p, _mm_packs_epi16(words, words));
#elif defined(__SSE2__)
  const __m128i words = _mm_packs_epi32((__m128i)v, (__m128i)v);
  const int32_t bytes = _mm_cvtsi128_si32(_mm_packs_epi16(words, words));
  __builtin_memcpy(p, &bytes, 4);
#else
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int8_t>(v[i]);
#endif
}

// kLanes halves of 16 bits, widened and narrowed (to nearest even).
BRAYTON_INLINE F32 load_bf16(const uint16_t* p) {
  U16Half h;
  __builtin_memcpy(&h, p, sizeof(h));
  return (F32)(__builtin_convertvector(h, U32) << 16);
}
BRAYTON_INLINE void store_bf16(uint16_t* p, F32 v) {
  const U32 bits = (U32)v;
  const U32 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const U32 quiet = (bits >> 16) | 0x40u;
  const U32 nan = (U32)((bits & 0x7fffffffu) > 0x7f800000u);
  const U16Half h = __builtin_convertvector((nan & quiet) | (~nan & rounded), U16Half);
  __builtin_memcpy(p, &h, sizeof(h));
}
BRAYTON_INLINE F32 load_f16(const uint16_t* p) {
#if defined(__AVX512F__)
  return (F32)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
#elif defined(__F16C__)
  return (F32)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
#else
  U16Half h;
  __builtin_memcpy(&h, p, sizeof(h));
  const U32 bits = __builtin_convertvector(h, U32);
  const U32 rest = bits & 0x7fffu;
  // Times 2^112: from half's exponent bias to single's, subnormals included.
  const U32 finite = (U32)((F32)(rest << 13) * 0x1p112f);
  const U32 special = (U32)(rest >= 0x7c00u);
  const U32 magnitude = (special & (0x7f800000u | (rest & 0x3ffu) << 13)) | (~special & finite);
  return (F32)(magnitude | (bits & 0x8000u) << 16);
#endif
}
BRAYTON_INLINE void store_f16(uint16_t* p, F32 v) {
#if defined(__AVX512F__)
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
#else
  const U32 bits = (U32)v;
  const U32 rest = bits & 0x7fffffffu;
  const U32 normal = (rest + 0xc8000fffu + ((rest >> 13) & 1u)) >> 13;
  const F32 half_unit = (F32)(U32{} + (126u << 23));  // adding it rounds at 2^-24
  const U32 subnormal = (U32)((F32)rest + half_unit) - (126u << 23);
  const U32 is_small = (U32)(rest < 0x38800000u);
  const U32 is_large = (U32)(rest >= 0x477ff000u);
  const U32 is_nan = (U32)(rest > 0x7f800000u);
  U32 half = (is_small & subnormal) | (~is_small & normal);
  half = (is_large & 0x7c00u) | (~is_large & half);
  half = (is_nan & 0x7e00u) | (~is_nan & half);
  const U16Half h = __builtin_convertvector(half | ((bits >> 16) & 0x8000u), U16Half);
  __builtin_memcpy(p, &h, sizeof(h));
#endif
}

// e^x: within 2 units in the last place; 0 below -87.3, infinity above 88.7.
BRAYTON_INLINE F32 exp(F32 x) {
  const F32 clamped = min(max(x, splat(-104.0f)), splat(89.0f));
  const I32 n = round_to_int(clamped * 1.44269504f);
  const F32 nf = to_float(n);
  F32 r = fma(nf, splat(-0.693359375f), clamped);
  r = fma(nf, splat(2.12194440e-4f), r);
  // Minimax polynomial of (e^r - 1 - r) / r^2 on [-ln2/2, ln2/2] (Cephes expf).
  F32 p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, r * r, r) + 1.0f;
  // 2^n in two factors: n = 128 is beyond one exponent.
  const I32 half = n >> 1;
  const F32 result = p * (F32)((half + 127) << 23) * (F32)((n - half + 127) << 23);
  const F32 low = select(clamped < -87.3365f, F32{}, result);
  return select(x != x, x, low);
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
