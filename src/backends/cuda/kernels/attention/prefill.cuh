// Prefill attention over the paged cache for any GPU since sm_80, bf16 and f16.
//
// A block has one tile of kTokens query tokens of kPack heads that share a kv head: kRows rows, row
// r being head r % kPack of token r / kPack. Its warps have kTiles x 16 rows each and pass over the
// tile's keys from the last to the first, kKeys at a time: scores by mma.sync, running softmax in
// registers, then weights times values. Keys of a step are gathered from their pages by cp.async
// while the tensor cores work on the step's other half. Only steps that cross the causal diagonal
// or the window's edge are masked. Sums are float32, weights are rounded to ELEMENT.
//
// Bound by mma.sync (about 60 % of wgmma's rate on H100) and the special function unit.
#include "device/dependency.cuh"
#include "kernels/attention/prefill_softmax.cuh"
#include "kernels/attention/prefill_tiles.cuh"

// ELEMENT: bf16 or f16
// HEAD_DIM: multiple of 8, at most 256    HEADS, KV_HEADS
// PACK: heads in a tile, divides HEADS / KV_HEADS
// BLOCK_SIZE: keys of a page, any
// WARPS, TILES: rows are WARPS * TILES * 16    KEYS: of a step, multiple of 16
// WINDOW, SOFTCAP, ALIBI: 0 or 1
using Element = ELEMENT;
constexpr int kHeadDim = HEAD_DIM;
constexpr int kKvHeads = KV_HEADS;
constexpr int kGroup = HEADS / KV_HEADS;
constexpr int kPack = PACK;
constexpr int kPageKeys = BLOCK_SIZE;
constexpr int kTiles = TILES;
constexpr int kThreads = WARPS * 32;
constexpr int kRows = WARPS * TILES * 16;
constexpr int kTokens = kRows / kPack;
constexpr int kKeys = KEYS;
constexpr bool kWindow = WINDOW, kSoftcap = SOFTCAP, kAlibi = ALIBI;

constexpr int kWidth = (kHeadDim + 15) / 16 * 16;  // columns beyond kHeadDim are zeros
constexpr int kStride = kWidth + 8;  // of a row in shared memory: an odd number of 16 bytes
constexpr int kChunks = kWidth / 8;  // of 16 bytes
static_assert(kHeadDim % 8 == 0 && kGroup % kPack == 0 && kKeys % 16 == 0 && kTokens > 0);

// Copies rows to shared memory, 16 bytes a thread at a time; `source(row, valid)` says where a row
// begins. Rows that are not valid become zeros.
template <int kCopyRows, class Source>
__device__ __forceinline__ void copy_rows(uint32_t to, const Source& source) {
  constexpr int kPassRows = kThreads / kChunks;
  const int first = threadIdx.x / kChunks, chunk = threadIdx.x % kChunks;
  if (kThreads % kChunks != 0 && first >= kPassRows) return;
  to += (first * kStride + chunk * 8) * sizeof(Element);
#pragma unroll
  for (int i = 0; i < kCopyRows; i += kPassRows) {
    if (i + kPassRows > kCopyRows && first + i >= kCopyRows) break;
    bool valid = true;
    const Element* from = source(first + i, valid) + chunk * 8;
    if (kWidth != kHeadDim) valid = valid && chunk < kHeadDim / 8;
    copy_async_16(to + i * kStride * sizeof(Element), from, valid);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, 2)
    attention_prefill(const Element* q, int64_t q_stride, const Element* cache,
                      const int32_t* query_offsets, const int32_t* kv_lengths,
                      const int32_t* block_table, int32_t table_stride, const float* slopes,
                      Element* y, int64_t y_stride, int32_t first_sequence, int32_t sequences,
                      float scale, float softcap, int32_t window) {
  extern __shared__ uint4 shared[];
  __shared__ PrefillTile shared_tile;
  wait_for_dependency();
  launch_dependents();
  if (threadIdx.x < 32) {
    TileFinder<kTokens, HEADS / kPack, 2 * kHeadDim * sizeof(Element)> finder(
        query_offsets, kv_lengths, first_sequence, sequences);
    const PrefillTile found = finder.find(blockIdx.x);
    if (threadIdx.x == 0) shared_tile = found;
  }
  __syncthreads();
  const PrefillTile& tile = shared_tile;  // read again where needed: registers are scarce
  if (tile.tokens == 0) return;

  const int lane = threadIdx.x % 32;
  const int first_head = tile.head_group * kPack;
  const int kv_head = first_head / kGroup;
  const uint32_t q_shared = shared_address(shared);
  const uint32_t k_shared = q_shared + kRows * kStride * sizeof(Element);
  const uint32_t v_shared = k_shared + kKeys * kStride * sizeof(Element);

  copy_rows<kRows>(q_shared, [&](int row, bool& valid) {
    const int token = row / kPack;
    valid = token < tile.tokens;
    return q + (tile.first_row + (valid ? token : 0)) * q_stride +
           (first_head + row % kPack) * kHeadDim;
  });

  // Keys that nobody has written yet read as zeros: 0 * NaN would be NaN.
  const auto load_step = [&](uint32_t to, int half, int first_key) {
    const int32_t* pages = block_table + int64_t{tile.sequence} * table_stride;
    const int keys = tile.length - first_key;
    const auto page_start = [&](int page) {
      return cache + ((int64_t{page} * 2 + half) * kKvHeads + kv_head) * (kPageKeys * kHeadDim);
    };
    if constexpr (kPageKeys % kKeys == 0) {
      const Element* from =
          page_start(pages[first_key / kPageKeys]) + first_key % kPageKeys * kHeadDim;
      copy_rows<kKeys>(to, [&](int row, bool& valid) {
        valid = row < keys;
        return from + row * kHeadDim;
      });
    } else {
      copy_rows<kKeys>(to, [&](int row, bool& valid) {
        valid = row < keys;
        const int key = first_key + row;
        return page_start(valid ? pages[key / kPageKeys] : 0) + key % kPageKeys * kHeadDim;
      });
    }
  };

  // Steps [begin, end); those from causal_from on and below window_until have keys to hide.
  const int end = (tile.position + tile.tokens + kKeys - 1) / kKeys;
  const int causal_from = (tile.position + 1) / kKeys;
  int begin = 0, window_until = 0;
  if constexpr (kWindow) {
    begin = max(0, tile.position - window + 1) / kKeys;
    window_until = (max(0, tile.position + tile.tokens - window) + kKeys - 1) / kKeys;
  }
  load_step(k_shared, 0, (end - 1) * kKeys);
  copy_async_commit();

  // Rows of this thread: first_row and, of each 16, the one 8 further.
  const int first_row = threadIdx.x / 32 * (16 * kTiles) + lane / 4;
  // The key of a row's own token, counted from the thread's first column of a step. Not kept: few
  // steps need it.
  const auto distance_of = [&](int t, int r, int step) {
    const int token = min((first_row + t * 16 + r * 8) / kPack, tile.tokens - 1);
    return tile.position + token - lane % 4 * 2 - step * kKeys;
  };
  const ScoreRule<kAlibi, kSoftcap> rule(scale, softcap);
  float slope[kTiles][2] = {};
  if constexpr (kAlibi) {
#pragma unroll
    for (int t = 0; t < kTiles; ++t)
#pragma unroll
      for (int r = 0; r < 2; ++r)
        slope[t][r] = slopes[first_head + (first_row + t * 16 + r * 8) % kPack] * rule.unit;
  }

  // Addresses of ldmatrix: this lane's row of the first matrix.
  const uint32_t q_lane =
      q_shared +
      ((threadIdx.x / 32 * (16 * kTiles) + lane % 16) * kStride + lane / 16 * 8) * sizeof(Element);
  const uint32_t k_lane =
      k_shared + ((lane % 8 + lane / 16 * 8) * kStride + lane / 8 % 2 * 8) * sizeof(Element);
  const uint32_t v_lane = v_shared + (lane % 16 * kStride + lane / 16 * 8) * sizeof(Element);

  float o[kTiles][kWidth / 8][4] = {};
  RunningRows rows[kTiles];
#pragma unroll
  for (int t = 0; t < kTiles; ++t) rows[t] = {{minus_infinity(), minus_infinity()}, {0.0f, 0.0f}};

#pragma unroll 1
  for (int step = end - 1; step >= begin; --step) {
    copy_async_wait<0>();
    __syncthreads();  // keys are there; nobody reads the last step's values any more
    load_step(v_shared, 1, step * kKeys);
    copy_async_commit();

    float s[kTiles][kKeys / 8][4] = {};
#pragma unroll
    for (int k = 0; k < kWidth / 16; ++k) {
      uint32_t a[kTiles][4];
#pragma unroll
      for (int t = 0; t < kTiles; ++t)
        load_matrix_x4(a[t], q_lane + (t * 16 * kStride + k * 16) * sizeof(Element));
#pragma unroll
      for (int j = 0; j < kKeys / 8; j += 2) {
        uint32_t b[4];
        load_matrix_x4(b, k_lane + (j * 8 * kStride + k * 16) * sizeof(Element));
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          mma_16816<Element>(s[t][j], a[t], {b[0], b[1]});
          mma_16816<Element>(s[t][j + 1], a[t], {b[2], b[3]});
        }
      }
    }

    copy_async_wait<0>();
    __syncthreads();  // values are there; nobody reads the keys any more
    if (step > begin) {
      load_step(k_shared, 0, (step - 1) * kKeys);
      copy_async_commit();
    }

    uint32_t p[kTiles][kKeys / 16][4];
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const bool masked = step >= causal_from || (kWindow && step < window_until);
      if (kAlibi || masked) {
        const int distance[2] = {distance_of(t, 0, step), distance_of(t, 1, step)};
        rule.apply(s[t], distance, slope[t]);
        if (masked) mask_scores<kWindow>(s[t], distance, window);
      } else {
        rule.apply(s[t], {0, 0}, slope[t]);
      }
      float rescale[2];
      softmax_step<false>(s[t], rows[t], rule.rest(), rescale);
      if (rescales(rescale)) rescale_rows(o[t], rescale);
      pack_weights<Element>(p[t], s[t]);
    }

#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k)
#pragma unroll
      for (int j = 0; j < kWidth / 8; j += 2) {
        uint32_t b[4];
        load_matrix_x4_transposed(b, v_lane + (k * 16 * kStride + j * 8) * sizeof(Element));
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          mma_16816<Element>(o[t][j], p[t][k], {b[0], b[1]});
          mma_16816<Element>(o[t][j + 1], p[t][k], {b[2], b[3]});
        }
      }
  }

#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    Element* to[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = first_row + t * 16 + r * 8;
      const int token = row / kPack;
      to[r] = token < tile.tokens
                  ? y + (tile.first_row + token) * y_stride + (first_head + row % kPack) * kHeadDim
                  : nullptr;
    }
    store_rows<Element, kHeadDim>(o[t], rows[t], to);
  }
}
