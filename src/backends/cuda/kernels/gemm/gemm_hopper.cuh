// linear for many rows on Hopper: y[t, i] = f(sum_k x[t, k] w[i, k] + bias[i]), and the gated form
// of ops/linear.h. Float32 sums on the tensor cores, one rounding.
//
// Work: persistent blocks, one a multiprocessor, in clusters. A block computes tiles of kTileM rows
// of x by kTileN rows of w; a cluster computes kClusterM x kClusterN of them side by side, so that
// each block copies its share of an x tile to the blocks beside it and of a w tile to those below.
// With kSplits > 1 as many clusters share a tile, each with a part of K, and all run at once, with
// one tile each. Then they exchange sums through L2, so that each finishes its part of the columns;
// sums are always added in the order of k.
//
// In a block, warp 0 fills a ring of kStages (64 elements of K each) by bulk tensor copies, one
// warpgroup per 64 rows multiplies. They run apart by what the ring allows: while one writes its
// results, by bulk copies from a staging area of each warp, the other keeps the tensor cores busy.
//
// Bound by the tensor cores from about 300 rows on, by streaming w below.
//
//   ELEMENT     bf16 or f16: of x, w and y
//   OUTPUTS     rows of w; the columns of y, or twice as many when gated
//   DEPTH       K; any size that is a multiple of 8: copies fill zeros
//   GATED, BIAS whether; ACTIVATION a number of device/activation.cuh or -1
//   CONSUMERS   kTileM / 64
//   TILE_N      columns of a tile, of gate and up together when gated
//   STAGES, CLUSTER_M, CLUSTER_N, SPLITS
//   CHUNK       columns of y that a warp stores at once, for its 16 rows: 16, 32 or 64
#include "device/dependency.cuh"
#include "device/hopper.cuh"
#include "device/wgmma.cuh"
#include "kernels/gemm/gemm_hopper_load.cuh"
#include "kernels/gemm/gemm_hopper_results.cuh"
#include "kernels/gemm/gemm_hopper_tile.cuh"

// The blocks whose copies fill this block's ring: lane i tells the i-th that a stage is free.
struct Release {
  static constexpr int kPeers = kClusterM + kClusterN - 1;
  int rank;
  bool tells;
  __device__ __forceinline__ Release(const Place& place, int lane) {
    const int other_m = lane - kClusterN + (lane - kClusterN >= place.m ? 1 : 0);
    rank = lane < kClusterN ? Place::rank(place.m, lane) : Place::rank(other_m, place.n);
    tells = lane < kPeers;
  }
  __device__ __forceinline__ void operator()(uint64_t* barrier) const {
    if (!tells) return;
    if constexpr (kClusterBlocks == 1)
      barrier_arrive(barrier);
    else
      allow_remote(barrier, rank);
  }
};

// d = the tile's sums over `steps` stages. One group of wgmma stays under way while the next stage
// is waited for.
__device__ __forceinline__ void multiply_tile(float (&d)[kFragments][4], uint64_t x_desc,
                                              uint64_t w_desc, Barriers* barriers,
                                              RingPosition<kStages>& position,
                                              const Release& release, int steps) {
  int previous = 0;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    barrier_wait(&barriers->full[position.stage], position.parity);
    const uint64_t offset = static_cast<uint64_t>(position.stage * (kStageBytes >> 4));
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kStepDepth / 16; ++k)
      wgmma_ss<Element, kTileN>(d, x_desc + offset + k * kWgmmaStepK,
                                w_desc + offset + k * kWgmmaStepK, step + k > 0);
    wgmma_commit();
    wgmma_wait<1>();
    if (step > 0) release(&barriers->empty[previous]);
    previous = position.stage;
    position.advance();
  }
  wgmma_wait<0>();
  wgmma_results(d);
  release(&barriers->empty[previous]);
}

__device__ __forceinline__ void setup_barriers(Barriers* barriers) {
  for (int i = 0; i < kStages; ++i) {
    barrier_init(&barriers->full[i], 1);
    barrier_init(&barriers->empty[i], kWarps * Release::kPeers);
  }
  fence_barrier_init();
}

__device__ __forceinline__ void synchronize_cluster() {
  if constexpr (kClusterBlocks > 1)
    cluster_sync();
  else
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(128 * (kConsumers + 1), 1)
    gemm(const __grid_constant__ TensorMap x_map, const __grid_constant__ TensorMap w_map,
         const __grid_constant__ TensorMap y_map, const float* bias, float4* exchange_memory,
         uint32_t* counters, int rows) {
  extern __shared__ uint8_t shared[];
  uint8_t* ring = shared + (1024 - shared_address(shared) % 1024) % 1024;
  uint8_t* staging = ring + kStages * kStageBytes;
  Barriers* barriers = reinterpret_cast<Barriers*>(staging + kWarps * kStagingBytes);

  const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
  const int lane = threadIdx.x % 32;
  const int rank = kClusterBlocks > 1 ? static_cast<int>(cluster_block_rank()) : 0;
  const Place place{rank % kClusterM, rank / kClusterM,
                    static_cast<int>(blockIdx.x / kClusterBlocks % kSplits)};
  const int first = blockIdx.x / (kClusterBlocks * kSplits);  // tile
  const int step = gridDim.x / (kClusterBlocks * kSplits);
  const int tiles_m = divide_up(rows, kTileM * kClusterM);

  if (threadIdx.x == 0) {
    prefetch_tensor_map(&x_map);
    prefetch_tensor_map(&w_map);
    prefetch_tensor_map(&y_map);
    setup_barriers(barriers);
  }
  synchronize_cluster();
  launch_dependents();

  if (warp < 4) {
    if constexpr (kConsumers == 2) drop_registers<40>();
    if constexpr (kConsumers == 3) drop_registers<56>();
    if (warp == 0 && lane == 0) {
      uint16_t blocks_x = 0, blocks_w = 0;
      for (int n = 0; n < kClusterN; ++n) blocks_x |= 1 << Place::rank(place.m, n);
      for (int m = 0; m < kClusterM; ++m) blocks_w |= 1 << Place::rank(m, place.n);
      const Loader loader{&x_map, &w_map, ring, barriers, place, blocks_x, blocks_w};
      load_tiles(loader, first, step, tiles_m);
    }
    __syncwarp();
    if constexpr (kClusterBlocks > 1) cluster_sync();
  } else {
    if constexpr (kConsumers == 2) raise_registers<232>();
    if constexpr (kConsumers == 3) raise_registers<152>();
    wait_for_dependency();
    const int consumer = warp / 4 - 1;
    const uint64_t x_desc = wgmma_desc(shared_address(ring) + consumer * 64 * 128);
    const uint64_t w_desc = wgmma_desc(shared_address(ring) + kBytesX);
    const Release release(place, lane);
    Writer writer{&y_map, bias, staging + (warp - 4) * kStagingBytes, lane, rows};
    const Exchange exchange{exchange_memory, counters, warp - 4, lane};
    RingPosition<kStages> position;
    for (int index = first; index < tiles_m * kTilesN; index += step) {
      const Tile tile(index, tiles_m);
      const int row = tile_row(tile, place) + (warp - 4) * 16;
      const int column = tile_column(tile, place);
      const int steps = first_step(place.split + 1) - first_step(place.split);
      float d[kFragments][4];
      wgmma_discard(d);
      multiply_tile(d, x_desc, w_desc, barriers, position, release, steps);
      write_part(d, place.split, exchange, writer, row, column);
      if constexpr (kSplits > 1) break;
    }
    if (lane == 0) store_wait<0>();
    __syncwarp();
    if constexpr (kClusterBlocks > 1) cluster_sync();
  }
}
