// skinny on Hopper: linear for up to 128 rows of x ("tokens"), by bulk tensor copies and wgmma.
//
// As in skinny.cuh the weights are the first operand, blocks take equal runs of units (128 rows of
// w by 64 of k), and what they share is added up in a fixed order. Here two warpgroups have 64 rows
// of a tile each, and two threads more feed them: one with w through a deep ring, one with x (which
// lies in L2) through a shorter one. The ring is full and PREFETCH units more are on their way to
// L2 before the kernel waits for its predecessor. The next kernel may start once this one's last
// weights are requested, so that its own follow them while this one adds up and writes. A gated
// tile's rows are read in the order of its sums (8 gate rows, their 8 up rows, ...) by a
// four-dimensional box. In a cluster of two, both blocks need the same x: each requests half of it
// for both. Float32 sums. Bound by reading w; x adds kTokens / (128 CLUSTER) of that to what is
// read from L2.
//
//   STAGES       of w's ring, of 16 KiB each
//   X_STAGES     of x's ring, at most STAGES
//   PREFETCH     units fetched to L2 at the start, beyond the ring
//   CLUSTER      1 or 2; 2 from 16 tokens on
//   the others   see skinny_output.cuh
#include "device/dependency.cuh"
#include "device/hopper.cuh"
#include "device/wgmma.cuh"
#include "kernels/gemm/skinny_output.cuh"

constexpr int kStages = STAGES;
constexpr int kXStages = X_STAGES;
constexpr int kPrefetch = PREFETCH;
static_assert(kXStages >= 1 && kXStages <= kStages);
static_assert(kCluster == 1 || (kCluster == 2 && kTokens >= 16));

constexpr int kRowBytes = kChunk * 2;
constexpr int kWeightBytes = kTileRows * kRowBytes;
constexpr int kTokenBytes = kTokens * kRowBytes;
constexpr int kWorkerWarps = kWorkers / 32;
constexpr int kThreads = kWorkers + 64;  // and a warp each for w and x

// Dynamic shared memory. The launcher counts the same.
struct Shared {
  unsigned char w[kStages][kWeightBytes];
  unsigned char x[kXStages][kTokenBytes];
  uint64_t full[kStages];      // w and x of a unit have arrived
  uint64_t empty[kStages];     // w has been read
  uint64_t x_empty[kXStages];  // x has been read, by all blocks of the cluster
};

__device__ __forceinline__ void copy_weights(void* to, const TensorMap* map, uint64_t* barrier,
                                             int tile, int chunk) {
  if constexpr (kGated) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
        ".L2::cache_hint [%0], [%1, {%3, %4, %4, %5}], [%2], %6;" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(barrier)), "r"(chunk * kChunk), "r"(0),
        "r"(tile * (kTileOutputs / 8)), "l"(kEvictFirst)
        : "memory");
  } else {
    copy_tensor_2d_hint(to, map, barrier, chunk * kChunk, tile * kTileRows, kEvictFirst);
  }
}
__device__ __forceinline__ void prefetch_weights(const TensorMap* map, int tile, int chunk) {
  if constexpr (kGated)
    asm volatile("cp.async.bulk.prefetch.tensor.4d.L2.global [%0, {%1, %2, %2, %3}];" ::"l"(map),
                 "r"(chunk * kChunk), "r"(0), "r"(tile * (kTileOutputs / 8))
                 : "memory");
  else
    asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global [%0, {%1, %2}];" ::"l"(map),
                 "r"(chunk * kChunk), "r"(tile * kTileRows)
                 : "memory");
}

__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// The units of a block, one after the other.
struct Unit {
  int group, chunk, chunks;
  __device__ __forceinline__ explicit Unit(const SkinnyWork& work)
      : group(work.begin() / work.split.chunks),
        chunk(work.begin() % work.split.chunks),
        chunks(work.split.chunks) {}
  __device__ __forceinline__ void advance() {
    if (++chunk == chunks) {
      chunk = 0;
      ++group;
    }
  }
};

// One thread: makes the barriers and requests w, `start` what depends on nobody.
struct WeightProducer {
  Shared& shared;
  const SkinnyWork& work;
  const TensorMap* map;
  int count;  // of units
  Unit next;

  __device__ __forceinline__ void request(int stage) {
    barrier_arrive_expect(&shared.full[stage], kWeightBytes + kTokenBytes);
    copy_weights(shared.w[stage], map, &shared.full[stage], work.tile(next.group), next.chunk);
    next.advance();
  }
  __device__ __forceinline__ void start() {
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
      barrier_init(&shared.full[i], 1);
      barrier_init(&shared.empty[i], kWorkerWarps);
    }
#pragma unroll
    for (int i = 0; i < kXStages; ++i) barrier_init(&shared.x_empty[i], kWorkerWarps * kCluster);
    fence_barrier_init();
#pragma unroll 1
    for (int i = 0; i < min(kStages, count); ++i) request(i);
    if (count <= kStages) launch_dependents();
    Unit later = next;
#pragma unroll 1
    for (int i = kStages; i < min(kStages + kPrefetch, count); ++i, later.advance())
      prefetch_weights(map, work.tile(later.group), later.chunk);
  }
  __device__ __forceinline__ void run() {
    RingPosition<kStages> at;
#pragma unroll 1
    for (int i = kStages; i < count; ++i) {
      barrier_wait(&shared.empty[at.stage], at.parity);
      request(at.stage);
      at.advance();
    }
    launch_dependents();
  }
};

// One thread: requests x, of each unit this block's part for the whole cluster.
__device__ __forceinline__ void produce_tokens(Shared& shared, const SkinnyWork& work,
                                               const TensorMap* map, int count) {
  constexpr int kPart = kTokens / kCluster;
  prefetch_tensor_map(map);
  wait_for_dependency();
  Unit next(work);
  RingPosition<kXStages> at, released;
  RingPosition<kStages> unit;
#pragma unroll 1
  for (int i = 0; i < count; ++i) {
    if (i >= kXStages) {
      barrier_wait(&shared.x_empty[released.stage], released.parity);
      released.advance();
    }
    void* const to = shared.x[at.stage] + work.rank * kPart * kRowBytes;
    uint64_t* const barrier = &shared.full[unit.stage];
    if constexpr (kCluster == 1)
      copy_tensor_2d(to, map, barrier, next.chunk * kChunk, 0);
    else
      copy_tensor_2d_multicast(to, map, barrier, next.chunk * kChunk, work.rank * kPart,
                               (1 << kCluster) - 1);
    next.advance();
    at.advance();
    unit.advance();
  }
}

// Of the two warpgroups.
__device__ __forceinline__ void consume(Shared& shared, const SkinnyOutput& out,
                                        const SkinnyWork& work) {
  const int lane = threadIdx.x % 32, half = threadIdx.x / 128;
  const auto release = [&](int stage, int x_stage) {
    if (lane == 0) barrier_arrive(&shared.empty[stage]);
    if constexpr (kCluster == 1) {
      if (lane == 0) barrier_arrive(&shared.x_empty[x_stage]);
    } else {
      if (lane < kCluster) barrier_arrive_remote(&shared.x_empty[x_stage], lane);
    }
  };
  RingPosition<kStages> at;
  RingPosition<kXStages> x_at;
  Sums d;
  const int end = work.end();
#pragma unroll 1
  for (int unit = work.begin(); unit < end;) {
    const int group = unit / work.split.chunks;
    const int group_end = min((group + 1) * work.split.chunks, end);
#pragma unroll 1
    for (const int first = unit; unit < group_end; ++unit) {
      barrier_wait(&shared.full[at.stage], at.parity);
      const uint64_t a = wgmma_desc(shared_address(shared.w[at.stage]) + half * (kWeightBytes / 2));
      const uint64_t b = wgmma_desc(shared_address(shared.x[x_at.stage]));
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < kChunk / 16; ++step)
        wgmma_ss<Element, kTokens>(d, a + step * kWgmmaStepK, b + step * kWgmmaStepK,
                                   unit > first || step > 0);
      wgmma_commit();
      // Given back at once: kept until the next unit has arrived, a stage would be missing from the
      // ring most of the time.
      wgmma_wait<0>();
      release(at.stage, x_at.stage);
      at.advance();
      x_at.advance();
    }
    wgmma_results(d);
    finish_tile(out, work, group, d, threadIdx.x);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, 2)
    skinny_hopper(const __grid_constant__ TensorMap w_map, const __grid_constant__ TensorMap x_map,
                  const float* bias, Element* y, float4* partials, uint32_t* arrivals, int tokens,
                  int outputs, int columns, int y_stride) {
  extern __shared__ __align__(1024) unsigned char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const SkinnyWork work(outputs, columns);
  const int count = work.end() - work.begin();
  const int warp = threadIdx.x / 32;
  const bool leader = threadIdx.x % 32 == 0;
  const SkinnyOutput out{y, bias, partials, arrivals, tokens, outputs, y_stride};
  WeightProducer weights{shared, work, &w_map, count, Unit(work)};
  if (warp == kWorkerWarps && leader) weights.start();
  __syncwarp();
  // The barriers are there, the other block's too.
  if constexpr (kCluster == 1)
    __syncthreads();
  else
    cluster_sync();

  if (warp < kWorkerWarps) {
    wait_for_dependency();
    consume(shared, out, work);
  } else if (warp == kWorkerWarps && leader) {
    weights.run();
  } else if (leader) {
    produce_tokens(shared, work, &x_map, count);
  }
  __syncwarp();
  // Nobody ends while the other block may still release stages here.
  if constexpr (kCluster > 1) cluster_arrive();
  if (warp < kWorkerWarps) add_up(out, work, threadIdx.x);
  __syncwarp();
  if constexpr (kCluster > 1) cluster_wait();
}
