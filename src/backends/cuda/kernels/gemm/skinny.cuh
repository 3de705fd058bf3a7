// skinny: linear for up to 128 rows of x ("tokens"), on the tensor cores of sm_80 and later.
//
// The weights are the first operand: 128 of their rows are a tile, 64 of k a chunk; eight warps
// have 16 rows each and all tokens. Blocks take equal runs of (tile, chunk) units, see
// skinny_split.cuh; chunks of w and x come through a ring of cp.async stages that goes on across
// tiles, in rows of 128 bytes whose 16-byte parts are swizzled (part p of row r at p ^ (r % 8)) for
// ldmatrix. Float32 sums. Bound by reading w.
//
//   STAGES       of the ring
//   the others   see skinny_output.cuh
#include "device/dependency.cuh"
#include "kernels/gemm/skinny_output.cuh"

constexpr int kStages = STAGES;
constexpr int kRowBytes = kChunk * 2;
constexpr int kStageBytes = (kTileRows + kTokens) * kRowBytes;  // w, then x
static_assert(kStages >= 2 && kCluster == 1);

// What one chunk is copied from. Rows and columns that are not there become zeros.
struct Operands {
  const Element* w;
  const Element* x;
  int outputs, columns, tokens, x_stride;

  // Row of w that is row `r` of a tile, or -1.
  __device__ __forceinline__ int weight_row(int tile, int r) const {
    const int output = tile * kTileOutputs + (kGated ? r / 16 * 8 + r % 8 : r);
    if (output >= outputs) return -1;
    return kGated && r / 8 % 2 == 1 ? outputs + output : output;
  }
};

__device__ __forceinline__ uint32_t swizzled(int row, int part) {
  return row * kRowBytes + ((part ^ (row % 8)) * 16);
}

__device__ __forceinline__ void copy_weights(const Operands& from, int tile, int chunk,
                                             uint32_t stage) {
  const int part = threadIdx.x % 8;
  const int column = chunk * kChunk + part * 8;
#pragma unroll
  for (int i = 0; i < kTileRows / 32; ++i) {
    const int r = threadIdx.x / 8 + i * 32;
    const int row = from.weight_row(tile, r);
    const bool valid = row >= 0 && column < from.columns;
    copy_async_16(stage + swizzled(r, part),
                  valid ? from.w + int64_t(row) * from.columns + column : from.w, valid);
  }
}

__device__ __forceinline__ void copy_tokens(const Operands& from, int chunk, uint32_t stage) {
  const int part = threadIdx.x % 8;
  const int column = chunk * kChunk + part * 8;
#pragma unroll
  for (int i = 0; i < (kTokens + 31) / 32; ++i) {
    const int token = threadIdx.x / 8 + i * 32;
    if (kTokens < 32 && token >= kTokens) break;
    const bool valid = token < from.tokens && column < from.columns;
    copy_async_16(stage + kTileRows * kRowBytes + swizzled(token, part),
                  valid ? from.x + int64_t(token) * from.x_stride + column : from.x, valid);
  }
}

__device__ __forceinline__ void multiply_chunk(uint32_t stage, int warp, int lane, Sums& d) {
  const uint32_t x = stage + kTileRows * kRowBytes;
  const int row = warp * 16 + lane % 16;
#pragma unroll
  for (int step = 0; step < kChunk / 16; step += 2) {
    uint32_t a[2][4];
#pragma unroll
    for (int s = 0; s < 2; ++s)
      load_matrix_x4(a[s], stage + swizzled(row, 2 * (step + s) + lane / 16));
#pragma unroll
    for (int j = 0; j < kFragments; ++j) {
      uint32_t b[4];  // 8 tokens, k of both steps
      load_matrix_x4(b, x + swizzled(8 * j + lane % 8, 2 * step + lane / 8));
#pragma unroll
      for (int s = 0; s < 2; ++s) mma_16816<Element>(d[j], a[s], {b[2 * s], b[2 * s + 1]});
    }
  }
}

extern "C" __global__ void __launch_bounds__(kWorkers, 1)
    skinny(const Element* w, const Element* x, const float* bias, Element* y, float4* partials,
           uint32_t* arrivals, int tokens, int outputs, int columns, int x_stride, int y_stride) {
  extern __shared__ __align__(128) unsigned char shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const SkinnyWork work(outputs, columns);
  const Operands from{w, x, outputs, columns, tokens, x_stride};
  const SkinnyOutput out{y, bias, partials, arrivals, tokens, outputs, y_stride};
  const uint32_t ring = shared_address(shared);
  const int chunks = work.split.chunks, end = work.end();
  int unit = work.begin();
  int tile = unit / chunks, chunk = unit - tile * chunks;

  // What is copied next, kStages - 1 units ahead.
  int next = unit, next_tile = tile, next_chunk = chunk, next_stage = 0;
  const auto advance = [&] {
    ++next;
    if (++next_chunk == chunks) {
      next_chunk = 0;
      ++next_tile;
    }
    next_stage = next_stage + 1 == kStages ? 0 : next_stage + 1;
  };
  // Weights depend on nobody; the first group has those of all stages.
#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) {
    if (next < end) copy_weights(from, next_tile, next_chunk, ring + next_stage * kStageBytes);
    advance();
  }
  if (next >= end) launch_dependents();
  wait_for_dependency();
#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) {
    if (unit + i < end) copy_tokens(from, (chunk + i) % chunks, ring + i * kStageBytes);
    copy_async_commit();
  }

  Sums d = {};
  int stage = 0;
#pragma unroll 1
  for (; unit < end; ++unit) {
    copy_async_wait<kStages - 2>();
    __syncthreads();  // this stage is there for all, and all have read the one before
    if (next < end) {
      copy_weights(from, next_tile, next_chunk, ring + next_stage * kStageBytes);
      copy_tokens(from, next_chunk, ring + next_stage * kStageBytes);
    } else {
      launch_dependents();
    }
    copy_async_commit();
    advance();
    multiply_chunk(ring + stage * kStageBytes, warp, lane, d);
    stage = stage + 1 == kStages ? 0 : stage + 1;
    if (++chunk == chunks || unit + 1 == end) {
      finish_tile(out, work, tile, d, threadIdx.x);
#pragma unroll
      for (int j = 0; j < kFragments; ++j) d[j][0] = d[j][1] = d[j][2] = d[j][3] = 0.0f;
      chunk = 0;
      ++tile;
    }
  }
  add_up(out, work, threadIdx.x);
}
