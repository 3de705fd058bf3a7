// One block of keys against some rows (a row: one head of one token): scores, softmax, mix.
// What is computed for a row, and in which order, does not depend on the rows beside it.
#pragma once

#include "backends/cpu/kernels/simd.h"

namespace brayton::cpu::BRAYTON_CPU_LEVEL {

inline constexpr int64_t kBlockKeys = 64;  // blocks begin at multiples of it, from position 0

// Rows that share one pass over the keys: as many as the registers hold accumulators for.
inline constexpr int kTileRows = kLanes == 16 ? 4 : 2;

// The sums of sixteen (eight, four) vectors, four for each quarter (half, whole) of the result:
// lane 4r + k is the sum of v[r][k]. Each sum is of the same tree as sum(): lanes l and l + width
// for falling width.
BRAYTON_INLINE F32 sums(const F32 v[kLanes / 4][4]) {
#if defined(__AVX512F__)
  __m512 folded[4];
  for (int k = 0; k < 4; ++k) {
    const __m512 a = (__m512)v[0][k], b = (__m512)v[1][k];
    const __m512 c = (__m512)v[2][k], d = (__m512)v[3][k];
    const __m512 ab = _mm512_shuffle_f32x4(a, b, 0x44) + _mm512_shuffle_f32x4(a, b, 0xee);
    const __m512 cd = _mm512_shuffle_f32x4(c, d, 0x44) + _mm512_shuffle_f32x4(c, d, 0xee);
    folded[k] = _mm512_shuffle_f32x4(ab, cd, 0x88) + _mm512_shuffle_f32x4(ab, cd, 0xdd);
  }
  const __m512 x =
      _mm512_unpacklo_ps(folded[0], folded[1]) + _mm512_unpackhi_ps(folded[0], folded[1]);
  const __m512 y =
      _mm512_unpacklo_ps(folded[2], folded[3]) + _mm512_unpackhi_ps(folded[2], folded[3]);
  return (F32)(_mm512_shuffle_ps(x, y, 0x44) + _mm512_shuffle_ps(x, y, 0xee));
#elif defined(__AVX2__)
  __m256 folded[4];
  for (int k = 0; k < 4; ++k) {
    const __m256 a = (__m256)v[0][k], b = (__m256)v[1][k];
    folded[k] = _mm256_permute2f128_ps(a, b, 0x20) + _mm256_permute2f128_ps(a, b, 0x31);
  }
  const __m256 x =
      _mm256_unpacklo_ps(folded[0], folded[1]) + _mm256_unpackhi_ps(folded[0], folded[1]);
  const __m256 y =
      _mm256_unpacklo_ps(folded[2], folded[3]) + _mm256_unpackhi_ps(folded[2], folded[3]);
  return (F32)(_mm256_shuffle_ps(x, y, 0x44) + _mm256_shuffle_ps(x, y, 0xee));
#elif defined(__SSE2__)
  const __m128 a = (__m128)v[0][0], b = (__m128)v[0][1];
  const __m128 c = (__m128)v[0][2], d = (__m128)v[0][3];
  const __m128 x = _mm_unpacklo_ps(a, b) + _mm_unpackhi_ps(a, b);
  const __m128 y = _mm_unpacklo_ps(c, d) + _mm_unpackhi_ps(c, d);
  return (F32)(_mm_shuffle_ps(x, y, 0x44) + _mm_shuffle_ps(x, y, 0xee));
#else
  F32 result{};
  for (int i = 0; i < kLanes; ++i) result[i] = sum(v[i / 4][i % 4]);
  return result;
#endif
}

// Brings a vector of `bytes` into the second-level cache, for the phase after this one: the first
// level has too few places for lines under way.
BRAYTON_INLINE void prefetch(const void* vector, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64)
    __builtin_prefetch(static_cast<const char*>(vector) + i, 0, 2);
}

// scores[r][j] = q[r] . keys[j] for j in [begin, end) and up to the next multiple of the tile.
// `keys` has kBlockKeys readable vectors of `vectors` * kLanes elements; so has `ahead`, which is
// needed soon, or is null.
template <int kRows, class Cache>
BRAYTON_INLINE void score_keys(const float* q, int64_t q_stride,
                               const typename Cache::Element* const* keys,
                               const typename Cache::Element* const* ahead, int64_t begin,
                               int64_t end, int64_t vectors, float* scores) {
  const int64_t bytes = vectors * kLanes * int64_t{sizeof(typename Cache::Element)};
  constexpr int kKeys = kRows == 3 ? 4 : 4 * kTileRows / kRows;
  constexpr int kQuads = kRows * kKeys / 4;  // four keys of a row
  constexpr int kAtOnce = kLanes / 4;        // quads that sums() takes
  for (int64_t j = begin / kKeys * kKeys; j < end; j += kKeys) {
    if (ahead != nullptr)
      for (int k = 0; k < kKeys; ++k) prefetch(ahead[j + k], bytes);
    F32 dots[(kQuads + kAtOnce - 1) / kAtOnce * kAtOnce][4] = {};
    for (int64_t i = 0; i < vectors; ++i) {
      F32 row[kRows];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) row[r] = load(q + r * q_stride + i * kLanes);
#pragma GCC unroll 16
      for (int k = 0; k < kKeys; ++k) {
        const F32 key = Cache::read(keys[j + k] + i * kLanes);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          F32& dot = dots[r * (kKeys / 4) + k / 4][k % 4];
          dot = fma(row[r], key, dot);
        }
      }
    }
#pragma GCC unroll 4
    for (int quad = 0; quad < kQuads; quad += kAtOnce) {
      float results[kLanes];
      store(results, sums(dots + quad));
#pragma GCC unroll 4
      for (int n = 0; n < kAtOnce; ++n) {
        if (quad + n >= kQuads) continue;
        const int r = (quad + n) / (kKeys / 4);
        const int k = (quad + n) % (kKeys / 4) * 4;
        __builtin_memcpy(scores + r * kBlockKeys + j + k, results + 4 * n, 4 * sizeof(float));
      }
    }
  }
}

// From dot products to scores.
struct ScoreRule {
  float scale;
  float slope;    // 0: none
  float softcap;  // 0: none
};

// Running softmax of a row: acc / total is the result, exp(score - largest) a key's weight.
struct RunningRow {
  float largest = -__builtin_inff();
  float total = 0.0f;
};

BRAYTON_INLINE float exp_of(float x) { return exp(splat(x))[0]; }

BRAYTON_INLINE float largest_lane(F32 v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)v);
#else
  return max_lane(v);
#endif
}

BRAYTON_INLINE float multiply_add(float a, float b, float c) {
#if defined(__FMA__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

// Turns the dot products of keys [begin, end) into weights and adds them to `row`. Key 0 of the
// block is `distance` positions after the query (so mostly before: negative). Returns the factor
// that what was accumulated before must be multiplied by.
__attribute__((noinline)) static float weigh_keys(float* scores, int64_t begin, int64_t end,
                                                  int64_t distance, const ScoreRule& rule,
                                                  RunningRow& row) {
  I32 lane{};
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  const int64_t first = begin / kLanes * kLanes;
  F32 best = splat(-__builtin_inff());
  for (int64_t j = first; j < end; j += kLanes) {
    F32 score = load(scores + j) * rule.scale;
    if (rule.slope != 0.0f)
      score = fma(splat(rule.slope), to_float(lane + static_cast<int32_t>(distance + j)), score);
    if (rule.softcap != 0.0f) {  // tanh(x) = 1 - 2 / (e^2x + 1)
      const F32 grown = exp(score * (2.0f / rule.softcap)) + 1.0f;
      score = fma(2.0f / grown, splat(-rule.softcap), splat(rule.softcap));
    }
    if (j < begin || j + kLanes > end) {
      const I32 seen =
          (lane >= static_cast<int32_t>(begin - j)) & (lane < static_cast<int32_t>(end - j));
      score = select(seen, score, splat(-__builtin_inff()));
    }
    store(scores + j, score);
    best = max(score, best);
  }
  const float block_largest = largest_lane(best);
  const float before = row.largest;
  if (block_largest > before) row.largest = block_largest;
  F32 total{};
  for (int64_t j = first; j < end; j += kLanes) {
    const F32 weight = exp(load(scores + j) - row.largest);
    store(scores + j, weight);
    total += weight;
  }
  const float factor = row.largest == before ? 1.0f : exp_of(before - row.largest);
  row.total = multiply_add(row.total, factor, sum(total));
  return factor;
}

// acc[r] += sum over j in [begin, end) of weights[r][j] * values[j], for kVectors vectors.
template <int kRows, int kVectors, class Cache>
BRAYTON_INLINE void mix_vectors(const float* weights, const typename Cache::Element* const* values,
                                const typename Cache::Element* const* ahead, int64_t ahead_bytes,
                                int64_t offset, int64_t begin, int64_t end, float* acc,
                                int64_t acc_stride) {
  F32 sum[kRows][kVectors];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) sum[r][n] = load(acc + r * acc_stride + n * kLanes);
  for (int64_t j = begin; j < end; ++j) {
    if (ahead != nullptr) prefetch(ahead[j], ahead_bytes);
    F32 value[kVectors];
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) value[n] = Cache::read(values[j] + offset + n * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const F32 weight = splat(weights[r * kBlockKeys + j]);
#pragma GCC unroll 4
      for (int n = 0; n < kVectors; ++n) sum[r][n] = fma(weight, value[n], sum[r][n]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) store(acc + r * acc_stride + n * kLanes, sum[r][n]);
}

template <int kRows, class Cache>
BRAYTON_INLINE void mix_values(const float* weights, const typename Cache::Element* const* values,
                               const typename Cache::Element* const* ahead, int64_t begin,
                               int64_t end, int64_t vectors, float* acc, int64_t acc_stride) {
  if (begin >= end) return;
  const int64_t bytes = vectors * kLanes * int64_t{sizeof(typename Cache::Element)};
  int64_t i = 0;
  for (; i + 4 <= vectors; i += 4)
    mix_vectors<kRows, 4, Cache>(weights, values, i == 0 ? ahead : nullptr, bytes, i * kLanes,
                                 begin, end, acc + i * kLanes, acc_stride);
  for (; i < vectors; ++i)
    mix_vectors<kRows, 1, Cache>(weights, values, i == 0 ? ahead : nullptr, bytes, i * kLanes,
                                 begin, end, acc + i * kLanes, acc_stride);
}

// Joins a part of the keys to what the parts before it gave. Parts are joined in the order of
// their positions, wherever they were computed.
__attribute__((noinline)) static void join_part(const RunningRow& part, const float* part_acc,
                                                RunningRow& row, float* acc, int64_t vectors) {
  if (part.total == 0.0f) return;  // it had no visible key
  const float largest = part.largest > row.largest ? part.largest : row.largest;
  const float keep = row.total == 0.0f ? 0.0f : exp_of(row.largest - largest);
  const float take = exp_of(part.largest - largest);
  for (int64_t i = 0; i < vectors; ++i) {
    const F32 taken = load(part_acc + i * kLanes) * take;
    F32 joined = taken;
    if (row.total != 0.0f) joined = fma(load(acc + i * kLanes), splat(keep), taken);
    store(acc + i * kLanes, joined);
  }
  row.total = multiply_add(row.total, keep, part.total * take);
  row.largest = largest;
}

}  // namespace brayton::cpu::BRAYTON_CPU_LEVEL
