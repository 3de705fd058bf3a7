// What the skinny kernels do with a tile's sums: write y, or add up with the blocks that share it.
//
// Sums d[kTokens / 8][4] of 256 threads lie as mma.m16n8k16 leaves them, warp w having rows 16 w to
// 16 w + 15 of the tile: row l / 4 in [0] and [1], row l / 4 + 8 in [2] and [3], tokens
// 8 j + 2 (l % 4) and + 1. Gated tiles have 8 gate rows, then their 8 up rows, in every 16.
//
// Blocks that share a tile leave their sums in memory and count up `arrivals`; when a block has
// done all its units it waits for the others and adds up its share of the tile's fragments, in the
// order of the blocks. All blocks run at once, as the launcher has no more of them than
// multiprocessors.
//
//   ELEMENT      bf16 or f16: of x, w and y
//   TOKENS       rows of x that fit: 8, 16, 32, 64, 128
//   CLUSTER      blocks that take neighbouring tiles and the same chunks
//   GATED, BIAS  whether it is, and whether there is one
//   ACTIVATION   as in activation.cuh; negative: none
#pragma once

#include "device/activation.cuh"
#include "device/mma.cuh"
#include "kernels/gemm/skinny_split.cuh"

using Element = ELEMENT;
constexpr int kTokens = TOKENS;
constexpr int kCluster = CLUSTER;
constexpr bool kGated = GATED;
constexpr bool kBias = BIAS;
constexpr int kActivation = ACTIVATION;

constexpr int kFragments = kTokens / 8;
constexpr int kTileRows = 128;  // of w
constexpr int kTileOutputs = kGated ? kTileRows / 2 : kTileRows;
constexpr int kChunk = 64;     // of k: 128 bytes
constexpr int kWorkers = 256;  // threads that hold sums

using Sums = float[kFragments][4];

struct SkinnyOutput {
  Element* y;
  const float* bias;   // [outputs], gated [2 outputs]
  float4* partials;    // [2 blocks][kFragments][kWorkers]
  uint32_t* arrivals;  // [tiles], zero before and after
  int tokens, outputs, y_stride;
};

// Of a block: `split` is of groups of kCluster tiles, of which it has one each.
struct SkinnyWork {
  SkinnySplit split;
  int index;  // of the cluster
  int rank;   // in the cluster

  __device__ __forceinline__ SkinnyWork(int outputs, int columns)
      : split{((outputs + kTileOutputs - 1) / kTileOutputs + kCluster - 1) / kCluster,
              (columns + kChunk - 1) / kChunk, int(gridDim.x) / kCluster},
        index(blockIdx.x / kCluster),
        rank(blockIdx.x % kCluster) {}
  __device__ __forceinline__ int begin() const { return split.begin(index); }
  __device__ __forceinline__ int end() const { return split.begin(index + 1); }
  __device__ __forceinline__ int tile(int group) const { return group * kCluster + rank; }
  __device__ __forceinline__ bool shared(int group) const {
    return split.first_block(group) != split.last_block(group);
  }
  // Where the block of this rank in cluster `index` leaves its sums.
  __device__ __forceinline__ int64_t place(int index, int group) const {
    return int64_t(split.place(index, group) * kCluster + rank) * kFragments * kWorkers;
  }
};

__device__ __forceinline__ void sync_workers() { asm volatile("bar.sync 1, 256;" ::: "memory"); }

// After sync_workers(): what all workers wrote is seen by whoever sees the count.
__device__ __forceinline__ void count_arrival(uint32_t* counter) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
}
__device__ __forceinline__ void await_arrivals(const uint32_t* counter, uint32_t wanted) {
  uint32_t count;
  do {
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(count) : "l"(counter) : "memory");
  } while (count < wanted);
}
// The last of all arrivals and departures sets it back.
__device__ __forceinline__ void count_departure(uint32_t* counter, uint32_t expected) {
  uint32_t before;
  asm volatile("atom.add.relaxed.gpu.global.u32 %0, [%1], 1;"
               : "=r"(before)
               : "l"(counter)
               : "memory");
  if (before == expected - 1) *counter = 0;
}

// Past L1: other blocks wrote it.
__device__ __forceinline__ float4 load_partial(const float4* from) {
  float4 value;
  asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
               : "l"(from)
               : "memory");
  return value;
}

// The 8x8 matrix of 16-bit elements whose row l / 4, columns 2 (l % 4) and + 1, lane l holds.
__device__ __forceinline__ uint32_t transpose_8x8(uint32_t x) {
  uint32_t y;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

__device__ __forceinline__ float activated(float z) {
  if constexpr (kActivation < 0)
    return z;
  else
    return activate<kActivation>(z);
}

// Writes fragments of a tile, by whole warps.
struct TileWriter {
  const SkinnyOutput& out;
  int lane, first;         // output of the warp
  bool pairs;              // two neighbours of y can be stored at once
  float bias, other_bias;  // of this lane's rows of w

  __device__ __forceinline__ TileWriter(const SkinnyOutput& out, int tile, int worker)
      : out(out), lane(worker % 32), bias(0.0f), other_bias(0.0f) {
    first = tile * kTileOutputs + worker / 32 * (kGated ? 8 : 16);
    pairs = out.y_stride % 2 == 0 && reinterpret_cast<uint64_t>(out.y) % 4 == 0;
    if constexpr (kBias) {
      const int mine = first + lane / 4;
      const int other = kGated ? out.outputs + mine : mine + 8;
      if (mine < out.outputs) bias = out.bias[mine];
      if (kGated ? mine < out.outputs : other < out.outputs) other_bias = out.bias[other];
    }
  }

  __device__ __forceinline__ void store(int token, int output, uint32_t pair) const {
    if (token >= out.tokens || output >= out.outputs) return;
    Element* const to = out.y + int64_t(token) * out.y_stride + output;
    if (pairs && output + 1 < out.outputs) {
      *reinterpret_cast<uint32_t*>(to) = pair;
      return;
    }
    to[0] = Element{static_cast<uint16_t>(pair)};
    if (output + 1 < out.outputs) to[1] = Element{static_cast<uint16_t>(pair >> 16)};
  }

  // A lane has rows of w and two tokens each; transposed, a token and two outputs.
  __device__ __forceinline__ void write(int j, float d0, float d1, float d2, float d3) const {
    const int token = 8 * j + lane / 4, output = first + 2 * (lane % 4);
    if constexpr (kGated) {
      const uint32_t pair = pack2<Element>(activated(d0 + bias) * (d2 + other_bias),
                                           activated(d1 + bias) * (d3 + other_bias));
      store(token, output, transpose_8x8(pair));
    } else {
      const uint32_t low = pack2<Element>(activated(d0 + bias), activated(d1 + bias));
      const uint32_t high = pack2<Element>(activated(d2 + other_bias), activated(d3 + other_bias));
      store(token, output, transpose_8x8(low));
      store(token, output + 8, transpose_8x8(high));
    }
  }
};

// Of all workers, after each tile of their block.
__device__ __forceinline__ void finish_tile(const SkinnyOutput& out, const SkinnyWork& work,
                                            int group, const Sums& d, int worker) {
  if (!work.shared(group)) {
    const TileWriter writer(out, work.tile(group), worker);
#pragma unroll
    for (int j = 0; j < kFragments; ++j)
      if (8 * j < out.tokens) writer.write(j, d[j][0], d[j][1], d[j][2], d[j][3]);
    return;
  }
  float4* const mine = out.partials + work.place(work.index, group) + worker;
#pragma unroll
  for (int j = 0; j < kFragments; ++j)
    if (8 * j < out.tokens) mine[j * kWorkers] = make_float4(d[j][0], d[j][1], d[j][2], d[j][3]);
  sync_workers();
  if (worker == 0) count_arrival(out.arrivals + work.tile(group));
}

// A block without a share of the fragments neither waits nor leaves.
__device__ __forceinline__ void add_up_tile(const SkinnyOutput& out, const SkinnyWork& work,
                                            int group, int worker) {
  constexpr int kTogether = kFragments < 2 ? 1 : 2;  // fragments
  constexpr int kAtOnce = 8 / kTogether;             // loads of each under way
  const int first = work.split.first_block(group), last = work.split.last_block(group);
  const int blocks = last - first + 1;
  const int fragments = (out.tokens + 7) / 8, share = work.index - first;
  const int begin = share * fragments / blocks, end = (share + 1) * fragments / blocks;
  if (begin == end) return;
  uint32_t* const arrivals = out.arrivals + work.tile(group);
  if (worker == 0) await_arrivals(arrivals, blocks);
  sync_workers();
  const TileWriter writer(out, work.tile(group), worker);
#pragma unroll 1
  for (int at = begin; at < end; at += kTogether) {
    const float4* const partials = out.partials + at * kWorkers + worker;
    float4 sums[kTogether];
#pragma unroll
    for (int j = 0; j < kTogether; ++j) sums[j] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 1
    for (int block = first; block <= last; block += kAtOnce) {
      float4 parts[kAtOnce][kTogether];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const float4* const from = partials + work.place(min(block + i, last), group);
#pragma unroll
        for (int j = 0; j < kTogether; ++j) {
          parts[i][j] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
          if (block + i <= last && at + j < end) parts[i][j] = load_partial(from + j * kWorkers);
        }
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i)
#pragma unroll
        for (int j = 0; j < kTogether; ++j) {
          sums[j].x += parts[i][j].x;
          sums[j].y += parts[i][j].y;
          sums[j].z += parts[i][j].z;
          sums[j].w += parts[i][j].w;
        }
    }
#pragma unroll
    for (int j = 0; j < kTogether; ++j)
      if (at + j < end) writer.write(at + j, sums[j].x, sums[j].y, sums[j].z, sums[j].w);
  }
  if (worker == 0) count_departure(arrivals, blocks + min(fragments, blocks));
}

// Of all workers, when their block has done all its units.
__device__ __forceinline__ void add_up(const SkinnyOutput& out, const SkinnyWork& work,
                                       int worker) {
  const int first = work.begin() / work.split.chunks, last = (work.end() - 1) / work.split.chunks;
#pragma unroll 1
  for (int group = first; group <= last; group += max(1, last - first))
    if (work.shared(group)) add_up_tile(out, work, group, worker);
}
