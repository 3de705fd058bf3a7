// append_kv: a block takes all heads of a few tokens, or a slice of one token's. Its threads hold
// their units of up to two vectors in registers while the first warps look up the tokens' slots and
// the last ones compute cosines and sines, once for all heads. Where heads are normalised, each has
// neighbouring lanes of a warp for itself, which add up its squares. Float32. Bound by memory, and
// by latency for few tokens: offsets and lengths, the block table, the store.
//
//   ELEMENT, CACHE_ELEMENT           float, f16 or bf16: of q, k and v; of the cache
//   HEADS, KV_HEADS, HEAD_DIM        shapes
//   PAIRS                            0: nothing turns; INTERLEAVED: pairs are (2p, 2p + 1)
//   Q_NORM, K_NORM                   whether the heads of q, of k are normalised
//   LANES                            with a norm: of each head, a power of two up to 32; else 1
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
constexpr bool kQNorm = Q_NORM;
constexpr bool kKNorm = K_NORM;
constexpr int kLanes = LANES;
constexpr int kBlockSize = BLOCK_SIZE;
constexpr int kAccess = ACCESS;
constexpr int kThreads = THREADS;
constexpr int kTokens = TOKENS;
constexpr int kUnits = UNITS;

using Head = RotaryHead<Element, kHeadDim, kPairs, kInterleaved, kAccess>;
// Units of a key, a value, a query (of which only what changes).
constexpr int kKeyUnits = Head::kTurnUnits + Head::kRestUnits;
constexpr int kValueUnits = Head::kAllUnits;
constexpr int kQueryUnits = kQNorm ? kKeyUnits : Head::kTurnUnits;
// Threads of a head: one a unit, or kLanes, of which each has kRounds units or fewer.
constexpr bool kNorms = kQNorm || kKNorm;
constexpr int kRounds = kNorms ? (kKeyUnits + kLanes - 1) / kLanes : 1;
static_assert(kUnits % kRounds == 0 && 32 % kLanes == 0);
constexpr int threads_for(int units) { return kNorms && units > 0 ? kLanes : units; }
// A token's threads: those of its keys, its values, its queries.
constexpr int kKeysEnd = kKvHeads * threads_for(kKeyUnits);
constexpr int kValuesEnd = kKeysEnd + kKvHeads * threads_for(kValueUnits);
constexpr int kTokenThreads = kValuesEnd + kHeads * threads_for(kQueryUnits);

// The unit that thread n of a token has in a round.
struct Part {
  bool value, query;
  int head, unit;
  __device__ __forceinline__ Part(int n, int round) : value(n >= kKeysEnd), query(n >= kValuesEnd) {
    query = kQueryUnits > 0 && query;
    value = value && !query;
    const int threads = threads_for(units());
    n -= query ? kValuesEnd : value ? kKeysEnd : 0;
    head = n / threads;
    unit = n % threads + round * kLanes;
  }
  __device__ __forceinline__ int units() const {
    return query ? kQueryUnits : value ? kValueUnits : kKeyUnits;
  }
  __device__ __forceinline__ bool exists() const { return !kNorms || unit < units(); }
  __device__ __forceinline__ bool has_norm() const { return query ? kQNorm : kKNorm && !value; }
};

// What the heads' elements are multiplied by, keys' and queries': on its way to shared memory.
struct NormWeights {
  static constexpr int kHeld = (2 * kHeadDim + kThreads - 1) / kThreads;
  float held[kHeld];

  template <class Visit>
  __device__ __forceinline__ static void for_mine(const Visit& visit) {
#pragma unroll
    for (int j = 0; j < kHeld; ++j) {
      const int i = j * kThreads + threadIdx.x;
      if (i < 2 * kHeadDim && (i < kHeadDim ? kKNorm : kQNorm)) visit(j, i);
    }
  }
  __device__ __forceinline__ void load(const float* k_norm, const float* q_norm) {
    for_mine([&](int j, int i) {  // as ld.global.nc it would be moved behind the wait
      asm volatile("ld.global.f32 %0, [%1];"
                   : "=f"(held[j])
                   : "l"(i < kHeadDim ? k_norm + i : q_norm + (i - kHeadDim)));
    });
  }
  __device__ __forceinline__ void store(float* shared) const {
    for_mine([&](int j, int i) { shared[i] = held[j]; });
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

extern "C" __global__ void __launch_bounds__(kThreads, kNorms ? 7 : 8)
    append_kv(Element* q, int64_t q_stride, const Element* k, int64_t k_stride, const Element* v,
              int64_t v_stride, const int* positions, const float* inv_freq, const float* q_norm,
              const float* k_norm, CacheElement* cache, const int* query_offsets,
              const int* kv_lengths, const int* block_table, int table_stride, int sequences,
              int tokens, float scale, float norm_eps) {
  __shared__ float2 table[kTokens][kPairs > 0 ? kPairs : 1];
  __shared__ int64_t slots[kTokens];
  alignas(16) __shared__ float weights[kNorms ? 2 * kHeadDim : 1];
  launch_dependents();
  NormWeights norm_weights;
  if constexpr (kNorms) norm_weights.load(k_norm, q_norm);
  wait_for_dependency();
  const int first_token = blockIdx.x * kTokens;
  const int first_thread = blockIdx.y * (kThreads * kUnits / kRounds) + threadIdx.x;

  typename Head::Unit units[kUnits];
  const auto for_units = [&](const auto& visit) {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      const int n = first_thread + i / kRounds * kThreads;
      const int token = n / kTokenThreads;
      const Part part(n % kTokenThreads, i % kRounds);
      if (token < kTokens && first_token + token < tokens && part.exists()) visit(i, token, part);
    }
  };
  for_units([&](int i, int token, const Part& part) {
    auto& unit = units[i];
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
  if constexpr (kNorms) norm_weights.store(weights);
  if constexpr (kPairs > 0) {
    for (int i = kThreads - 1 - threadIdx.x; i < kTokens * kPairs; i += kThreads) {
      const int token = i / kPairs;
      const int p = i % kPairs;
      if (first_token + token < tokens)
        table[token][Head::table_slot(p)] =
            rotary_turn(positions[first_token + token], inv_freq[p], scale);
    }
  }
  float factors[kUnits];
  if constexpr (kNorms) {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) factors[i] = 0.0f;
    for_units([&](int i, int, const Part& part) {
      if (part.has_norm()) factors[i] = units[i].squares();
    });
#pragma unroll
    for (int i = 0; i < kUnits; i += kRounds) {
      float squares = 0.0f;
#pragma unroll
      for (int round = 0; round < kRounds; ++round) squares += factors[i + round];
#pragma unroll
      for (int offset = kLanes / 2; offset > 0; offset /= 2)
        squares += __shfl_xor_sync(0xffffffffu, squares, offset);
#pragma unroll
      for (int round = 0; round < kRounds; ++round)
        factors[i + round] = rsqrtf(squares * (1.0f / kHeadDim) + norm_eps);
    }
  }
  __syncthreads();

  for_units([&](int i, int token, const Part& part) {
    auto& unit = units[i];
    const int64_t slot = slots[token];
    if (slot < 0) return;
    if (part.has_norm())
      unit.turn(table[token], HeadNorm{factors[i], weights + (part.query ? kHeadDim : 0)});
    else if (!kQNorm || !kKNorm)  // values pass through
      unit.turn(table[token]);
    if (part.query)
      unit.store(q + (first_token + token) * q_stride + part.head * kHeadDim);
    else
      unit.store(cache + slot + (part.value ? kCacheHalf : 0) + part.head * kCacheHead);
  });
}
