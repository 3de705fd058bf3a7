// gemm_hopper's constants, from its macros, and how work is divided.
#pragma once

#include "device/hopper.cuh"

using Element = ELEMENT;
constexpr int kWeightRows = OUTPUTS;
constexpr int kDepth = DEPTH;
constexpr bool kGated = GATED;
constexpr bool kBias = BIAS;
constexpr int kActivation = ACTIVATION;
constexpr int kConsumers = CONSUMERS;
constexpr int kTileN = TILE_N;
constexpr int kStages = STAGES;
constexpr int kChunk = CHUNK;
constexpr int kClusterM = CLUSTER_M;
constexpr int kClusterN = CLUSTER_N;
constexpr int kSplits = SPLITS;

constexpr int divide_up(int a, int b) { return (a + b - 1) / b; }

constexpr int kTileM = 64 * kConsumers;
constexpr int kColumns = kGated ? kWeightRows / 2 : kWeightRows;  // of y
constexpr int kTileColumns = kGated ? kTileN / 2 : kTileN;
constexpr int kTilesN = divide_up(kColumns, kTileColumns* kClusterN);  // of the cluster
constexpr int kClusterBlocks = kClusterM * kClusterN;
constexpr int kBand = kTileM * kClusterM >= 2048 ? 1 : 2048 / (kTileM * kClusterM);

constexpr int kStepDepth = 64;  // elements: 128 bytes, the width of the swizzle
constexpr int kSteps = divide_up(kDepth, kStepDepth);
constexpr int kBytesX = kTileM * 128;
constexpr int kStageBytes = kBytesX + kTileN * 128;
constexpr int kCopiedRowsX = kTileM / kClusterN;  // by this block
// w arrives in boxes: at least one a block, at least one each of gate and up rows.
constexpr int kBoxes = kGated && kClusterM == 1 ? 2 : kClusterM;
constexpr int kBoxRows = kTileN / kBoxes;

constexpr int kWarps = 4 * kConsumers;       // that multiply
constexpr int kFragments = kTileN / 8;       // of 8 columns, in a thread's registers
constexpr int kPart = kFragments / kSplits;  // of them, what a block finishes
constexpr int kPartColumns = kTileColumns / kSplits;
constexpr int kChunkBytes = 16 * kChunk * 2;
constexpr int kStagingBytes = 2 * kChunkBytes;
static_assert(kTileN % (8 * kBoxes) == 0 && kTileN % (16 * kSplits) == 0 &&
              kPartColumns % kChunk == 0);
static_assert(kCopiedRowsX % 8 == 0 && kDepth % 8 == 0 && kColumns % 8 == 0);
static_assert(kSplits <= kSteps && kClusterBlocks <= 8);

struct Barriers {
  uint64_t full[kStages];   // bytes have arrived
  uint64_t empty[kStages];  // all that the block's copies go to have multiplied
};

// This block's place in its cluster, and its part of K.
struct Place {
  int m, n, split;
  __device__ __forceinline__ static int rank(int m, int n) { return m + kClusterM * n; }
};

// A cluster's tile, in bands of about 2048 rows: blocks that run at the same time share rows of
// both operands in L2.
struct Tile {
  int m, n;
  __device__ __forceinline__ Tile(int index, int tiles_m) {
    const int band = index / (kBand * kTilesN);
    const int height = min(kBand, tiles_m - band * kBand);
    const int within = index - band * kBand * kTilesN;
    m = band * kBand + within % height;
    n = within / height;
  }
};

__device__ __forceinline__ int first_step(int split) { return split * kSteps / kSplits; }

__device__ __forceinline__ int tile_row(const Tile& tile, const Place& place) {
  return (tile.m * kClusterM + place.m) * kTileM;
}
__device__ __forceinline__ int tile_column(const Tile& tile, const Place& place) {
  return (tile.n * kClusterN + place.n) * kTileColumns;
}

// Arrives at a barrier of another block of the cluster, to say that memory may be written again. It
// publishes no data: a release at cluster scope, as barrier_arrive_remote() is one, would cost a
// fence at each stage.
__device__ __forceinline__ void allow_remote(uint64_t* barrier, int rank) {
  asm volatile(
      "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
}
