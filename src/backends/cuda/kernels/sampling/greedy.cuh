// sample, where all rows are greedy and want nothing else: the largest logit, the lowest id among
// equals. Several blocks a row, each reads a run of pieces once; the last one that is done combines
// them. Many rows are bound by memory, one by latency: a read, a fence, a second read.
//
//   LOGIT, VOCAB, VECTORS  see pieces.cuh
#include "device/dependency.cuh"
#include "kernels/sampling/pieces.cuh"
#include "kernels/sampling/slot_state.cuh"

constexpr int kThreads = 256;
constexpr int kAhead = 4;  // pieces that a thread reads at once

// (logit, lower id) as one number; the largest of all for NaN and +infinity.
__device__ __forceinline__ uint64_t best_of(const RawPiece& raw, int piece) {
  float x[kPiece];
  raw.to_floats(x);
  bool valid = true;
  float best = x[0];
  int at = 0;
#pragma unroll
  for (int j = 0; j < kPiece; ++j) {
    valid = valid && x[j] <= kLargest;
    if (x[j] > best) {
      best = x[j];
      at = j;
    }
  }
  const unsigned token = piece * kPiece + at;
  return valid ? uint64_t(ordered_key(best)) << 32 | (0xffffffffu - token) : ~uint64_t(0);
}

__device__ __forceinline__ uint64_t warp_max(uint64_t x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    x = max(x, static_cast<uint64_t>(__shfl_xor_sync(0xffffffffu, x, offset)));
  return x;
}

extern "C" __global__ void __launch_bounds__(kThreads)
    greedy(const Logit* logits, int64_t row_stride, const int32_t* slots, SampleState* states,
           int32_t* sampled, SampledRow* rows, uint64_t* partial, unsigned* arrived,
           int blocks_per_row) {
  __shared__ uint64_t shared[kThreads / 32];
  launch_dependents();
  wait_for_dependency();
  const int row = blockIdx.x / blocks_per_row, part = blockIdx.x % blocks_per_row;
  const int slot = slots[row];
  if (slot < 0) return;

  const int per_block = (kPieces + blocks_per_row - 1) / blocks_per_row;
  const int end = min(kPieces, (part + 1) * per_block);
  const Logit* begin = logits + row * row_stride;
  uint64_t best = 0;
#pragma unroll 1
  for (int first = part * per_block + threadIdx.x; first < end; first += kAhead * kThreads) {
    RawPiece raw[kAhead];
#pragma unroll
    for (int u = 0; u < kAhead; ++u)
      if (first + u * kThreads < end) raw[u].load(begin, first + u * kThreads);
#pragma unroll
    for (int u = 0; u < kAhead; ++u)
      if (first + u * kThreads < end) best = max(best, best_of(raw[u], first + u * kThreads));
  }
  best = warp_max(best);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  best = warp_max(threadIdx.x < kThreads / 32 ? shared[threadIdx.x] : 0);

  if (blocks_per_row > 1) {
    volatile uint64_t* all = partial + int64_t(row) * blocks_per_row;
    unsigned before = 0;
    if (threadIdx.x == 0) {
      all[part] = best;
      __threadfence();
      before = atomicAdd(arrived + row, 1u);
      __threadfence();
    }
    before = __shfl_sync(0xffffffffu, before, 0);
    __syncwarp();
    if (before + 1 < unsigned(blocks_per_row)) return;
    best = 0;
    for (int i = threadIdx.x; i < blocks_per_row; i += 32)
      best = max(best, static_cast<uint64_t>(all[i]));
    best = warp_max(best);
    if (threadIdx.x == 0) arrived[row] = 0;
  }
  if (threadIdx.x != 0) return;
  const bool valid = best != ~uint64_t(0);
  const bool allowed = static_cast<uint32_t>(best >> 32) > ordered_key(minus_infinity());
  const int token = valid && allowed ? static_cast<int>(0xffffffffu - uint32_t(best)) : 0;
  sampled[slot] = token;
  rows[row] = {token, 0.0f, valid ? (allowed ? kNone : kAllForbidden) : kInvalidLogits};
  if (valid && allowed) ++states[slot].generated;
}
