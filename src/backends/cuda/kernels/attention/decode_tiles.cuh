// A warp of attention_decode at work: loading tiles of keys and values, and the running softmax
// over them. See decode.cuh.
#pragma once

#include "kernels/attention/decode_plan.cuh"

struct Problem {
  const Element* q;
  const Element* cache;
  const int* block_table;
  const float* slopes;
  Element* y;
  int64_t q_stride, y_stride;
  int table_stride;
  float scale, softcap;
};

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// The 8x8 matrix whose rows the lanes hold as mma's fragments, transposed.
__device__ __forceinline__ uint32_t transpose_matrix(uint32_t x) {
  uint32_t y;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

// Fills the places of a warp's ring, in the order in which the warp reads them.
struct Feeder {
  const Problem& problem;
  UnitWalk walk;
  int chunk;  // the next one
  bool fresh = true;

  // The tile whose copies are issued next; there may be none.
  struct Tile {
    bool some = false;
    bool fresh;  // the warp's first tile of a unit: brings the queries
    int start, sequence, unit;
    int block;  // of the cache; of row lane % kTile where a tile may lie in several
    Keys keys{0, 0};
  };

  __device__ __forceinline__ Feeder(const Problem& problem, const UnitWalk& walk)
      : problem(problem), walk(walk), chunk(walk.chunk) {}

  // Its block is on the way when this returns.
  __device__ __forceinline__ Tile next() {
    Tile tile;
    while (walk.more()) {
      if (chunk == walk.chunk_end) {
        walk.next();
        chunk = walk.chunk;
        fresh = true;
        continue;
      }
      tile.start = tile_start(chunk++);
      if (!tile_visible(tile.start, walk.keys)) continue;
      tile.some = true;
      tile.fresh = fresh;
      tile.sequence = walk.sequence;
      tile.unit = walk.unit;
      tile.keys = walk.keys;
      tile.block = problem.block_table[int64_t(tile.sequence) * problem.table_stride +
                                       key_of_lane(tile) / kBlockSize];
      fresh = false;
      break;
    }
    return tile;
  }

  __device__ __forceinline__ void issue_keys(const Tile& tile, uint32_t stage) const {
    if (tile.some) {
      if (tile.fresh) issue_queries(tile, stage);
      issue_rows(tile, 0, stage + kKeysAt);
    }
    copy_async_commit();
  }
  __device__ __forceinline__ void issue_values(const Tile& tile, uint32_t stage) const {
    if (tile.some) issue_rows(tile, 1, stage + kValuesAt);
    copy_async_commit();
  }

 private:
  __device__ __forceinline__ static int key_of_lane(const Tile& tile) {
    if constexpr (kTileInBlock) return tile.start;
    return min(max(tile.start + int(threadIdx.x % kTile), tile.keys.first), tile.keys.end - 1);
  }
  __device__ __forceinline__ void issue_queries(const Tile& tile, uint32_t to) const {
    const Element* from =
        problem.q + tile.sequence * problem.q_stride + int64_t(first_head(tile.unit)) * kHeadDim;
    const int heads = head_count(tile.unit);
#pragma unroll
    for (int i = 0; i < (kHeads * kVectors + 31) / 32; ++i) {
      const int vector = i * 32 + threadIdx.x % 32;
      const int head = vector / kVectors;
      if (head < heads) copy_async_16(to + head * kRow + vector % kVectors * 16, from + vector * 8);
    }
  }
  // Half 0 of the cache's blocks: keys; half 1: values.
  __device__ __forceinline__ void issue_rows(const Tile& tile, int half, uint32_t to) const {
    constexpr int kCopies = kTile * kVectors / 32;
    const int lane = threadIdx.x % 32;
    const int64_t head = (int64_t(tile.block) * 2 + half) * kKvHeads + tile.unit / kPasses;
    const Element* from =
        problem.cache + (head * kBlockSize + key_of_lane(tile) % kBlockSize) * kHeadDim;
    const int first_row = tile.keys.first - tile.start;
    const int end_row = tile.keys.end - tile.start;
    const auto visible = [&](int row) { return row < end_row && (!kWindow || row >= first_row); };
    if constexpr (kTileInBlock && 32 % kVectors == 0) {
      constexpr int kRows = 32 / kVectors;  // that a warp copies at a time
      const int row = lane / kVectors;
      from += lane * 8;
      to += row * kRow + lane % kVectors * 16;
#pragma unroll
      for (int i = 0; i < kCopies; ++i)
        copy_async_16(to + i * kRows * kRow, from + i * 256, visible(row + i * kRows));
    } else {
#pragma unroll
      for (int i = 0; i < kCopies; ++i) {
        const int vector = i * 32 + lane;
        const int row = vector / kVectors;
        const int column = vector % kVectors;
        const Element* row_from = from + row * kHeadDim;
        if constexpr (!kTileInBlock)
          row_from = reinterpret_cast<const Element*>(
              __shfl_sync(0xffffffffu, reinterpret_cast<uint64_t>(from), row));
        copy_async_16(to + row * kRow + column * 16, row_from + column * 8, visible(row));
      }
    }
  }
};

// A warp's running softmax of a unit. Lane l holds heads 2 (l % 4) and + 1 of each 8, and of those
// the dimensions l / 4 and l / 4 + 8 of each 16.
struct Running {
  float top[kHeadTiles][2];    // largest score, times log2(e)
  float total[kHeadTiles][2];  // of the lane's keys
  float mixed[kSteps][kHeadTiles][4];
  uint32_t query[kHeadTiles][kSteps][2];
  float slope[kHeadTiles][2];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int h = 0; h < kHeadTiles; ++h) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        top[h][e] = kLowest;
        total[h][e] = 0.0f;
        slope[h][e] = 0.0f;
      }
#pragma unroll
      for (int d = 0; d < kSteps; ++d)
#pragma unroll
        for (int c = 0; c < 4; ++c) mixed[d][h][c] = 0.0f;
    }
  }

  __device__ __forceinline__ void load_queries(const Problem& problem, int unit, uint32_t stage) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int h = 0; h < kHeadTiles; ++h) {
      const uint32_t row = stage + min(h * 8 + lane % 8, kHeads - 1) * kRow + lane / 8 * 16;
#pragma unroll
      for (int k = 0; k < kSteps; k += 2) {  // an odd last one reads on, into the keys
        uint32_t r[4];
        load_matrix_x4(r, row + k * 32);
        query[h][k][0] = r[0];
        query[h][k][1] = r[1];
        if (k + 1 < kSteps) {
          query[h][k + 1][0] = r[2];
          query[h][k + 1][1] = r[3];
        }
      }
      if constexpr (kAlibi) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int head = min(h * 8 + lane % 4 * 2 + e, head_count(unit) - 1);
          slope[h][e] = problem.slopes[first_head(unit) + head];
        }
      }
    }
  }

  // Keys' fragments: lane l holds keys l / 4 and + 8 of each 16.
  using Scores = float[kKeyTiles][kHeadTiles][4];
  __device__ __forceinline__ void score(uint32_t stage, Scores& scores) const {
    const int lane = threadIdx.x % 32;
    const uint32_t row = stage + kKeysAt + lane % 16 * kRow + lane / 16 * 16;
#pragma unroll
    for (int t = 0; t < kKeyTiles; ++t) {
      float sums[2][kHeadTiles][4];  // two chains of sums
#pragma unroll
      for (int h = 0; h < kHeadTiles; ++h)
#pragma unroll
        for (int c = 0; c < 4; ++c) sums[0][h][c] = sums[1][h][c] = 0.0f;
#pragma unroll
      for (int k = 0; k < kSteps; ++k) {
        uint32_t a[4];
        load_matrix_x4(a, row + t * 16 * kRow + k * 32);
#pragma unroll
        for (int h = 0; h < kHeadTiles; ++h) mma_16816<Element>(sums[k % 2][h], a, query[h][k]);
      }
#pragma unroll
      for (int h = 0; h < kHeadTiles; ++h)
#pragma unroll
        for (int c = 0; c < 4; ++c) scores[t][h][c] = sums[0][h][c] + sums[1][h][c];
    }
  }

  // Scores become probabilities relative to the new top; what was there before is rescaled.
  __device__ __forceinline__ void soften(const Problem& problem, int start, const Keys& keys,
                                         Scores& scores) {
    const int lane = threadIdx.x % 32;
    const float factor = kSoftcap ? 1.0f / problem.softcap : kLog2E;
    const float scale = problem.scale * factor;
#pragma unroll
    for (int h = 0; h < kHeadTiles; ++h)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float tile_top = kLowest;
#pragma unroll
        for (int t = 0; t < kKeyTiles; ++t)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int key = start + t * 16 + half * 8 + lane / 4;
            float& x = scores[t][h][half * 2 + e];
            x *= scale;
            if constexpr (kAlibi) x = fmaf(slope[h][e] * factor, float(key - keys.end + 1), x);
            if constexpr (kSoftcap) {
              // tanh, within 1e-7.
              const float power = exp2_fast(2.0f * kLog2E * x);
              x = problem.softcap * kLog2E * (1.0f - __fdividef(2.0f, 1.0f + power));
            }
            if (key >= keys.end || (kWindow && key < keys.first)) x = kLowest;
            tile_top = fmaxf(tile_top, x);
          }
#pragma unroll
        for (int offset = 4; offset < 32; offset *= 2)
          tile_top = fmaxf(tile_top, __shfl_xor_sync(0xffffffffu, tile_top, offset));
        const float new_top = fmaxf(top[h][e], tile_top);
        const float decay = exp2_fast(top[h][e] - new_top);
        top[h][e] = new_top;
        float sum = 0.0f;
#pragma unroll
        for (int t = 0; t < kKeyTiles; ++t)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            float& x = scores[t][h][half * 2 + e];
            x = exp2_fast(x - new_top);
            sum += x;
          }
        total[h][e] = fmaf(total[h][e], decay, sum);
#pragma unroll
        for (int d = 0; d < kSteps; ++d) {
          mixed[d][h][e] *= decay;
          mixed[d][h][2 + e] *= decay;
        }
      }
  }

  __device__ __forceinline__ void mix(uint32_t stage, const Scores& probabilities) {
    const int lane = threadIdx.x % 32;
    uint32_t p[kKeyTiles][kHeadTiles][2];
#pragma unroll
    for (int t = 0; t < kKeyTiles; ++t)
#pragma unroll
      for (int h = 0; h < kHeadTiles; ++h)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          p[t][h][half] = transpose_matrix(
              pack2<Element>(probabilities[t][h][half * 2], probabilities[t][h][half * 2 + 1]));
    const uint32_t row = stage + kValuesAt + (lane / 16 * 8 + lane % 8) * kRow + lane / 8 % 2 * 16;
#pragma unroll
    for (int d = 0; d < kSteps; ++d)
#pragma unroll
      for (int t = 0; t < kKeyTiles; ++t) {
        uint32_t a[4];
        load_matrix_x4_transposed(a, row + t * 16 * kRow + d * 32);
#pragma unroll
        for (int h = 0; h < kHeadTiles; ++h) mma_16816<Element>(mixed[d][h], a, p[t][h]);
      }
  }

  // Into shared memory: [kWarps, kHeads, kJoinRow] sums, [kWarps, kHeads] tops and totals.
  __device__ __forceinline__ void hand_over(float* sums, float2* totals) const {
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
#pragma unroll
    for (int h = 0; h < kHeadTiles; ++h)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float sum = total[h][e];
#pragma unroll
        for (int offset = 4; offset < 32; offset *= 2)
          sum += __shfl_xor_sync(0xffffffffu, sum, offset);
        const int head = h * 8 + lane % 4 * 2 + e;
        if (head >= kHeads) continue;
        if (lane < 4) totals[warp * kHeads + head] = make_float2(top[h][e], sum);
        float* to = sums + (warp * kHeads + head) * kJoinRow + lane / 4;
#pragma unroll
        for (int d = 0; d < kSteps; ++d) {
          to[d * 16] = mixed[d][h][e];
          to[d * 16 + 8] = mixed[d][h][2 + e];
        }
      }
  }
};
