// gemm_hopper's producer: fills the ring with boxes of x and w.
#pragma once

#include "device/dependency.cuh"
#include "kernels/gemm/gemm_hopper_tile.cuh"

template <int kBlocks>
__device__ __forceinline__ void copy_box(void* to, const TensorMap* map, uint64_t* barrier, int x,
                                         int y, uint16_t blocks) {
  if constexpr (kBlocks == 1)
    copy_tensor_2d(to, map, barrier, x, y);
  else
    copy_tensor_2d_multicast(to, map, barrier, x, y, blocks);
}

struct Loader {
  const TensorMap *x_map, *w_map;
  uint8_t* ring;
  Barriers* barriers;
  Place place;
  uint16_t blocks_x, blocks_w;  // that get the copies

  __device__ __forceinline__ void load_x(int stage, int step, int row) const {
    row += place.n * kCopiedRowsX;
    uint8_t* to = ring + stage * kStageBytes + place.n * kCopiedRowsX * 128;
    copy_box<kClusterN>(to, x_map, &barriers->full[stage], step * kStepDepth, row, blocks_x);
  }
  // `column` is of y. Gate rows first, then the up rows of the same columns.
  __device__ __forceinline__ void load_w(int stage, int step, int column) const {
#pragma unroll
    for (int i = 0; i < kBoxes / kClusterM; ++i) {
      const int box = place.m * (kBoxes / kClusterM) + i;
      constexpr int kPerHalf = kGated ? kBoxes / 2 : kBoxes;
      const int row = column + box / kPerHalf * kColumns + box % kPerHalf * kBoxRows;
      uint8_t* to = ring + stage * kStageBytes + kBytesX + box * kBoxRows * 128;
      copy_box<kClusterM>(to, w_map, &barriers->full[stage], step * kStepDepth, row, blocks_w);
    }
  }
  __device__ __forceinline__ void expect(int stage) const {
    barrier_arrive_expect(&barriers->full[stage], kStageBytes);
  }
};

// One thread. The first stages of w are on their way before x, the previous kernel's work, is
// there.
__device__ __forceinline__ void load_tiles(const Loader& loader, int first, int stride,
                                           int tiles_m) {
  const Place& place = loader.place;
  RingPosition<kStages> position;
  const int begin = first_step(place.split), end = first_step(place.split + 1);
  const int ahead = min(end - begin, kStages);
  const int tiles = tiles_m * kTilesN;
  if (first >= tiles) {
    wait_for_dependency();
    return;
  }
  {
    const Tile tile(first, tiles_m);
    for (int i = 0; i < ahead; ++i) {
      loader.expect(i);
      loader.load_w(i, begin + i, tile_column(tile, place));
    }
    wait_for_dependency();
    for (int i = 0; i < ahead; ++i) {
      loader.load_x(i, begin + i, tile_row(tile, place));
      position.advance();
    }
  }
  int step = begin + ahead;
  for (int index = first; index < tiles; index += stride) {
    const Tile tile(index, tiles_m);
    const int row = tile_row(tile, place), column = tile_column(tile, place);
    for (; step < end; ++step) {
      barrier_wait(&loader.barriers->empty[position.stage], position.parity ^ 1);
      loader.expect(position.stage);
      loader.load_w(position.stage, step, column);
      loader.load_x(position.stage, step, row);
      position.advance();
    }
    step = begin;
  }
}
