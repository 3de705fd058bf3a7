// append_kv: a block takes all heads of a few tokens, or a slice of one token's. Its threads hold
// their units of up to two vectors in registers while the first warps look up the tokens' slots and
// the last ones compute cosines and sines, once for all heads. Float32. Bound by memory, and by
// latency for few tokens: offsets and lengths, the block table, the store.
//
//   ELEMENT, CACHE_ELEMENT           float, f16 or bf16: of q, k and v; of the cache
//   HEADS, KV_HEADS, HEAD_DIM        shapes
//   PAIRS                            0: nothing turns; INTERLEAVED: pairs are (2p, 2p + 1)
//   BLOCK_SIZE                       slots of a cache block
//   ACCESS                           elements of a memory access
//   THREADS, TOKENS, UNITS           of a block, of a block, of a thread
#include "device/dependency.cuh"
#include "device/rotary.cuh"

using Element = ELEMENT;
using CacheElement = CACHE_ELEMENT;
constexpr int kHeads = HEADS;
constexpr int kKvHeads = KV_HEADS;
constexpr int kHeadDim = HEAD_DIM;
constexpr int kPairs = PAIRS;
constexpr bool kInterleaved = INTERLEAVED;
constexpr int kBlockSize = BLOCK_SIZE;
constexpr int kAccess = ACCESS;
constexpr int kThreads = THREADS;
constexpr int kTokens = TOKENS;
constexpr int kUnits = UNITS;

using Head = RotaryHead<Element, kHeadDim, kPairs, kInterleaved, kAccess>;
// A token's units: those of its keys, its values, its queries.
constexpr int kKeyUnits = Head::kTurnUnits + Head::kRestUnits;
constexpr int kKeysEnd = kKvHeads * kKeyUnits;
constexpr int kValuesEnd = kKeysEnd + kKvHeads * Head::kAllUnits;
constexpr int kTokenUnits = kValuesEnd + kHeads * Head::kTurnUnits;

// Unit n of a token.
struct Part {
  bool value, query;
  int head, unit;
  __device__ __forceinline__ explicit Part(int n) : value(n >= kKeysEnd), query(n >= kValuesEnd) {
    query = kPairs > 0 && query;
    value = value && !query;
    const int units = query ? Head::kTurnUnits : value ? Head::kAllUnits : kKeyUnits;
    n -= query ? kValuesEnd : value ? kKeysEnd : 0;
    head = n / units;
    unit = n % units;
  }
};

// Elements between heads, between keys and values, between blocks of the cache.
constexpr int64_t kCacheHead = int64_t(kBlockSize) * kHeadDim;
constexpr int64_t kCacheHalf = kKvHeads * kCacheHead;
constexpr int64_t kCacheBlock = 2 * kCacheHalf;

struct Batch {
  const int* query_offsets;
  const int* kv_lengths;
  const int* block_table;
  int table_stride;
  int sequences;
};

// Where the cache has the token's key of head 0, in elements; -1 for a token behind those of all
// sequences. By a whole warp.
__device__ __forceinline__ int64_t find_slot(const Batch& batch, int token) {
  // In a step of decodes the sequence is the one of the same number.
  int s = min(token, batch.sequences - 1);
  const int begin = batch.query_offsets[s];
  int end = batch.query_offsets[s + 1];
  int length;  // now, not where the two branches meet
  asm volatile("ld.global.s32 %0, [%1];" : "=r"(length) : "l"(batch.kv_lengths + s));
  if (token < begin || token >= end) {
    s = 0;
#pragma unroll 4
    for (int base = 0; base < batch.sequences; base += 32) {
      const int i = base + threadIdx.x % 32;
      const bool ended = i < batch.sequences && batch.query_offsets[i + 1] <= token;
      s += __popc(__ballot_sync(0xffffffffu, ended));
    }
    if (s == batch.sequences) return -1;
    end = batch.query_offsets[s + 1];
    length = batch.kv_lengths[s];
  }
  const int position = length - end + token;
  const int block = batch.block_table[int64_t(s) * batch.table_stride + position / kBlockSize];
  return block * kCacheBlock + position % kBlockSize * kHeadDim;
}

extern "C" __global__ void __launch_bounds__(kThreads, 8)
    append_kv(Element* q, int64_t q_stride, const Element* k, int64_t k_stride, const Element* v,
              int64_t v_stride, const int* positions, const float* inv_freq, CacheElement* cache,
              const int* query_offsets, const int* kv_lengths, const int* block_table,
              int table_stride, int sequences, int tokens, float scale) {
  __shared__ float2 table[kTokens][kPairs > 0 ? kPairs : 1];
  __shared__ int64_t slots[kTokens];
  launch_dependents();
  wait_for_dependency();
  const int first_token = blockIdx.x * kTokens;
  const int first_unit = blockIdx.y * (kThreads * kUnits) + threadIdx.x;

  typename Head::Unit units[kUnits];
  const auto for_units = [&](const auto& visit) {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      const int n = first_unit + i * kThreads;
      const int token = n / kTokenUnits;
      if (token < kTokens && first_token + token < tokens) visit(units[i], token, n % kTokenUnits);
    }
  };
  for_units([&](auto& unit, int token, int n) {
    const Part part(n);
    if (part.value)
      unit.place(part.unit, false, Head::kAllVectors, 0);
    else
      unit.place(part.unit);
    const Element* from = part.query ? q : part.value ? v : k;
    const int64_t stride = part.query ? q_stride : part.value ? v_stride : k_stride;
    unit.load(from + (first_token + token) * stride + part.head * kHeadDim);
  });

  const Batch batch{query_offsets, kv_lengths, block_table, table_stride, sequences};
  for (int token = threadIdx.x / 32; token < kTokens; token += kThreads / 32)
    if (first_token + token < tokens) {
      const int64_t slot = find_slot(batch, first_token + token);
      if (threadIdx.x % 32 == 0) slots[token] = slot;
    }
  if constexpr (kPairs > 0) {
    for (int i = kThreads - 1 - threadIdx.x; i < kTokens * kPairs; i += kThreads) {
      const int token = i / kPairs;
      const int p = i % kPairs;
      if (first_token + token < tokens)
        table[token][Head::table_slot(p)] =
            rotary_turn(positions[first_token + token], inv_freq[p], scale);
    }
  }
  __syncthreads();

  for_units([&](auto& unit, int token, int n) {
    const int64_t slot = slots[token];
    if (slot < 0) return;
    unit.turn(table[token]);
    const Part part(n);
    if (part.query)
      unit.store(q + (first_token + token) * q_stride + part.head * kHeadDim);
    else
      unit.store(cache + slot + (part.value ? kCacheHalf : 0) + part.head * kCacheHead);
  });
}
