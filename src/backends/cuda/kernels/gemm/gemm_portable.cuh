// linear for many rows on any GPU from sm_80 on: y[t, i] = f(sum_k x[t, k] w[i, k] + bias[i]), and
// the gated form of ops/linear.h. Float32 sums on the tensor cores (mma.sync), one rounding.
//
// A block computes kTileM rows by kTileN columns (gate and up columns in halves when gated), blocks
// in bands of 8 tiles of rows, so that those that run together share operands in L2. 32 of K at a
// time pass through a ring of kStages in shared memory, filled by cp.async: rows of 64 bytes, whose
// 16-byte pieces are permuted so that ldmatrix meets no bank twice. Results pass through the same
// memory to be stored 16 bytes at a time. Bound by the tensor cores.
//
//   ELEMENT     bf16 or f16: of x, w and y
//   OUTPUTS     rows of w; the columns of y, or twice as many when gated. Any number
//   DEPTH       K, a multiple of 8
//   GATED, BIAS whether; ACTIVATION a number of device/activation.cuh or -1
//   TILE_M, TILE_N, WARPS_M, WARPS_N: of a block; STAGES
//   VECTOR      rows of y lie at multiples of 16 bytes
#include "device/activation.cuh"
#include "device/dependency.cuh"
#include "device/mma.cuh"

using Element = ELEMENT;
constexpr int kWeightRows = OUTPUTS;
constexpr int kDepth = DEPTH;
constexpr bool kGated = GATED;
constexpr bool kBias = BIAS;
constexpr int kActivation = ACTIVATION;
constexpr int kTileM = TILE_M;
constexpr int kTileN = TILE_N;
constexpr int kWarpsM = WARPS_M;
constexpr int kWarpsN = WARPS_N;
constexpr int kStages = STAGES;
constexpr bool kVector = VECTOR;

constexpr int divide_up(int a, int b) { return (a + b - 1) / b; }

constexpr int kThreads = 32 * kWarpsM * kWarpsN;
constexpr int kColumns = kGated ? kWeightRows / 2 : kWeightRows;  // of y
constexpr int kTileColumns = kGated ? kTileN / 2 : kTileN;
constexpr int kTilesN = divide_up(kColumns, kTileColumns);
constexpr int kBand = 8;

constexpr int kStepDepth = 32;
constexpr int kPieces = kStepDepth / 8;  // of 16 bytes in a row of a stage
constexpr int kSteps = divide_up(kDepth, kStepDepth);
constexpr int kRowBytes = 2 * kStepDepth;
constexpr int kStageBytes = (kTileM + kTileN) * kRowBytes;

constexpr int kWarpM = kTileM / kWarpsM, kWarpN = kTileN / kWarpsN;  // of a warp
constexpr int kFragmentsM = kWarpM / 16, kFragmentsN = kWarpN / 8;
constexpr int kStagedRow = kTileColumns + 8;  // elements; the gap spreads rows over the banks
static_assert(kDepth % 8 == 0 && kWarpM % 16 == 0 && kWarpN % 32 == 0);
static_assert(kTileM * kPieces % kThreads == 0 && kTileN * kPieces % kThreads == 0);
static_assert(kTileM * kStagedRow * 2 <= kStages * kStageBytes);

__device__ __forceinline__ uint32_t piece_offset(int row, int piece) {
  return row * kRowBytes + ((piece ^ (row >> 1 & 3)) << 4);
}

// Row of w that row `r` of the tile's second operand is, kWeightRows if none.
__device__ __forceinline__ int weight_row(int r, int column) {
  if (!kGated) return column + r;
  const int c = column + r % kTileColumns;
  return c < kColumns ? c + r / kTileColumns * kColumns : kWeightRows;
}

__device__ __forceinline__ void load_w(uint32_t stage, const Element* w, int step, int column) {
#pragma unroll
  for (int i = 0; i < kTileN * kPieces / kThreads; ++i) {
    const int r = (threadIdx.x + i * kThreads) / kPieces, piece = threadIdx.x % kPieces;
    const int row = weight_row(r, column), k = step * kStepDepth + piece * 8;
    const bool valid = row < kWeightRows && k < kDepth;
    const Element* from = valid ? w + static_cast<int64_t>(row) * kDepth + k : w;
    copy_async_16(stage + kTileM * kRowBytes + piece_offset(r, piece), from, valid);
  }
}

__device__ __forceinline__ void load_x(uint32_t stage, const Element* x, int64_t x_stride, int rows,
                                       int step, int row) {
#pragma unroll
  for (int i = 0; i < kTileM * kPieces / kThreads; ++i) {
    const int r = (threadIdx.x + i * kThreads) / kPieces, piece = threadIdx.x % kPieces;
    const int k = step * kStepDepth + piece * 8;
    const bool valid = row + r < rows && k < kDepth;
    const Element* from = valid ? x + (row + r) * x_stride + k : x;
    copy_async_16(stage + piece_offset(r, piece), from, valid);
  }
}

// First row, in the tile, of a warp's pair i of fragments of w: gate pairs, then up pairs.
__device__ __forceinline__ int pair_row(int warp_n, int i) {
  if (!kGated) return warp_n * kWarpN + i * 16;
  constexpr int kHalf = kFragmentsN / 4;
  return i / kHalf * kTileColumns + warp_n * (kWarpN / 2) + i % kHalf * 16;
}

__device__ __forceinline__ void multiply_stage(float (&d)[kFragmentsM][kFragmentsN][4],
                                               uint32_t stage, int warp_m, int warp_n, int lane) {
#pragma unroll
  for (int k = 0; k < kStepDepth / 16; ++k) {
    uint32_t a[kFragmentsM][4], b[kFragmentsN / 2][4];
#pragma unroll
    for (int i = 0; i < kFragmentsM; ++i)
      load_matrix_x4(a[i],
                     stage + piece_offset(warp_m * kWarpM + i * 16 + lane % 16, 2 * k + lane / 16));
#pragma unroll
    for (int i = 0; i < kFragmentsN / 2; ++i)
      load_matrix_x4(b[i], stage + kTileM * kRowBytes +
                               piece_offset(pair_row(warp_n, i) + lane / 16 * 8 + lane % 8,
                                            2 * k + lane / 8 % 2));
#pragma unroll
    for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
      for (int j = 0; j < kFragmentsN; ++j) {
        const uint32_t pair[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
        mma_16816<Element>(d[i][j], a[i], pair);
      }
  }
}

__device__ __forceinline__ void add_bias(float (&z)[4], const float* bias, int column, int index) {
  const float low = column < kColumns ? bias[index] : 0.0f;
  const float high = column + 1 < kColumns ? bias[index + 1] : 0.0f;
  z[0] += low;
  z[1] += high;
  z[2] += low;
  z[3] += high;
}

__device__ __forceinline__ float finish(float z) {
  if constexpr (kActivation >= 0)
    return activate<kActivation>(z);
  else
    return z;
}

// A warp's results into the staged tile [kTileM][kStagedRow].
__device__ __forceinline__ void stage_results(const float (&d)[kFragmentsM][kFragmentsN][4],
                                              Element* staged, const float* bias, int column,
                                              int warp_m, int warp_n, int lane) {
  constexpr int kResults = kGated ? kFragmentsN / 2 : kFragmentsN;
#pragma unroll
  for (int j = 0; j < kResults; ++j) {
    const int c = warp_n * kResults * 8 + j * 8 + 2 * (lane % 4);
#pragma unroll
    for (int i = 0; i < kFragmentsM; ++i) {
      float z[4] = {d[i][j][0], d[i][j][1], d[i][j][2], d[i][j][3]};
      if constexpr (kBias) add_bias(z, bias, column + c, column + c);
#pragma unroll
      for (int e = 0; e < 4; ++e) z[e] = finish(z[e]);
      if constexpr (kGated) {
        const int u = kFragmentsN / 2 + j;
        float up[4] = {d[i][u][0], d[i][u][1], d[i][u][2], d[i][u][3]};
        if constexpr (kBias) add_bias(up, bias, column + c, kColumns + column + c);
#pragma unroll
        for (int e = 0; e < 4; ++e) z[e] *= up[e];
      }
      Element* to = staged + (warp_m * kWarpM + i * 16 + lane / 4) * kStagedRow + c;
      *reinterpret_cast<uint32_t*>(to) = pack2<Element>(z[0], z[1]);
      *reinterpret_cast<uint32_t*>(to + 8 * kStagedRow) = pack2<Element>(z[2], z[3]);
    }
  }
}

__device__ __forceinline__ void store_results(const Element* staged, Element* y, int64_t y_stride,
                                              int rows, int row, int column) {
  constexpr int kVectors = kTileColumns / 8;
  for (int i = threadIdx.x; i < kTileM * kVectors; i += kThreads) {
    const int r = i / kVectors, c = i % kVectors * 8;
    if (row + r >= rows) break;
    const Element* from = staged + r * kStagedRow + c;
    Element* to = y + (row + r) * y_stride + column + c;
    if (kVector && column + c + 8 <= kColumns) {
      Vector16<Element> vector;
      vector.load(from);
      vector.store(to);
    } else {
      for (int e = 0; e < 8 && column + c + e < kColumns; ++e) to[e] = from[e];
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, 256 / kThreads * 2)
    gemm(const Element* x, const Element* w, Element* y, const float* bias, int64_t x_stride,
         int64_t y_stride, int rows) {
  extern __shared__ __align__(128) uint8_t shared[];
  const uint32_t ring = shared_address(shared);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int warp_m = warp % kWarpsM, warp_n = warp / kWarpsM;

  const int tiles_m = divide_up(rows, kTileM);
  const int band = blockIdx.x / (kBand * kTilesN);
  const int height = min(kBand, tiles_m - band * kBand);
  const int within = blockIdx.x - band * kBand * kTilesN;
  const int row = (band * kBand + within % height) * kTileM;
  const int column = within / height * kTileColumns;

  // The first stages of w are on their way before x, the previous kernel's work, is there.
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s)
    if (s < kSteps) load_w(ring + s * kStageBytes, w, s, column);
  wait_for_dependency();
  launch_dependents();
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < kSteps) load_x(ring + s * kStageBytes, x, x_stride, rows, s, row);
    copy_async_commit();
  }

  float d[kFragmentsM][kFragmentsN][4] = {};
  int stage = 0, next = kStages - 1;
#pragma unroll 1
  for (int step = 0; step < kSteps; ++step) {
    copy_async_wait<kStages - 2>();
    __syncthreads();
    if (step + kStages - 1 < kSteps) {
      load_w(ring + next * kStageBytes, w, step + kStages - 1, column);
      load_x(ring + next * kStageBytes, x, x_stride, rows, step + kStages - 1, row);
    }
    copy_async_commit();
    multiply_stage(d, ring + stage * kStageBytes, warp_m, warp_n, lane);
    stage = stage + 1 == kStages ? 0 : stage + 1;
    next = next + 1 == kStages ? 0 : next + 1;
  }
  copy_async_wait<0>();
  __syncthreads();
  Element* staged = reinterpret_cast<Element*>(shared);
  stage_results(d, staged, bias, column, warp_m, warp_n, lane);
  __syncthreads();
  store_results(staged, y, y_stride, rows, row, column);
}
