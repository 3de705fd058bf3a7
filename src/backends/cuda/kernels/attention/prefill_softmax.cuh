// What the prefill kernels do with score fragments. A fragment is float [4] of a 16 x 8 piece: lane
// l has in [0], [1] row l / 4, columns 2 (l % 4) and + 1, in [2], [3] row l / 4 + 8. So a thread
// has two rows, r = 0 and 1, each shared by four neighbouring lanes.
//
// Scores are counted in powers of 2: exp(score) = 2^(score * log2(e)), and log2(e) is folded into
// the scale.
#pragma once

#include "kernels/attention/prefill_instructions.cuh"

constexpr float kLog2E = 1.4426950408889634f;
__device__ __forceinline__ float minus_infinity() { return __uint_as_float(0xff800000u); }

// From products of q and k to scores. With neither ALiBi nor softcap only `multiplier` is needed,
// and softmax_step applies it for nothing.
template <bool kAlibi, bool kSoftcap>
struct ScoreRule {
  static constexpr bool kPlain = !kAlibi && !kSoftcap;
  float multiplier;  // of q . k
  float unit;        // of a slope
  float cap;

  __device__ __forceinline__ ScoreRule(float scale, float softcap) {
    // softcap * tanh(x / softcap) = softcap - 2 softcap / (2^(x * 2 log2(e) / softcap) + 1)
    unit = kSoftcap ? 2.0f * kLog2E / softcap : kLog2E;
    multiplier = scale * unit;
    cap = softcap * kLog2E;
  }

  // distance[r]: the row's own key, counted from the thread's first column.
  template <int kFragments>
  __device__ __forceinline__ void apply(float (&s)[kFragments][4], const int (&distance)[2],
                                        const float (&slope)[2]) const {
    if constexpr (!kPlain) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float own = kAlibi ? -slope[r] * static_cast<float>(distance[r]) : 0.0f;
#pragma unroll
        for (int j = 0; j < kFragments; ++j)
#pragma unroll
          for (int e = 2 * r; e < 2 * r + 2; ++e) {
            const float column = 8 * j + e % 2;
            s[j][e] = kAlibi ? fmaf(s[j][e], multiplier, fmaf(slope[r], column, own))
                             : s[j][e] * multiplier;
            if constexpr (kSoftcap)
              s[j][e] = fmaf(-2.0f * cap, reciprocal_fast(exp2_fast(s[j][e]) + 1.0f), cap);
          }
      }
    }
  }
  // What is left for softmax_step to multiply with.
  __device__ __forceinline__ float rest() const { return kPlain ? multiplier : 1.0f; }
};

// Hides the keys behind the row's own and those that left its window.
template <bool kWindow, int kFragments>
__device__ __forceinline__ void mask_scores(float (&s)[kFragments][4], const int (&distance)[2],
                                            int window) {
#pragma unroll
  for (int j = 0; j < kFragments; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int column = 8 * j + e % 2;
      const int own = distance[e / 2];
      if (column > own || (kWindow && column <= own - window)) s[j][e] = minus_infinity();
    }
}

struct RunningRows {
  float largest[2];  // what exponents are taken against
  float total[2];    // of this lane's columns
};

// Scores become weights 2^(score * multiplier - largest). `rescale`: what the sums so far must be
// multiplied with. The maximum only moves once scores exceed it by 2^kSlack, so that it seldom
// does: weights up to 2^kSlack are as exact.
template <bool kFirst, int kFragments>
__device__ __forceinline__ void softmax_step(float (&s)[kFragments][4], RunningRows& rows,
                                             float multiplier, float (&rescale)[2]) {
  constexpr float kSlack = 8.0f;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float largest = fmaxf(s[0][2 * r], s[0][2 * r + 1]);
#pragma unroll
    for (int j = 1; j < kFragments; ++j)
      largest = fmaxf(largest, fmaxf(s[j][2 * r], s[j][2 * r + 1]));
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
    rescale[r] = 1.0f;
    bool moves = true;
    if constexpr (!kFirst) {
      largest = fmaxf(largest, rows.largest[r]);
      // Also when both are -inf: a row that has seen no key yet.
      moves = !((largest - rows.largest[r]) * multiplier <= kSlack);
    }
    if (!moves) largest = rows.largest[r];
    const float base = largest == minus_infinity() ? 0.0f : largest * multiplier;
    if constexpr (!kFirst) {
      if (moves) rescale[r] = exp2_fast(fmaf(rows.largest[r], multiplier, -base));
    }
    rows.largest[r] = largest;
    float total = 0.0f;
#pragma unroll
    for (int j = 0; j < kFragments; ++j)
#pragma unroll
      for (int e = 2 * r; e < 2 * r + 2; ++e) {
        s[j][e] = exp2_fast(fmaf(s[j][e], multiplier, -base));
        total += s[j][e];
      }
    rows.total[r] = kFirst ? total : fmaf(rows.total[r], rescale[r], total);
  }
}

// Whether any row of the warp has to be rescaled.
__device__ __forceinline__ bool rescales(const float (&rescale)[2]) {
  return __any_sync(~0u, rescale[0] != 1.0f || rescale[1] != 1.0f);
}
template <int kFragments>
__device__ __forceinline__ void rescale_rows(float (&o)[kFragments][4], const float (&rescale)[2]) {
#pragma unroll
  for (int j = 0; j < kFragments; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) o[j][e] *= rescale[e / 2];
}

// Weights of fragments 2 k and 2 k + 1 as the A of k-step k of the next product.
template <class T, int kFragments>
__device__ __forceinline__ void pack_weights(uint32_t (&p)[kFragments / 2][4],
                                             const float (&s)[kFragments][4]) {
#pragma unroll
  for (int k = 0; k < kFragments / 2; ++k)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float(&piece)[4] = s[2 * k + i / 2];
      p[k][i] = pack2<T>(piece[i % 2 * 2], piece[i % 2 * 2 + 1]);
    }
}

// Four lanes with four words each exchange them: lane i gets word i of all.
__device__ __forceinline__ void transpose_quad(uint32_t (&w)[4]) {
  const bool odd = threadIdx.x & 1, upper = threadIdx.x & 2;
  const auto exchange = [](uint32_t& low, uint32_t& high, bool has_high, int distance) {
    const uint32_t got = __shfl_xor_sync(~0u, has_high ? low : high, distance);
    low = has_high ? got : low;
    high = has_high ? high : got;
  };
  exchange(w[0], w[1], odd, 1);
  exchange(w[2], w[3], odd, 1);
  exchange(w[0], w[2], upper, 2);
  exchange(w[1], w[3], upper, 2);
}

// The two finished rows of a thread, divided by their totals, to `to`; null: not stored. All lanes
// of the warp take part; every four write 64 bytes of a row.
template <class T, int kHeadDim, int kFragments>
__device__ __forceinline__ void store_rows(const float (&o)[kFragments][4], const RunningRows& rows,
                                           T* const (&to)[2]) {
  constexpr int kPieces = kHeadDim / 8;
  static_assert(kPieces <= kFragments);
  const int lane = threadIdx.x % 4;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float total = rows.total[r];
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    const float factor = reciprocal_fast(total);
#pragma unroll
    for (int j = 0; j < kPieces; j += 4) {
      uint32_t w[4] = {};
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (j + i < kPieces)
          w[i] = pack2<T>(o[j + i][2 * r] * factor, o[j + i][2 * r + 1] * factor);
      transpose_quad(w);
      if (to[r] && j + lane < kPieces)
        *reinterpret_cast<uint4*>(to[r] + (j + lane) * 8) = make_uint4(w[0], w[1], w[2], w[3]);
    }
  }
}
