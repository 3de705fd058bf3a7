// The blocks that share a row of logits: a cluster, or one block. What they tell each other goes
// through a piece of global memory, ordered by the cluster's barrier.
//
//   CLUSTER  teams are clusters; else each is one block
//   THREADS  of a block
#pragma once

#include "device/hopper.cuh"
#include "device/types.cuh"

constexpr bool kCluster = CLUSTER;
constexpr int kThreads = THREADS;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxTeam = 8;
constexpr int kTeamWords = 32;  // that a block can tell the others at a time

struct Add {
  __device__ __forceinline__ uint64_t operator()(uint64_t a, uint64_t b) const { return a + b; }
};
struct Max {
  __device__ __forceinline__ uint64_t operator()(uint64_t a, uint64_t b) const {
    return a > b ? a : b;
  }
};
// Of doubles, in a fixed order.
struct AddDouble {
  __device__ __forceinline__ uint64_t operator()(uint64_t a, uint64_t b) const {
    return __double_as_longlong(__longlong_as_double(a) + __longlong_as_double(b));
  }
};

template <class Combine>
__device__ __forceinline__ uint64_t warp_combine(uint64_t x, const Combine& combine) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    x = combine(x, static_cast<uint64_t>(__shfl_xor_sync(0xffffffffu, x, offset)));
  return x;
}

// In shared memory; the same in all threads. Members are for the whole block to call, and all
// blocks of a team make the same calls.
struct Team {
  int rank;
  int size;            // 1, 2, 4 or 8
  int turn;            // the half of `exchange` that is used next
  uint64_t* exchange;  // [2][kMaxTeam][kTeamWords], the team's own
  uint64_t words[kTeamWords];

  __device__ __forceinline__ bool leads() const { return rank == 0; }
  __device__ __forceinline__ bool alone() const { return !kCluster || size == 1; }

  // What a block wrote before, to global memory too, all of its team see behind it.
  __device__ __forceinline__ void barrier() const {
    if (alone())
      __syncthreads();
    else
      cluster_sync();
  }

  // words[i], i < count, of all blocks combined, in each of them. The halves of `exchange` take
  // turns: who still reads one has not arrived at the barrier of the other.
  template <class Combine>
  __device__ __forceinline__ void combine_words(int count, const Combine& combine) {
    __syncthreads();
    if (alone()) return;
    const int i = threadIdx.x;
    volatile uint64_t* all = exchange + turn * (kMaxTeam * kTeamWords);
    if (i < count) all[rank * kTeamWords + i] = words[i];
    cluster_sync();
    if (i < count) {
      uint64_t total = all[i];
#pragma unroll 1
      for (int r = 1; r < size; ++r)
        total = combine(total, static_cast<uint64_t>(all[r * kTeamWords + i]));
      words[i] = total;
    }
    if (i == 0) turn ^= 1;
    __syncthreads();
  }

  // x of all threads of the block combined, in each of them; and of the team.
  template <class Combine>
  __device__ __forceinline__ uint64_t combine_block(uint64_t x, const Combine& combine) {
    x = warp_combine(x, combine);
    __syncthreads();  // words may still be read
    if (threadIdx.x % 32 == 0) words[threadIdx.x / 32] = x;
    __syncthreads();
    uint64_t total = words[0];
#pragma unroll 1
    for (int w = 1; w < kWarps; ++w) total = combine(total, words[w]);
    return total;
  }
  template <class Combine>
  __device__ __forceinline__ uint64_t combine_team(uint64_t x, const Combine& combine) {
    const uint64_t total = combine_block(x, combine);
    if (alone()) return total;
    __syncthreads();
    if (threadIdx.x == 0) words[0] = total;
    combine_words(1, combine);
    return words[0];
  }
};
