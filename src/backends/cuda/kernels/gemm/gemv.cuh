// gemv: linear for one to four rows of x, on the CUDA cores.
//
// A warp computes two rows of w at a time (gated: a gate row and its up row), a block every
// kWarps-th pair of a contiguous range; the ranges differ by one pair at most. Each warp streams
// its rows through a ring of its own in shared memory, in pieces of PIECE elements: whoever has
// read a stage fills it again, so warps never wait for each other. The first stages, and what
// PREFETCH adds in L2, are on their way before the kernel waits for its predecessor; then x is
// staged in shared memory. The next kernel may start as soon as the last pieces are requested: its
// own first pieces follow them. Float32 sums: a lane's over every 32nd vector of a row, then over
// the lanes; the order is fixed. Bound by reading w.
//
//   ELEMENT      bf16 or f16: of x, w and y
//   COLUMNS      of w, a multiple of 8
//   ROWS         of x that fit: 1, 2 or 4
//   WARPS        of a block
//   PIECE        elements of a row in a stage, a multiple of 256
//   STAGES       of a warp's ring
//   PREFETCH     stages more that are fetched to L2 at the start; only with BULK
//   BULK         the ring is filled by bulk copies (sm_90), else by cp.async
//   GATED, BIAS  whether it is, and whether there is one
//   ACTIVATION   as in activation.cuh; negative: none
#include "device/activation.cuh"
#include "device/dependency.cuh"
#include "device/hopper.cuh"
#include "device/reduce.cuh"

using Element = ELEMENT;
constexpr int kColumns = COLUMNS;
constexpr int kRows = ROWS;
constexpr int kWarps = WARPS;
constexpr int kPiece = PIECE;
constexpr int kStages = STAGES;
constexpr int kPrefetch = PREFETCH;
constexpr bool kBulk = BULK;
constexpr bool kGated = GATED;
constexpr bool kBias = BIAS;
constexpr int kActivation = ACTIVATION;

using Vector = Vector16<Element>;
constexpr int kThreads = kWarps * 32;
constexpr int kVectors = kColumns / Vector::kElements;     // of a row
constexpr int kPieceVectors = kPiece / Vector::kElements;  // of a row in a stage
constexpr int kSteps = kPieceVectors / 32;                 // vectors a lane reads of them
constexpr int kPieces = (kVectors + kPieceVectors - 1) / kPieceVectors;
constexpr int kLastVectors = kVectors - (kPieces - 1) * kPieceVectors;
constexpr int kStageElements = 2 * kPiece;  // of two rows
static_assert(kColumns % Vector::kElements == 0 && kPiece % (32 * Vector::kElements) == 0);
static_assert(kBulk || kPrefetch == 0);

// Dynamic shared memory: rings, x, barriers. The launcher counts the same.
constexpr int kRingElements = kWarps * kStages * kStageElements;
constexpr int kSharedX = kRows * kColumns;

// The pieces of a warp's rows in the order in which it reads them.
struct Pieces {
  const Element* w;
  int outputs;
  int pair, end, piece;

  __device__ __forceinline__ bool more() const { return pair < end; }
  __device__ __forceinline__ void advance() {
    if (++piece == kPieces) {
      piece = 0;
      pair += kWarps;
    }
  }
  // An odd number of outputs: the last row is read twice and written once.
  __device__ __forceinline__ const Element* row(int which) const {
    const int row = kGated ? which * outputs + pair : min(2 * pair + which, outputs - 1);
    return w + int64_t(row) * kColumns + piece * kPiece;
  }
  __device__ __forceinline__ int vectors() const {
    return kLastVectors < kPieceVectors && piece == kPieces - 1 ? kLastVectors : kPieceVectors;
  }
};

__device__ __forceinline__ void copy_bulk_once(void* to, const void* from, uint32_t bytes,
                                               uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1], %2, [%3], %4;" ::"r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(barrier)), "l"(kEvictFirst)
      : "memory");
}
__device__ __forceinline__ void prefetch_bulk(const void* from, uint32_t bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
}

// Starts filling a stage with the next piece, if there is one, by a whole warp.
__device__ __forceinline__ void fill(Pieces& next, Element* stage, uint64_t* barrier, int lane) {
  if constexpr (kBulk) {
    if (next.more() && lane == 0) {
      const uint32_t bytes = next.vectors() * 16;
      barrier_arrive_expect(barrier, 2 * bytes);
      copy_bulk_once(stage, next.row(0), bytes, barrier);
      copy_bulk_once(stage + kPiece, next.row(1), bytes, barrier);
    }
  } else {
    if (next.more()) {
      const int vectors = next.vectors();
      const Element* rows[2] = {next.row(0), next.row(1)};
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const int vector = step * 32 + lane;
        const int at = vector * Vector::kElements;
        if (vector >= vectors) break;
#pragma unroll
        for (int r = 0; r < 2; ++r)
          copy_async_16(shared_address(stage + r * kPiece + at), rows[r] + at);
      }
    }
    copy_async_commit();  // also when empty: groups are counted
  }
  next.advance();
}

// x to shared memory; rows that are not there are zero.
__device__ __forceinline__ void stage_x(const Element* x, int rows, int x_stride, Element* shared) {
  constexpr int kCount = kRows * kVectors;
  constexpr int kTurns = (kCount + kThreads - 1) / kThreads;
  constexpr int kAtOnce = kTurns < 4 ? kTurns : 4;
#pragma unroll 1
  for (int first = threadIdx.x; first < kCount; first += kAtOnce * kThreads) {
    Vector vectors[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int at = first + i * kThreads;
      const int row = at / kVectors, column = (at - row * kVectors) * Vector::kElements;
      vectors[i].raw = make_uint4(0, 0, 0, 0);
      if (at < kCount && row < rows) vectors[i].load(x + int64_t(row) * x_stride + column);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int at = first + i * kThreads;
      if (at < kCount) vectors[i].store(shared + at * Vector::kElements);
    }
  }
}

using Sums = float[2][kRows][2];  // of the two rows; even and odd columns apart

// Reads a stage of two rows, lets `refill` have it back, and adds its products.
template <int kPartVectors, class Refill>
__device__ __forceinline__ void multiply(const Element* stage, const Element* x, int lane,
                                         Sums& sums, const Refill& refill) {
  constexpr int kPartSteps = (kPartVectors + 31) / 32;
  Vector w[2][kPartSteps];
#pragma unroll
  for (int step = 0; step < kPartSteps; ++step) {
    const int vector = step * 32 + lane;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      w[r][step].raw = make_uint4(0, 0, 0, 0);
      if (kPartVectors >= (step + 1) * 32 || vector < kPartVectors)
        w[r][step].load(stage + r * kPiece + vector * Vector::kElements);
    }
  }
  refill();
#pragma unroll
  for (int step = 0; step < kPartSteps; ++step) {
    // A lane without a vector multiplies zeros by the row's last one.
    const int vector = kPartVectors >= (step + 1) * 32 ? step * 32 + lane
                                                       : min(step * 32 + lane, kPartVectors - 1);
    float x_values[kRows][Vector::kElements];
#pragma unroll
    for (int t = 0; t < kRows; ++t) {
      Vector part;
      part.load(x + t * kColumns + vector * Vector::kElements);
      part.to_floats(x_values[t]);
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float w_values[Vector::kElements];
      w[r][step].to_floats(w_values);
#pragma unroll
      for (int i = 0; i < Vector::kElements; ++i)
#pragma unroll
        for (int t = 0; t < kRows; ++t)
          sums[r][t][i % 2] = fmaf(w_values[i], x_values[t][i], sums[r][t][i % 2]);
    }
  }
}

__device__ __forceinline__ float activated(float z) {
  if constexpr (kActivation < 0)
    return z;
  else
    return activate<kActivation>(z);
}

// Adds up over the warp; lane t writes row t.
__device__ __forceinline__ void write_outputs(const Sums& sums, const float (&bias)[2], int pair,
                                              int outputs, int rows, int y_stride, Element* y,
                                              int lane) {
  float z[2] = {};
#pragma unroll
  for (int t = 0; t < kRows; ++t)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = warp_sum(sums[r][t][0] + sums[r][t][1]);
      if (lane == t) z[r] = sum + bias[r];
    }
  if (lane >= rows) return;
  y += int64_t(lane) * y_stride;
  if constexpr (kGated) {
    y[pair] = from_float<Element>(activated(z[0]) * z[1]);
  } else {
    y[2 * pair] = from_float<Element>(activated(z[0]));
    if (2 * pair + 1 < outputs) y[2 * pair + 1] = from_float<Element>(activated(z[1]));
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    gemv(const Element* w, const Element* x, const float* bias, Element* y, int outputs, int rows,
         int x_stride, int y_stride) {
  extern __shared__ __align__(128) unsigned char shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  auto* const rings = reinterpret_cast<Element*>(shared);
  Element* const ring = rings + warp * kStages * kStageElements;
  Element* const shared_x = rings + kRingElements;
  uint64_t* const full = reinterpret_cast<uint64_t*>(shared_x + kSharedX) + warp * kStages;

  const int pairs = kGated ? outputs : (outputs + 1) / 2;
  const auto begin = [pairs](unsigned block) { return int(block * unsigned(pairs) / gridDim.x); };
  const int first = begin(blockIdx.x) + warp, end = begin(blockIdx.x + 1);
  Pieces next{w, outputs, first, end, 0};
  if constexpr (kBulk) {
    if (lane == 0) {
#pragma unroll
      for (int i = 0; i < kStages; ++i) barrier_init(full + i, 1);
      fence_barrier_init();
    }
    __syncwarp();
  }
#pragma unroll
  for (int i = 0; i < kStages; ++i) fill(next, ring + i * kStageElements, full + i, lane);
  if (kPrefetch > 0 && lane == 0) {
    Pieces later = next;
#pragma unroll 1
    for (int i = 0; i < kPrefetch && later.more(); ++i, later.advance()) {
      prefetch_bulk(later.row(0), later.vectors() * 16);
      prefetch_bulk(later.row(1), later.vectors() * 16);
    }
  }
  if (warp == 0 && !next.more()) launch_dependents();

  wait_for_dependency();
  stage_x(x, rows, x_stride, shared_x);
  __syncthreads();

  RingPosition<kStages> at;
  for (int pair = first; pair < end; pair += kWarps) {
    float pair_bias[2] = {};
    if constexpr (kBias) {
      pair_bias[0] = bias[kGated ? pair : 2 * pair];
      pair_bias[1] = bias[kGated ? outputs + pair : min(2 * pair + 1, outputs - 1)];
    }
    Sums sums = {};
#pragma unroll 1
    for (int piece = 0; piece < kPieces; ++piece) {
      Element* const stage = ring + at.stage * kStageElements;
      const auto refill = [&] {
        if constexpr (kBulk) __syncwarp();
        fill(next, stage, full + at.stage, lane);
        if (warp == 0 && !next.more()) launch_dependents();
      };
      if constexpr (kBulk)
        barrier_wait(full + at.stage, at.parity);
      else
        copy_async_wait<kStages - 1>();  // a lane reads what it has copied itself
      const Element* const x_part = shared_x + piece * kPiece;
      if (kLastVectors == kPieceVectors || piece < kPieces - 1)
        multiply<kPieceVectors>(stage, x_part, lane, sums, refill);
      else
        multiply<kLastVectors>(stage, x_part, lane, sums, refill);
      at.advance();
    }
    write_outputs(sums, pair_bias, pair, outputs, rows, y_stride, y, lane);
  }
}
