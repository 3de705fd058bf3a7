// Prefill attention for what the other kernels leave: float32, odd head sizes, unaligned rows.
// Plain and slow.
//
// A warp has one head of one query token. It passes over the keys, 32 at a time: each lane scores
// one of them, then the lanes share out the head dimension for the weighted values. All in float32.
#include "device/dependency.cuh"
#include "device/reduce.cuh"
#include "device/types.cuh"

// ELEMENT, CACHE_ELEMENT: float, bf16 or f16
// HEAD_DIM, HEADS, KV_HEADS, BLOCK_SIZE: any    WARPS: of a block
// WINDOW, SOFTCAP, ALIBI: 0 or 1
using Element = ELEMENT;
using CacheElement = CACHE_ELEMENT;
constexpr int kHeadDim = HEAD_DIM;
constexpr int kHeads = HEADS, kKvHeads = KV_HEADS;
constexpr int kPageKeys = BLOCK_SIZE;
constexpr bool kWindow = WINDOW, kSoftcap = SOFTCAP, kAlibi = ALIBI;
constexpr int kOwn = (kHeadDim + 31) / 32;  // elements of a head that a lane has

extern "C" __global__ void __launch_bounds__(WARPS * 32)
    attention_prefill_simple(const Element* q, int64_t q_stride, const CacheElement* cache,
                             const int32_t* query_offsets, const int32_t* kv_lengths,
                             const int32_t* block_table, int32_t table_stride, const float* slopes,
                             Element* y, int64_t y_stride, int32_t first_sequence,
                             int32_t sequences, float scale, float softcap, int32_t window) {
  __shared__ float queries[WARPS][kHeadDim];
  wait_for_dependency();
  launch_dependents();
  const int lane = threadIdx.x % 32;
  float* query = queries[threadIdx.x / 32];
  const int64_t item = int64_t{blockIdx.x} * WARPS + threadIdx.x / 32;
  const int head = static_cast<int>(item % kHeads);
  const int row = query_offsets[first_sequence] + static_cast<int>(item / kHeads);
  // The last sequence that begins at or before the row.
  int low = first_sequence, high = first_sequence + sequences;
  if (row >= query_offsets[high]) return;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (query_offsets[middle] <= row)
      low = middle;
    else
      high = middle;
  }
  const int32_t* pages = block_table + int64_t{low} * table_stride;
  const int position = kv_lengths[low] - (query_offsets[low + 1] - row);
  const float slope = kAlibi ? slopes[head] : 0.0f;

  for (int i = lane; i < kHeadDim; i += 32)
    query[i] = to_float(q[row * q_stride + head * kHeadDim + i]);
  __syncwarp();

  float largest = -1e38f, total = 0.0f;
  float mixed[kOwn] = {};
  for (int first = kWindow ? max(0, position - window + 1) : 0; first <= position; first += 32) {
    const int key = first + lane;
    const int count = min(32, position - first + 1);
    int64_t at = 0;
    float score = -1e38f;
    if (lane < count) {
      at = ((int64_t{pages[key / kPageKeys]} * 2 * kKvHeads + head / (kHeads / kKvHeads)) *
                kPageKeys +
            key % kPageKeys) *
           kHeadDim;
      float dot = 0.0f;
      for (int i = 0; i < kHeadDim; ++i) dot = fmaf(query[i], to_float(cache[at + i]), dot);
      score = scale * dot;
      if (kAlibi) score = fmaf(slope, static_cast<float>(key - position), score);
      if (kSoftcap) score = softcap * tanhf(score / softcap);
    }
    const float before = largest;
    largest = fmaxf(largest, warp_max(score));
    const float rescale = expf(before - largest);
    const float weight = lane < count ? expf(score - largest) : 0.0f;
    total = fmaf(total, rescale, warp_sum(weight));
#pragma unroll
    for (int i = 0; i < kOwn; ++i) mixed[i] *= rescale;
    for (int other = 0; other < count; ++other) {
      const float w = __shfl_sync(~0u, weight, other);
      const CacheElement* value =
          cache + __shfl_sync(~0u, at, other) + int64_t{kKvHeads} * kPageKeys * kHeadDim;
#pragma unroll
      for (int i = 0; i < kOwn; ++i)
        if (i * 32 + lane < kHeadDim) mixed[i] = fmaf(w, to_float(value[i * 32 + lane]), mixed[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i)
    if (i * 32 + lane < kHeadDim)
      y[row * y_stride + head * kHeadDim + i * 32 + lane] = from_float<Element>(mixed[i] / total);
}
