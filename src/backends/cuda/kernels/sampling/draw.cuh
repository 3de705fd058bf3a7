// The draw: the token at (seed, tokens generated) of the cumulated weights, in the order of the
// ids.
#pragma once

#include "kernels/sampling/filters.cuh"

// As sampling/random.h has it: uniform in [0, 2^53).
__device__ __forceinline__ uint64_t mix_bits(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}
__device__ __forceinline__ uint64_t uniform_bits(uint64_t seed, uint64_t position) {
  return mix_bits(mix_bits(seed) ^ mix_bits(~position)) >> 11;
}

// A piece's mass is the sum of its kept weights in float32, in order.
__device__ __forceinline__ uint64_t piece_mass(const Softmax& softmax, const Filter& filter,
                                               int piece, const float (&x)[kPiece]) {
  float sum = 0.0f;
#pragma unroll
  for (int j = 0; j < kPiece; ++j) {
    const float w = softmax.weight(x[j]);
    sum += filter.keeps(x[j], w, piece * kPiece + j) ? w : 0.0f;
  }
  return to_mass(sum);
}

// The first token of the piece with which its mass exceeds `rest`, which all of it does.
__device__ __forceinline__ int piece_token(const Softmax& softmax, const Filter& filter, int piece,
                                           const float (&x)[kPiece], uint64_t rest) {
  float sum = 0.0f;
  int found = -1;
#pragma unroll
  for (int j = 0; j < kPiece; ++j) {
    const float w = softmax.weight(x[j]);
    sum += filter.keeps(x[j], w, piece * kPiece + j) ? w : 0.0f;
    if (found < 0 && to_mass(sum) > rest) found = piece * kPiece + j;
  }
  return found;
}

// The mass of every stretch, for the leading block in the workspace; sets `mass`, that of all.
__device__ __noinline__ void sum_masses() {
  BlockMemory& memory = block_memory();
  const Softmax softmax = memory.softmax;
  const Filter filter = memory.filter;
  volatile uint64_t* masses = memory.workspace->masses;
  uint64_t own = 0;
  Row::of_block().each_piece([&](int stretch, int piece, const float(&x)[kPiece]) {
    const uint64_t mass = piece_mass(softmax, filter, piece, x);
    own += mass;
    const uint64_t sum = warp_combine(mass, Add());
    if (threadIdx.x % 32 == 0) masses[stretch] = sum;
  });
  own = memory.team.combine_team(own, Add());
  if (threadIdx.x == 0) memory.mass = own;
  __syncthreads();
}

// The stretch in which the cumulated mass exceeds the target, and what of the target lies in it.
// For the leading block.
__device__ __forceinline__ void find_stretch(uint64_t target) {
  BlockMemory& memory = block_memory();
  constexpr int kOwn = (kStretches + kThreads - 1) / kThreads;
  const volatile uint64_t* masses = memory.workspace->masses;
  const int first = threadIdx.x * kOwn;
  uint64_t own[kOwn], sum = 0, total;
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    own[i] = first + i < kStretches ? masses[first + i] : 0;
    sum += own[i];
  }
  uint64_t begin = block_prefix(sum, total);
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    if (begin <= target && target - begin < own[i]) {
      memory.drawn_stretch = first + i;
      memory.drawn_rest = target - begin;
    }
    begin += own[i];
  }
  __syncthreads();
}

// Sets drawn_token to the first of the largest logits.
__device__ __noinline__ void take_largest() {
  BlockMemory& memory = block_memory();
  const Maximum maximum = memory.maximum;
  if (threadIdx.x == 0) {
    float x[kPiece];
    Row::of_block().load(maximum.piece, x);
#pragma unroll
    for (int j = kPiece - 1; j >= 0; --j)
      if (x[j] == maximum.value) memory.drawn_token = maximum.piece * kPiece + j;
  }
  __syncthreads();
}

// Sets drawn_token, in the leading block.
__device__ __noinline__ void draw_token() {
  BlockMemory& memory = block_memory();
  sum_masses();
  if (!memory.team.leads()) return;
  if (memory.mass == 0) return take_largest();  // everything that is left rounds to nothing
  // floor(uniform * mass): the token is the first whose cumulated mass exceeds it.
  const uint64_t uniform = uniform_bits(memory.params.seed, uint64_t(memory.generated));
  find_stretch(__umul64hi(uniform << 11, memory.mass));
  if (threadIdx.x < 32) {
    const int piece = memory.drawn_stretch * 32 + threadIdx.x;
    const Softmax softmax = memory.softmax;
    const Filter filter = memory.filter;
    float x[kPiece];
    Row::of_block().load(piece, x);
    const uint64_t mass = piece_mass(softmax, filter, piece, x);
    const uint64_t begin = warp_prefix(mass) - mass;
    const uint64_t rest = memory.drawn_rest;
    if (begin <= rest && rest - begin < mass)
      memory.drawn_token = piece_token(softmax, filter, piece, x, rest - begin);
  }
  __syncthreads();
}
