// Log-probabilities: of the model's own logits, before rules and filters.
#pragma once

#include "kernels/sampling/draw.cuh"

__device__ __forceinline__ float log_probability(float x, double log_total) {
  return static_cast<float>(static_cast<double>(x) - log_total);
}

// Sets log_total.
__device__ __noinline__ void find_log_total() {
  BlockMemory& memory = block_memory();
  sum_masses();
  if (threadIdx.x == 0)
    memory.log_total = static_cast<double>(memory.maximum.value) + log(from_mass(memory.mass));
  __syncthreads();
}

// (logit, lower id) as one number.
__device__ __forceinline__ uint64_t rank_key(float x, int token) {
  return uint64_t(ordered_key(x)) << 32 | (0xffffffffu - unsigned(token));
}

// Where the list overflows because a great many tie: a pass of the leading block for every token.
__device__ __noinline__ void report_by_passes(int wanted) {
  SampledTop* top = block_memory().top;
  const double log_total = block_memory().log_total;
  uint64_t last = ~uint64_t(0);
#pragma unroll 1
  for (int n = 0; n < wanted; ++n) {
    uint64_t best = 0;
    Row::of_block().each_piece<1>(0, 1, [&](int, int piece, const float(&x)[kPiece]) {
#pragma unroll
      for (int j = 0; j < kPiece; ++j) {
        const uint64_t key = rank_key(x[j], piece * kPiece + j);
        if (piece * kPiece + j < kVocab && key < last) best = max(best, key);
      }
    });
    last = block_memory().team.combine_block(best, Max());
    if (threadIdx.x == 0) {
      top->tokens[n] = static_cast<int32_t>(0xffffffffu - uint32_t(last));
      top->logprobs[n] = log_probability(from_ordered_key(uint32_t(last >> 32)), log_total);
    }
  }
}

// The most likely tokens, best first, the lower id first among equals.
__device__ __noinline__ void report_most_likely() {
  const BlockMemory& memory = block_memory();
  const int wanted = min(memory.params.logprobs, kTop);
  begin_search(kByLogit, ordered_key(bound_of_largest(wanted)), ~0u, 0.0, 0);
  const bool listed = list_tokens<OtherItem>(memory.search.low, memory.search.high);
  if (!memory.team.leads()) return;
  if (!listed) return report_by_passes(wanted);
  SampledTop* top = memory.top;
  const double log_total = memory.log_total;
  const int count = memory.list_count;
#pragma unroll 1
  for (int i = threadIdx.x; i < count; i += kThreads) {
    const float x = memory.list_logits[i];
    const int token = memory.list_tokens[i];
    const uint64_t key = rank_key(x, token);
    int rank = 0;
#pragma unroll 1
    for (int other = 0; other < count && rank < wanted; ++other)
      rank += rank_key(memory.list_logits[other], memory.list_tokens[other]) > key;
    if (rank < wanted) {
      top->tokens[rank] = token;
      top->logprobs[rank] = log_probability(x, log_total);
    }
  }
}
