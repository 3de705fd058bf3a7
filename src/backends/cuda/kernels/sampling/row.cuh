// A row of logits with its slot's rules applied. Tokens that no rule touches carry no mark; the
// others are worked out anew in every pass, which costs less than keeping a changed copy of the
// row.
#pragma once

#include "kernels/sampling/block_memory.cuh"

// Back to float; what overflows stays finite, what is forbidden stays forbidden.
__device__ __forceinline__ float to_logit(double x) {
  if (x == static_cast<double>(minus_infinity())) return minus_infinity();
  constexpr double kMost = kLargest;
  return static_cast<float>(x < -kMost ? -kMost : x > kMost ? kMost : x);
}

// The first of ascending tokens that is not below `token`.
__device__ __forceinline__ int first_not_below(const int32_t* tokens, int count, int token) {
  int low = 0, high = count;
#pragma unroll 1
  while (low < high) {
    const int middle = (low + high) / 2;
    if (tokens[middle] < token)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

__device__ __forceinline__ float ruled_logit(float x, int token, unsigned mark) {
  const BlockMemory& memory = block_memory();
  if ((mark & kNamedBit) != 0) {
    const int biases = memory.params.biases;
    const int32_t* rules = memory.rules;
    for (int i = first_not_below(rules, biases, token); i < biases && rules[i] == token; ++i)
      x = to_logit(static_cast<double>(x) + static_cast<double>(__int_as_float(rules[biases + i])));
    for (int i = 0; i < memory.forbidden_count; ++i)
      if (memory.forbidden[i] == token) x = minus_infinity();
  }
  if ((mark & kSeenBits) != 0 && memory.params.penalties != 0) {
    double y = x;
    y = __dmul_rn(y, y > 0 ? memory.inverse_repetition : memory.params.repetition_penalty);
    const int generated = mark & kGeneratedBits;
    if (generated > 0)
      y -= __dadd_rn(__dmul_rn(memory.params.frequency_penalty, generated),
                     memory.params.presence_penalty);
    x = to_logit(y);
  }
  return x;
}

// This thread's piece in ruled_piece. Rare and long, so not in the middle of every pass.
__device__ __noinline__ void rule_piece(const uint16_t* marks, int first) {
  float* x = &block_memory().ruled_piece[0][threadIdx.x];
#pragma unroll 1
  for (int j = 0; j < kPiece; ++j)
    if (const unsigned mark = marks[j])
      x[j * kThreads] = ruled_logit(x[j * kThreads], first + j, mark);
}

struct Row {
  const Logit* logits;
  const uint16_t* marks;

  static __device__ __forceinline__ Row of_block() {
    return {block_memory().logits, block_memory().marks};
  }

  __device__ __forceinline__ void apply_rules(int piece, float (&x)[kPiece]) const {
    const uint16_t* own = marks + piece * kPiece;
    const uint4 raw = *reinterpret_cast<const uint4*>(own);
    if ((raw.x | raw.y | raw.z | raw.w) == 0) return;
    float* ruled = &block_memory().ruled_piece[0][threadIdx.x];
#pragma unroll
    for (int j = 0; j < kPiece; ++j) ruled[j * kThreads] = x[j];
    rule_piece(own, piece * kPiece);
#pragma unroll
    for (int j = 0; j < kPiece; ++j) x[j] = ruled[j * kThreads];
  }

  __device__ __forceinline__ void to_floats(const RawPiece& raw, int piece,
                                            float (&x)[kPiece]) const {
    raw.to_floats(x);
    if (marks != nullptr && piece < kPieces) apply_rules(piece, x);
  }

  __device__ __forceinline__ void load(int piece, float (&x)[kPiece]) const {
    RawPiece raw;
    raw.load(logits, piece);
    to_floats(raw, piece, x);
  }

  // visit(stretch, piece, x): the pieces of this thread in ascending order, whole warps together;
  // `ranks` blocks share the row. kAhead stretches are read ahead.
  template <int kAhead, class Visit>
  __device__ __forceinline__ void each_piece(int rank, int ranks, const Visit& visit) const {
    const int lane = threadIdx.x % 32;
    const int step = ranks * kWarps;
    const int first = rank * kWarps + threadIdx.x / 32;
    RawPiece next[kAhead];
#pragma unroll
    for (int u = 0; u < kAhead; ++u)
      if (first + u * step < kStretches) next[u].load(logits, (first + u * step) * 32 + lane);
#pragma unroll 1
    for (int stretch = first; stretch < kStretches; stretch += step) {
      const RawPiece raw = next[0];
#pragma unroll
      for (int u = 0; u + 1 < kAhead; ++u) next[u] = next[u + 1];
      const int ahead = stretch + kAhead * step;
      if (ahead < kStretches) next[kAhead - 1].load(logits, ahead * 32 + lane);
      const int piece = stretch * 32 + lane;
      float x[kPiece];
      to_floats(raw, piece, x);
      visit(stretch, piece, x);
    }
  }

  // The pieces of this block's part of the row; visit(x, token) of their logits. Beyond the row's
  // end there is -infinity.
  template <int kAhead = 1, class Visit>
  __device__ __forceinline__ void each_piece(const Visit& visit) const {
    const Team& team = block_memory().team;
    each_piece<kAhead>(team.rank, kCluster ? team.size : 1, visit);
  }
  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    each_piece([&](int, int piece, const float(&x)[kPiece]) {
#pragma unroll
      for (int j = 0; j < kPiece; ++j) visit(x[j], piece * kPiece + j);
    });
  }
};

// Sets maximum and maxima.
__device__ __noinline__ void find_maximum() {
  BlockMemory& memory = block_memory();
  float best = minus_infinity();
  int at = kPieces - 1;
  bool valid = true;
  Row::of_block().each_piece<2>([&](int, int piece, const float(&x)[kPiece]) {
    float largest = x[0];
#pragma unroll
    for (int j = 0; j < kPiece; ++j) {
      valid = valid && x[j] <= kLargest;
      largest = fmaxf(largest, x[j]);
    }
    if (largest > best) {
      best = largest;
      at = piece;
    }
  });
  memory.maxima[threadIdx.x] = best;
  const uint64_t key =
      valid ? uint64_t(ordered_key(best)) << 32 | (0xffffffffu - unsigned(at)) : ~uint64_t(0);
  const uint64_t found = memory.team.combine_team(key, Max());
  if (threadIdx.x == 0)
    memory.maximum = {from_ordered_key(uint32_t(found >> 32)), int(0xffffffffu - uint32_t(found)),
                      found != ~uint64_t(0)};
  __syncthreads();
}
