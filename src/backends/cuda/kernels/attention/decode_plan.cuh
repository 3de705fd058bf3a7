// What attention_decode is compiled for, and which block computes what. See decode.cuh.
//
//   ELEMENT                 of q, the cache and y
//   HEAD_DIM                a multiple of 16
//   KV_HEADS, GROUP         kv heads; query heads of each
//   HEADS                   of them in one unit: at most 16
//   BLOCK_SIZE              slots of a cache block
//   TILE, WARPS, STAGES     16 or 32 keys; of a block; tiles in a warp's ring
//   BLOCKS                  of a multiprocessor
//   JOIN_CHUNKS             that all blocks together read in the time of joining parts of units
//   WINDOW, ALIBI, SOFTCAP  0 or 1: whether there is one
#pragma once

#include "device/mma.cuh"

using Element = ELEMENT;
constexpr int kHeadDim = HEAD_DIM;
constexpr int kKvHeads = KV_HEADS;
constexpr int kGroup = GROUP;
constexpr int kHeads = HEADS;
constexpr int kBlockSize = BLOCK_SIZE;
constexpr int kTile = TILE;
constexpr int kWarps = WARPS;
constexpr int kStages = STAGES;
constexpr int kBlocks = BLOCKS;
constexpr bool kWindow = WINDOW;
constexpr bool kAlibi = ALIBI;
constexpr bool kSoftcap = SOFTCAP;

constexpr int kThreads = 32 * kWarps;
constexpr int kChunk = kWarps * kTile;
constexpr int kPasses = (kGroup + kHeads - 1) / kHeads;
constexpr int kUnits = kKvHeads * kPasses;  // of a sequence
constexpr int kSteps = kHeadDim / 16;
constexpr int kKeyTiles = kTile / 16;
constexpr int kHeadTiles = (kHeads + 7) / 8;
constexpr bool kTileInBlock = kBlockSize % kTile == 0;
static_assert(kHeadDim % 16 == 0 && kTile % 16 == 0 && kTile <= 32 && kHeads <= 16);

// Shared memory, in bytes. Rows are 16 bytes longer than they need to be: an odd number of 16-byte
// vectors, so that ldmatrix finds 8 rows in different banks.
constexpr int kVectors = kHeadDim / 8;  // of a row
constexpr int kRow = 16 * (kVectors + 1);
constexpr int kKeysAt = kHeads * kRow;  // in a stage: queries, keys, values
constexpr int kValuesAt = kKeysAt + kTile * kRow;
constexpr int kStageBytes = kValuesAt + kTile * kRow;
constexpr int kRingBytes = kStages * kStageBytes;
constexpr int kJoinRow = kHeadDim + 4;  // floats; a multiple of 16 bytes, without bank conflicts
constexpr int kJoinAt = kWarps * kRingBytes;
constexpr int kTotalsAt = kJoinAt + 4 * kWarps * kHeads * kJoinRow;
constexpr int kPlanAt = kTotalsAt + 8 * kWarps * kHeads;

constexpr float kLog2E = 1.4426950408889634f;
constexpr int kJoinChunks = JOIN_CHUNKS;
constexpr float kLowest = -1e30f;  // finite: a difference of two is no NaN

// Keys that a sequence's token sees, and the chunks they lie in.
struct Keys {
  int first, end;
  __device__ __forceinline__ Keys(int length, int window)
      : first(kWindow ? max(length - window, 0) : 0), end(length) {}
  __device__ __forceinline__ int first_chunk() const { return first / kChunk; }
  __device__ __forceinline__ int end_chunk() const { return (end + kChunk - 1) / kChunk; }
  __device__ __forceinline__ int chunks() const {
    return end > 0 ? end_chunk() - first_chunk() : 0;
  }
};

// All sequences' lengths and the places of their chunks in the list, in shared memory. Sequence s
// has kUnits * chunks(s) places, unit by unit.
struct Plan {
  int* lengths;  // shared: [sequences]
  int* before;   // shared: [sequences + 1], chunks of one unit of the sequences before
  int sequences, window;
  int most = 0;  // chunks of a unit

  __device__ __forceinline__ Keys keys(int s) const { return Keys(lengths[s], window); }
  __device__ __forceinline__ int chunks(int s) const { return before[s + 1] - before[s]; }

  // By the whole block. `warp_results`: shared, 2 kWarps ints.
  __device__ __forceinline__ void build(const int* kv_lengths, int* warp_results) {
    const int thread = threadIdx.x;
    const int run = (sequences + kThreads - 1) / kThreads;  // that a thread sums up
    const int begin = min(thread * run, sequences);
    const int end = min(begin + run, sequences);
    int sum = 0;
#pragma unroll 4
    for (int s = begin; s < end; ++s) {
      const int length = kv_lengths[s];
      const int chunks = Keys(length, window).chunks();
      lengths[s] = length;
      sum += chunks;
      most = max(most, chunks);
    }
    int at = sum;
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
      const int other = __shfl_up_sync(0xffffffffu, at, offset);
      if (thread % 32 >= offset) at += other;
    }
    most = __reduce_max_sync(0xffffffffu, most);
    if (thread % 32 == 31) {
      warp_results[thread / 32] = at;
      warp_results[kWarps + thread / 32] = most;
    }
    __syncthreads();
    at -= sum;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      if (w < thread / 32) at += warp_results[w];
      most = max(most, warp_results[kWarps + w]);
    }
#pragma unroll 1
    for (int s = begin; s < end; ++s) {
      before[s] = at;
      at += keys(s).chunks();
    }
    if (thread == kThreads - 1) before[sequences] = at;
    __syncthreads();
  }
};

// How the list of chunks is cut, in pieces of `grain`: the first `longer` blocks have one more than
// `each`. Units of one length stay whole where that takes about as long: nothing has to be joined.
struct Shares {
  int blocks, grain, each, longer;

  __device__ __forceinline__ Shares(const Plan& plan) {
    const int sum = plan.before[plan.sequences];
    const int total = kUnits * sum;
    const int units = max(kUnits * plan.sequences, 1);
    // Few long units: more parts shorten their way through the chunks, but the one block that joins
    // them has to read them all. Both take the same time at the square root of the ratio of sizes.
    const float mean = float(total) / float(units);
    const int parts = max(16, int(sqrtf(mean * (float(kChunk) / kHeads))));
    blocks = min(min(total, int(gridDim.x)), parts < 4096 ? units * parts : total);
    grain = 1;
    if (plan.most * plan.sequences == sum && blocks > 0) {
      const int longest = (units + blocks - 1) / blocks * plan.most;
      if (longest * blocks <= total + kJoinChunks) {
        grain = plan.most;
        blocks = min(blocks, units);
      }
    }
    const int pieces = grain == 1 ? total : units;
    each = pieces / max(blocks, 1);
    longer = pieces - each * blocks;
  }
  __device__ __forceinline__ int begin(int block) const {
    return grain * (block * each + min(block, longer));
  }
  // Where units are cut: the grain is one chunk.
  __device__ __forceinline__ int owner(int chunk) const {
    const int in_longer = longer * (each + 1);
    return chunk < in_longer ? chunk / (each + 1) : longer + (chunk - in_longer) / each;
  }
};

// The units of a share in order; of each, the chunks that lie in the share.
struct UnitWalk {
  const Plan& plan;
  int left;  // chunks from this unit's first to the share's end
  int sequence, unit;
  int chunk, chunk_end;
  Keys keys;

  __device__ __forceinline__ UnitWalk(const Plan& plan, int begin, int end)
      : plan(plan), left(end - begin), keys(0, 0) {
    // The last sequence with at most so many chunks before it.
    const int target = begin / kUnits;
    sequence = 0;
    for (int above = plan.sequences; above - sequence > 1;) {
      const int middle = (sequence + above) / 2;
      if (plan.before[middle] <= target)
        sequence = middle;
      else
        above = middle;
    }
    const int chunks = plan.chunks(sequence);
    const int rest = begin - kUnits * plan.before[sequence];
    unit = rest / chunks;
    enter(rest - unit * chunks);
  }
  __device__ __forceinline__ bool more() const { return left > 0; }
  __device__ __forceinline__ void next() {
    left -= chunk_end - chunk;
    if (left <= 0) return;
    if (++unit == kUnits) {
      unit = 0;
      do ++sequence;
      while (plan.chunks(sequence) == 0);
    }
    enter(0);
  }

 private:
  __device__ __forceinline__ void enter(int chunks_before) {
    keys = plan.keys(sequence);
    chunk = keys.first_chunk() + chunks_before;
    chunk_end = min(keys.end_chunk(), chunk + left);
  }
};

// The first key of the warp's tile of a chunk, and whether any key of the tile is visible.
__device__ __forceinline__ int tile_start(int chunk) {
  return chunk * kChunk + int(threadIdx.x / 32) * kTile;
}
__device__ __forceinline__ bool tile_visible(int start, const Keys& keys) {
  return start < keys.end && start + kTile > keys.first;
}

__device__ __forceinline__ int first_head(int unit) {
  return unit / kPasses * kGroup + unit % kPasses * kHeads;
}
// Of a unit's heads, those that there are.
__device__ __forceinline__ int head_count(int unit) {
  return kGroup % kHeads == 0 ? kHeads : min(kHeads, kGroup - unit % kPasses * kHeads);
}
