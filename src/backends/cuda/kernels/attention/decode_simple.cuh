// attention_decode for any types and sizes: a block for a head of a sequence. Each of its warps
// takes every kWarps-th four keys, a lane every 32nd dimension; then the warps are joined. Float32
// throughout: the oracle. Bound by latency.
//
//   ELEMENT, CACHE_ELEMENT  of q and y; of the cache: float, f16 or bf16
//   HEADS, KV_HEADS, HEAD_DIM, BLOCK_SIZE
//   WINDOW, ALIBI, SOFTCAP  0 or 1: whether there is one
#include "device/dependency.cuh"
#include "device/reduce.cuh"
#include "device/types.cuh"

using Element = ELEMENT;
using CacheElement = CACHE_ELEMENT;
constexpr int kHeads = HEADS;
constexpr int kKvHeads = KV_HEADS;
constexpr int kHeadDim = HEAD_DIM;
constexpr int kBlockSize = BLOCK_SIZE;
constexpr bool kWindow = WINDOW;
constexpr bool kAlibi = ALIBI;
constexpr bool kSoftcap = SOFTCAP;

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kKeys = 4;                     // of a warp at a time
constexpr int kDims = (kHeadDim + 31) / 32;  // of a lane
constexpr float kLowest = -1e30f;            // finite: a difference of two is no NaN
constexpr int64_t kCacheHead = int64_t(kBlockSize) * kHeadDim;
constexpr int64_t kCacheHalf = kKvHeads * kCacheHead;

extern "C" __global__ void __launch_bounds__(kThreads)
    attention_decode_simple(const Element* q, int64_t q_stride, const CacheElement* cache,
                            const int* kv_lengths, const int* block_table, int table_stride,
                            const float* slopes, Element* y, int64_t y_stride, float scale,
                            int window, float softcap) {
  __shared__ float shared_top[kWarps];
  __shared__ float shared_total[kWarps];
  __shared__ float shared_sum[kWarps][kHeadDim];
  launch_dependents();
  wait_for_dependency();
  const int head = blockIdx.x;
  const int sequence = blockIdx.y;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int length = kv_lengths[sequence];
  const int first = kWindow ? max(length - window, 0) : 0;
  const float slope = kAlibi ? slopes[head] : 0.0f;

  float query[kDims], sum[kDims];
#pragma unroll
  for (int i = 0; i < kDims; ++i) {
    const int dim = i * 32 + lane;
    query[i] =
        dim < kHeadDim ? to_float(q[sequence * q_stride + int64_t(head) * kHeadDim + dim]) : 0.0f;
    sum[i] = 0.0f;
  }
  float top = kLowest;
  float total = 0.0f;
  for (int base = first + warp * kKeys; base < length; base += kWarps * kKeys) {
    const CacheElement* keys[kKeys];
    float score[kKeys];
#pragma unroll
    for (int j = 0; j < kKeys; ++j) {
      const int key = min(base + j, length - 1);
      const int block = block_table[int64_t(sequence) * table_stride + key / kBlockSize];
      keys[j] = cache + 2 * kCacheHalf * block + head / (kHeads / kKvHeads) * kCacheHead +
                key % kBlockSize * kHeadDim + lane;
      float dot = 0.0f;
#pragma unroll
      for (int i = 0; i < kDims; ++i)
        if (i * 32 + lane < kHeadDim) dot = fmaf(query[i], to_float(keys[j][i * 32]), dot);
      score[j] = dot;
    }
    float new_top = top;
#pragma unroll
    for (int j = 0; j < kKeys; ++j) {
      score[j] = warp_sum(score[j]) * scale;
      if constexpr (kAlibi) score[j] = fmaf(slope, float(base + j - length + 1), score[j]);
      if constexpr (kSoftcap) score[j] = softcap * tanhf(score[j] / softcap);
      if (base + j >= length) score[j] = kLowest;
      new_top = fmaxf(new_top, score[j]);
    }
    const float decay = expf(top - new_top);
    top = new_top;
    total *= decay;
#pragma unroll
    for (int i = 0; i < kDims; ++i) sum[i] *= decay;
#pragma unroll
    for (int j = 0; j < kKeys; ++j) {
      const float p = base + j < length ? expf(score[j] - top) : 0.0f;
      total += p;
#pragma unroll
      for (int i = 0; i < kDims; ++i)
        if (i * 32 + lane < kHeadDim)
          sum[i] = fmaf(p, to_float(keys[j][kCacheHalf + i * 32]), sum[i]);
    }
  }

  if (lane == 0) {
    shared_top[warp] = top;
    shared_total[warp] = total;
  }
#pragma unroll
  for (int i = 0; i < kDims; ++i)
    if (i * 32 + lane < kHeadDim) shared_sum[warp][i * 32 + lane] = sum[i];
  __syncthreads();
  for (int dim = threadIdx.x; dim < kHeadDim; dim += kThreads) {
    float block_top = kLowest;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) block_top = fmaxf(block_top, shared_top[w]);
    float block_total = 0.0f;
    float block_sum = 0.0f;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float weight = expf(shared_top[w] - block_top);
      block_total = fmaf(weight, shared_total[w], block_total);
      block_sum = fmaf(weight, shared_sum[w][dim], block_sum);
    }
    y[sequence * y_stride + int64_t(head) * kHeadDim + dim] =
        from_float<Element>(block_sum / block_total);
  }
}
