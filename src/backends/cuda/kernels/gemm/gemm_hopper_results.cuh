// gemm_hopper's results: sums of splits exchanged, bias and activation applied, y written.
#pragma once

#include "device/activation.cuh"
#include "kernels/gemm/gemm_hopper_tile.cuh"

// Part p's j-th fragment: columns side by side, and when gated the gates first, then the ups.
__device__ __forceinline__ constexpr int part_fragment(int p, int j) {
  if (!kGated) return p * kPart + j;
  return j < kPart / 2 ? p * (kPart / 2) + j : kFragments / 2 + (p - 1) * (kPart / 2) + j;
}

// Where blocks with the same tile and different parts of K leave sums for each other.
struct Exchange {
  float4* memory;      // [to block][from split][warp][fragment][lane]
  uint32_t* counters;  // [to block][warp]: how many splits have left theirs
  int warp, lane;

  __device__ __forceinline__ static int block_of(int split, int p) {
    return blockIdx.x + (p - split) * kClusterBlocks;
  }
  __device__ __forceinline__ float4* slot(int block, int from) const {
    return memory + ((block * kSplits + from) * kWarps + warp) * (kPart * 32) + lane;
  }
  // All lanes' stores before, by a warp that has passed a fence each.
  __device__ __forceinline__ void announce(int split) const {
    __threadfence();
    __syncwarp();
    if (lane < kSplits && lane != split)
      asm volatile("red.relaxed.gpu.global.add.u32 [%0], 1;" ::"l"(
                       counters + block_of(split, lane) * kWarps + warp)
                   : "memory");
  }
  // Until all other splits have left theirs for this warp. All blocks run at once, so they do.
  __device__ __forceinline__ void wait() const {
    uint32_t* counter = counters + blockIdx.x * kWarps + warp;
    if (lane == 0) {
      uint32_t count;
      do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(count) : "l"(counter) : "memory");
      } while (count != kSplits - 1);
      *counter = 0;
    }
    __syncwarp();
  }
};

__device__ __forceinline__ float4 load_from_l2(const float4* from) {
  float4 v;
  asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(from)
               : "memory");
  return v;
}

// `total` becomes the whole sum of part kSplit, always added in the order of k, and the other parts
// of d go to the blocks that finish them.
template <int kSplit>
__device__ __forceinline__ void exchange_parts(const float (&d)[kFragments][4],
                                               float (&total)[kPart][4], const Exchange& exchange) {
#pragma unroll
  for (int p = 0; p < kSplits; ++p) {
    if (p == kSplit) continue;
    float4* to = exchange.slot(Exchange::block_of(kSplit, p), kSplit);
#pragma unroll
    for (int j = 0; j < kPart; ++j) {
      const float(&z)[4] = d[part_fragment(p, j)];
      to[j * 32] = make_float4(z[0], z[1], z[2], z[3]);
    }
  }
  if constexpr (kSplits > 1) {
    exchange.announce(kSplit);
    exchange.wait();
  }
#pragma unroll
  for (int j = 0; j < kPart; ++j) {
#pragma unroll
    for (int p = 0; p < kSplits; ++p) {
      const float(&own)[4] = d[part_fragment(kSplit, j)];
      float4 z = make_float4(own[0], own[1], own[2], own[3]);
      if (p != kSplit) z = load_from_l2(exchange.slot(blockIdx.x, p) + j * 32);
      total[j][0] = p == 0 ? z.x : total[j][0] + z.x;
      total[j][1] = p == 0 ? z.y : total[j][1] + z.y;
      total[j][2] = p == 0 ? z.z : total[j][2] + z.z;
      total[j][3] = p == 0 ? z.w : total[j][3] + z.w;
    }
  }
}

// Four 8x8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void store_matrix_x4(uint32_t address, const uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
               "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

__device__ __forceinline__ float finish(float z) {
  if constexpr (kActivation >= 0)
    return activate<kActivation>(z);
  else
    return z;
}

// Writes a warp's 16 rows of y from `row` on, columns from `column` on.
struct Writer {
  const TensorMap* y_map;
  const float* bias;
  uint8_t* staging;  // of this warp, two chunks
  int lane, rows;
  int buffer = 0;

  // Columns 8 j + 2 (lane % 4) and + 1 of rows lane / 4 (r[0]) and + 8 (r[1]).
  __device__ __forceinline__ void finish_fragment(const float (&d)[kPart][4], int j, int column,
                                                  uint32_t* r) const {
    float z[4] = {d[j][0], d[j][1], d[j][2], d[j][3]};
    column += 8 * j + 2 * (lane % 4);
    if constexpr (kBias) add_bias(z, column, column);
#pragma unroll
    for (int i = 0; i < 4; ++i) z[i] = finish(z[i]);
    if constexpr (kGated) {
      const int u = kPart / 2 + j;
      float up[4] = {d[u][0], d[u][1], d[u][2], d[u][3]};
      if constexpr (kBias) add_bias(up, column, kColumns + column);
#pragma unroll
      for (int i = 0; i < 4; ++i) z[i] *= up[i];
    }
    r[0] = pack2<Element>(z[0], z[1]);
    r[1] = pack2<Element>(z[2], z[3]);
  }
  __device__ __forceinline__ void add_bias(float (&z)[4], int column, int index) const {
    if (column >= kColumns) return;
    const float2 b = *reinterpret_cast<const float2*>(bias + index);
    z[0] += b.x;
    z[1] += b.y;
    z[2] += b.x;
    z[3] += b.y;
  }

  __device__ __forceinline__ void write(const float (&d)[kPart][4], int row, int column) {
    // The swizzle of the staged chunk, as the tensor map has it: 16-byte piece c of row r lies at
    // c ^ (r * row bytes / 128).
    const int r = lane % 16;
    const uint32_t swizzle = ((r * (2 * kChunk) >> 7) & (kChunk / 8 - 1)) ^ (lane / 16);
    const uint32_t lane_address = shared_address(staging) + r * (2 * kChunk);
#pragma unroll
    for (int chunk = 0; chunk < kPartColumns / kChunk; ++chunk) {
      if (lane == 0) store_wait_read<1>();  // the chunk before the last has left the staging area
      __syncwarp();
#pragma unroll
      for (int j = 0; j < kChunk / 8; j += 2) {
        uint32_t packed[4];
        finish_fragment(d, chunk * (kChunk / 8) + j, column, packed);
        finish_fragment(d, chunk * (kChunk / 8) + j + 1, column, packed + 2);
        store_matrix_x4(lane_address + buffer * kChunkBytes + ((j ^ swizzle) << 4), packed);
      }
      fence_proxy_async();
      __syncwarp();
      if (lane == 0) {
        if (row < rows && column + chunk * kChunk < kColumns)
          store_tensor_2d(y_map, staging + buffer * kChunkBytes, column + chunk * kChunk, row);
        store_commit();
      }
      buffer ^= 1;
    }
  }
};

// The part of a warp's sums that its block finishes: `split`, which registers want as a constant.
template <int kSplit = 0>
__device__ __forceinline__ void write_part(const float (&d)[kFragments][4], int split,
                                           const Exchange& exchange, Writer& writer, int row,
                                           int column) {
  if (split == kSplit) {
    float total[kPart][4];
    exchange_parts<kSplit>(d, total, exchange);
    writer.write(total, row, column + kSplit * kPartColumns);
  } else if constexpr (kSplit + 1 < kSplits) {
    write_part<kSplit + 1>(d, split, exchange, writer, row, column);
  }
}
