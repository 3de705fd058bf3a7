// Prefill attention over the paged cache on sm_90a: wgmma fed by bulk tensor copies, bf16 and f16.
//
// Persistent blocks take tiles of kTokens query tokens of kPack heads that share a kv head, the
// longest first (TileFinder); row r of a tile is head r % kPack of token r / kPack. One producer
// warp brings the queries, then keys and values step by step from the last to the first, each page
// (or part of it) by one copy. Each consumer warpgroup has 64 rows: it issues the scores of a step
// and the sum over the values of the step before, then works on the softmax while the tensor cores
// do the latter and the other warpgroups' products; named barriers keep the warpgroups in turns.
// Weights stay in registers. Sums are float32, weights are rounded to ELEMENT.
//
// In shared memory eight keys with their head dimension are a slab of kHeadDim / 64 panels of 1024
// bytes, a panel being 8 rows of 128 bytes with 128-byte swizzle. So a step may consist of any
// pages, and the same layout serves keys (K-major) and values (N-major).
//
// Bound by wgmma.
#include "device/dependency.cuh"
#include "device/wgmma.cuh"
#include "kernels/attention/prefill_softmax.cuh"
#include "kernels/attention/prefill_tiles.cuh"

// ELEMENT: bf16 or f16
// HEAD_DIM: multiple of 64    HEADS, KV_HEADS
// PACK: heads in a tile, divides HEADS / KV_HEADS
// BLOCK_SIZE: keys of a page, a power of two from 8
// WARPGROUPS: that multiply, 64 rows each    KEYS: of a step    STAGES: steps in flight
// WINDOW, SOFTCAP, ALIBI: 0 or 1
using Element = ELEMENT;
constexpr int kHeadDim = HEAD_DIM;
constexpr int kKvHeads = KV_HEADS;
constexpr int kGroup = HEADS / KV_HEADS;
constexpr int kPack = PACK;
constexpr int kPageKeys = BLOCK_SIZE;
constexpr int kWarpgroups = WARPGROUPS;
constexpr int kRows = WARPGROUPS * 64;
constexpr int kTokens = kRows / kPack;
constexpr int kKeys = KEYS;
constexpr int kStages = STAGES;
constexpr bool kWindow = WINDOW, kSoftcap = SOFTCAP, kAlibi = ALIBI;

constexpr int kThreads = 128 * (kWarpgroups + 1);
constexpr int kProducerRegisters = kWarpgroups == 3 ? 32 : 40;
constexpr int kConsumerRegisters = kWarpgroups == 3 ? 160 : 232;
// Turns pay while a warpgroup's products take about as long as its softmax.
constexpr bool kTurns = kHeadDim <= 128;

constexpr int kPanels = kHeadDim / 64;
constexpr uint32_t kPanelBytes = 1024;
constexpr uint32_t kSlabBytes = kPanels * kPanelBytes;
constexpr uint32_t kStepBytes = kKeys / 8 * kSlabBytes;
constexpr uint32_t kQueryPanelBytes = kRows * 128;  // 64 columns of all rows
constexpr uint32_t kQueryBytes = kPanels * kQueryPanelBytes;
// One copy brings this many keys.
constexpr int kLowestBit = kKeys & -kKeys;
constexpr int kBoxKeys = kPageKeys < kLowestBit ? kPageKeys : kLowestBit;
constexpr int kBoxes = kKeys / kBoxKeys;
constexpr uint32_t kBoxBytes = kBoxKeys / 8 * kSlabBytes;
static_assert(kBoxKeys % 8 == 0 && kBoxes <= 32 && kPageKeys % kBoxKeys == 0);
static_assert(kHeadDim % 64 == 0 && kGroup % kPack == 0 && kKeys % 16 == 0 && kTokens > 0);

struct Shared {
  unsigned char q[kQueryBytes];
  unsigned char k[kStages][kStepBytes];
  unsigned char v[kStages][kStepBytes];
  uint64_t q_full, q_empty;  // of the tile and its queries
  uint64_t k_full[kStages], k_empty[kStages];
  uint64_t v_full[kStages], v_empty[kStages];
  uint64_t tail;  // the producer's own: values that it changes before anyone sees them
  PrefillTile tile;
};

// The steps of a tile, [begin, end).
__device__ __forceinline__ int first_step(const PrefillTile& tile, int window) {
  return kWindow ? max(0, tile.position - window + 1) / kKeys : 0;
}
__device__ __forceinline__ int end_step(const PrefillTile& tile) {
  return (tile.position + tile.tokens + kKeys - 1) / kKeys;
}

// One warp.
__device__ __forceinline__ void produce(Shared& shared, const TensorMap* q_map,
                                        const TensorMap* cache_map, const int32_t* query_offsets,
                                        const int32_t* kv_lengths, const int32_t* block_table,
                                        int table_stride, int first_sequence, int sequences,
                                        int window, uint32_t* counters) {
  const int lane = threadIdx.x % 32;
  TileFinder<kTokens, HEADS / kPack, 2 * kHeadDim * sizeof(Element)> finder(
      query_offsets, kv_lengths, first_sequence, sequences);
  RingPosition<kStages> k_at, v_at;
  uint32_t q_parity = 1, tail_parity = 0;
  int item = blockIdx.x;
#pragma unroll 1
  for (;;) {
    const PrefillTile tile = finder.find(item);
    if (tile.tokens == 0) break;
    if (lane == 0) item = gridDim.x + atomicAdd(counters, 1u);

    const int begin = first_step(tile, window), end = end_step(tile);
    const int first_head = tile.head_group * kPack;
    const int32_t* pages = block_table + int64_t{tile.sequence} * table_stride;
    // Where this lane's part of a step's keys lies in the cache, in slabs; -1: it has none.
    const auto find_box = [&](int step) {
      const int key = step * kKeys + lane * kBoxKeys;
      if (lane >= kBoxes || key >= tile.length) return -1;
      const int page = pages[key / kPageKeys];
      return (page * 2 * kKvHeads + first_head / kGroup) * (kPageKeys / 8) + key % kPageKeys / 8;
    };
    const auto load = [&](unsigned char* to, uint64_t* full, int box) {
      const unsigned boxes = __ballot_sync(~0u, box >= 0);
      if (lane == 0) barrier_arrive_expect(full, __popc(boxes) * kBoxBytes);
      __syncwarp();
      if (box >= 0) copy_tensor_4d(to + lane * kBoxBytes, cache_map, full, 0, 0, 0, box);
    };
    const auto load_keys = [&](int box) {
      barrier_wait(&shared.k_empty[k_at.stage], k_at.parity ^ 1);
      load(shared.k[k_at.stage], &shared.k_full[k_at.stage], box);
      k_at.advance();
    };
    const auto load_values = [&](int box, int keys) {
      unsigned char* to = shared.v[v_at.stage];
      uint64_t* full = &shared.v_full[v_at.stage];
      if (box >= 0) box += kKvHeads * (kPageKeys / 8);
      barrier_wait(&shared.v_empty[v_at.stage], v_at.parity ^ 1);
      if (keys >= kKeys) {
        load(to, full, box);
      } else {
        // Slots behind the sequence's end may hold anything, and 0 * NaN would be NaN.
        load(to, &shared.tail, box);
        barrier_wait(&shared.tail, tail_parity);
        tail_parity ^= 1;
        for (int i = keys * (kHeadDim / 8) + lane; i < kKeys * (kHeadDim / 8); i += 32) {
          const int key = i / (kHeadDim / 8), chunk = i % (kHeadDim / 8);
          const uint32_t at = key / 8 * kSlabBytes + chunk / 8 * kPanelBytes + key % 8 * 128;
          *reinterpret_cast<uint4*>(to + at + chunk % 8 * 16) = uint4{};
        }
        fence_proxy_async();
        __syncwarp();
        if (lane == 0) barrier_arrive(full);
      }
      v_at.advance();
    };

    int box = find_box(end - 1);
    load_keys(box);
    barrier_wait(&shared.q_empty, q_parity);
    q_parity ^= 1;
    if (lane == 0) {
      shared.tile = tile;
      barrier_arrive_expect(&shared.q_full, kPanels * kTokens * kPack * 128);
#pragma unroll
      for (int panel = 0; panel < kPanels; ++panel)
        copy_tensor_3d(shared.q + panel * kQueryPanelBytes, q_map, &shared.q_full, panel * 64,
                       first_head, tile.first_row);
    }
    __syncwarp();
#pragma unroll 1
    for (int step = end - 1; step >= begin; --step) {
      int next_box = -1;
      if (step > begin) {
        next_box = find_box(step - 1);
        load_keys(next_box);
      }
      load_values(box, tile.length - step * kKeys);
      box = next_box;
    }
    item = __shfl_sync(~0u, item, 0);
  }

  barrier_wait(&shared.q_empty, q_parity);
  if (lane == 0) {
    shared.tile.tokens = 0;
    barrier_arrive(&shared.q_full);
    // The last block leaves the counters as they were.
    __threadfence();
    if (atomicAdd(counters + 1, 1u) == gridDim.x - 1) counters[0] = counters[1] = 0;
  }
}

__device__ __forceinline__ uint64_t descriptor(uint32_t address, uint32_t leading,
                                               uint32_t stride) {
  return kSwizzle128 | uint64_t(stride >> 4) << 32 | uint64_t(leading >> 4) << 16 |
         (address & 0x3ffff) >> 4;
}

// Scores of 64 rows and a step's keys.
__device__ __forceinline__ void issue_scores(float (&s)[kKeys / 8][4], uint64_t q, uint64_t k) {
#pragma unroll
  for (int i = 0; i < kHeadDim / 16; ++i)
    wgmma_ss<Element, kKeys>(s, q + (i / 4 * kQueryPanelBytes + i % 4 * 32 >> 4),
                             k + (i / 4 * kPanelBytes + i % 4 * 32 >> 4), i > 0);
  wgmma_commit();
}
// Adds the step's weighted values.
__device__ __forceinline__ void issue_sums(float (&o)[kHeadDim / 8][4],
                                           const uint32_t (&p)[kKeys / 16][4], uint64_t v) {
#pragma unroll
  for (int i = 0; i < kKeys / 16; ++i)
    wgmma_rs<Element, kHeadDim, true>(o, p[i], v + (i * 2 * kSlabBytes >> 4), true);
  wgmma_commit();
}

// Warpgroup `own` of those that multiply.
__device__ __forceinline__ void consume(Shared& shared, int own, const float* slopes, Element* y,
                                        int64_t y_stride, float scale, float softcap, int window) {
  const int lane = threadIdx.x % 32;
  const int first_row = own * 64 + threadIdx.x % 128 / 32 * 16 + lane / 4;
  const uint64_t q = descriptor(shared_address(shared.q) + own * 64 * 128, 16, 1024);
  const uint64_t k = descriptor(shared_address(shared.k), 16, kSlabBytes);
  const uint64_t v = descriptor(shared_address(shared.v), kPanelBytes, kSlabBytes);
  const ScoreRule<kAlibi, kSoftcap> rule(scale, softcap);
  const auto release = [&](uint64_t* empty) {
    if (lane == 0) barrier_arrive(empty);
  };
  // Barrier 1 + w lets warpgroup w issue its products; its predecessor arrives there.
  const auto await_turn = [&] {
    if constexpr (kTurns) named_barrier_sync(1 + own, 256);
  };
  const auto end_turn = [&] {
    if constexpr (kTurns) named_barrier_arrive(own == kWarpgroups - 1 ? 1 : 2 + own, 256);
  };
  if (own == kWarpgroups - 1) end_turn();

  RingPosition<kStages> k_at, v_at;
  uint32_t q_parity = 0;
  float s[kKeys / 8][4];
  float o[kHeadDim / 8][4];
  uint32_t p[kKeys / 16][4];
#pragma unroll 1
  for (;;) {
    barrier_wait(&shared.q_full, q_parity);
    q_parity ^= 1;
    const PrefillTile tile = shared.tile;
    __syncwarp();  // every lane has read it before lane 0 gives its place back
    if (tile.tokens == 0) break;
    const int first_head = tile.head_group * kPack;
    const int begin = first_step(tile, window), end = end_step(tile);
    // Steps from causal_from on and below window_until have keys to hide.
    const int causal_from = (tile.position + 1) / kKeys;
    const int window_until =
        kWindow ? (max(0, tile.position + tile.tokens - window) + kKeys - 1) / kKeys : 0;
    int position[2];  // of the row's token, less the thread's first column of a step
    float slope[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = first_row + r * 8;
      position[r] = tile.position + min(row / kPack, tile.tokens - 1) - lane % 4 * 2;
      slope[r] = kAlibi ? slopes[first_head + row % kPack] * rule.unit : 0.0f;
    }
    const auto finish_scores = [&](int step) {
      const int distance[2] = {position[0] - step * kKeys, position[1] - step * kKeys};
      rule.apply(s, distance, slope);
      if (step >= causal_from || (kWindow && step < window_until))
        mask_scores<kWindow>(s, distance, window);
    };

    RunningRows rows;
    float rescale[2];
    int step = end - 1;
    barrier_wait(&shared.k_full[k_at.stage], k_at.parity);
    wgmma_fence();
    issue_scores(s, q, k + (k_at.stage * kStepBytes >> 4));
    wgmma_wait<0>();
    wgmma_results(s);
    release(&shared.k_empty[k_at.stage]);
    k_at.advance();
    if (step == begin) release(&shared.q_empty);
    finish_scores(step);
    softmax_step<true>(s, rows, rule.rest(), rescale);
    pack_weights<Element>(p, s);
    if (step > begin) barrier_wait(&shared.k_full[k_at.stage], k_at.parity);
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) o[j][e] = 0.0f;

#pragma unroll 1
    for (--step; step >= begin; --step) {
#pragma unroll
      for (int i = 0; i < kKeys / 16; ++i) wgmma_operand(p[i]);
      await_turn();
      wgmma_fence();
      issue_scores(s, q, k + (k_at.stage * kStepBytes >> 4));
      barrier_wait(&shared.v_full[v_at.stage], v_at.parity);
      wgmma_fence();
      issue_sums(o, p, v + (v_at.stage * kStepBytes >> 4));
      end_turn();
      wgmma_wait<1>();
      wgmma_results(s);
      release(&shared.k_empty[k_at.stage]);
      k_at.advance();
      if (step == begin) release(&shared.q_empty);
      finish_scores(step);
      softmax_step<false>(s, rows, rule.rest(), rescale);
      // Between these two also because ptxas would move the wait in front of the softmax.
      if (step > begin) barrier_wait(&shared.k_full[k_at.stage], k_at.parity);
      wgmma_wait<0>();
      wgmma_results(o);
      release(&shared.v_empty[v_at.stage]);
      v_at.advance();
      pack_weights<Element>(p, s);
      if (rescales(rescale)) rescale_rows(o, rescale);
    }

    barrier_wait(&shared.v_full[v_at.stage], v_at.parity);
#pragma unroll
    for (int i = 0; i < kKeys / 16; ++i) wgmma_operand(p[i]);
    wgmma_fence();
    issue_sums(o, p, v + (v_at.stage * kStepBytes >> 4));
    Element* to[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = first_row + r * 8, token = row / kPack;
      to[r] = token < tile.tokens
                  ? y + (tile.first_row + token) * y_stride + (first_head + row % kPack) * kHeadDim
                  : nullptr;
    }
    wgmma_wait<0>();
    wgmma_results(o);
    release(&shared.v_empty[v_at.stage]);
    v_at.advance();
    store_rows<Element, kHeadDim>(o, rows, to);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, 1) attention_prefill_hopper(
    const __grid_constant__ TensorMap q_map, const __grid_constant__ TensorMap cache_map,
    const int32_t* query_offsets, const int32_t* kv_lengths, const int32_t* block_table,
    int32_t table_stride, const float* slopes, Element* y, int64_t y_stride, int32_t first_sequence,
    int32_t sequences, float scale, float softcap, int32_t window, uint32_t* counters) {
  extern __shared__ unsigned char raw[];
  const uint32_t gap = (1024 - shared_address(raw) % 1024) % 1024;  // panels are aligned
  Shared& shared = *reinterpret_cast<Shared*>(raw + gap);
  // The same for all of a warpgroup, in a form that the compiler sees.
  const int warpgroup = __shfl_sync(~0u, threadIdx.x / 128, 0);
  if (threadIdx.x == 0) {
    prefetch_tensor_map(&q_map);
    prefetch_tensor_map(&cache_map);
    barrier_init(&shared.q_full, 1);
    barrier_init(&shared.q_empty, 4 * kWarpgroups);
    barrier_init(&shared.tail, 1);
#pragma unroll
    for (int i = 0; i < kStages; ++i) {
      barrier_init(&shared.k_full[i], 1);
      barrier_init(&shared.k_empty[i], 4 * kWarpgroups);
      barrier_init(&shared.v_full[i], 1);
      barrier_init(&shared.v_empty[i], 4 * kWarpgroups);
    }
    fence_barrier_init();
  }
  // Rows that no query is copied to.
  constexpr int kUnusedRows = kRows - kTokens * kPack;
  for (int i = threadIdx.x; i < kUnusedRows * kPanels * 8; i += kThreads) {
    const uint32_t at = i % kPanels * kQueryPanelBytes + kTokens * kPack * 128 + i / kPanels * 16;
    *reinterpret_cast<uint4*>(shared.q + at) = uint4{};
  }
  if constexpr (kUnusedRows > 0) fence_proxy_async();
  __syncthreads();
  wait_for_dependency();
  launch_dependents();

  if (warpgroup == 0) {
    drop_registers<kProducerRegisters>();
    if (threadIdx.x < 32)
      produce(shared, &q_map, &cache_map, query_offsets, kv_lengths, block_table, table_stride,
              first_sequence, sequences, window, counters);
  } else {
    raise_registers<kConsumerRegisters>();
    consume(shared, warpgroup - 1, slopes, y, y_stride, scale, softcap, window);
  }
}
