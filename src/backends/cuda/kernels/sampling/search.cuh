// Where a list in descending order of its keys would be cut, without sorting it: the 16 sections of
// the interval that holds the cut are summed, the section with the cut is the next interval. A
// thread keeps sums of its own, so nothing is added atomically, and all sums are integers: a result
// depends neither on the order of additions nor on how many threads there are.
//
// Over a row a round is a pass. When few enough tokens are left in the interval, they are gathered
// in shared memory, and one block goes on with them.
#pragma once

#include "kernels/sampling/row.cuh"

// A thread's sum of a section is one number: how many tokens, and below that their mass. Weights
// are at most 1, and a thread has no more than kMostTokens.
constexpr int kMostTokens = (kStretches + 7) / 8 * kPiece;
constexpr int kCountBits = kMostTokens < 512 ? 9 : kMostTokens < 1024 ? 10 : 11;
constexpr int kMassBits = 64 - 2 * kCountBits;  // of weight 1; what rounds to 0 is never drawn
constexpr int kCountShift = 64 - kCountBits;
static_assert(kMostTokens <= 1024 && kWarps >= 8 && kListed <= 512 * kThreads);

__device__ __forceinline__ uint64_t to_mass(float weight) {
  return __float2ull_rn(weight * static_cast<float>(uint64_t(1) << kMassBits));
}
__device__ __forceinline__ double from_mass(uint64_t mass) {
  return __ull2double_rn(mass) * (1.0 / static_cast<double>(uint64_t(1) << kMassBits));
}
constexpr uint64_t kMassMask = (uint64_t(1) << kCountShift) - 1;

__device__ __forceinline__ void begin_search(SearchKey key, uint32_t low, uint32_t high,
                                             double fraction, uint64_t target) {
  __syncthreads();
  if (threadIdx.x == 0)
    block_memory().search = {key, low, high, kVocab, false, -1, target, 0, fraction};
  __syncthreads();
}
__device__ __forceinline__ bool search_goes_on() {
  const Search& search = block_memory().search;
  return !search.all && search.low < search.high;
}

// What is searched: find(x, token, key, weight) says whether the token is among it; mass(weight) is
// what it counts. Here: all tokens, by weight.
struct WeightItem {
  Softmax softmax;
  static __device__ __forceinline__ WeightItem of_block() { return {block_memory().softmax}; }
  __device__ __forceinline__ bool find(float x, int, uint32_t& key, float& w) const {
    w = softmax.weight(x);
    key = __float_as_uint(w);
    return true;
  }
  __device__ __forceinline__ uint64_t mass(float w) const { return to_mass(w); }
};

// What the bounds so far leave, by search.key.
struct OtherItem {
  SearchKey kind;
  Softmax softmax;
  Filter filter;
  double entropy, log_total;
  static __device__ __forceinline__ OtherItem of_block() {
    const BlockMemory& memory = block_memory();
    return {memory.search.key, memory.softmax, memory.filter, memory.typical_entropy,
            memory.typical_log_total};
  }
  // Information less entropy.
  __device__ __forceinline__ float shift(float x) const {
    return static_cast<float>(log_total - softmax.exponent(x) - entropy);
  }
  __device__ __forceinline__ bool find(float x, int token, uint32_t& key, float& w) const {
    w = softmax.weight(x);
    if (kind == kByTypical) {  // the nearer to the entropy, the larger
      key = ~(__float_as_uint(shift(x)) & 0x7fffffffu);
      return w > 0.0f;
    }
    key = kind == kByWeight  ? __float_as_uint(w)
          : kind == kByToken ? ~uint32_t(token)
                             : ordered_key(x);
    return token < kVocab && (kind != kByToken || w == filter.weight) && filter.before_top_p(x);
  }
  __device__ __forceinline__ uint64_t mass(float w) const {
    return kind == kByTypical || kind == kByWeight ? to_mass(w) : 1;
  }
};

// The listed tokens, as a row's are visited; the block is alone with them.
struct List {
  static __device__ __forceinline__ List of_block() { return {}; }
  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    const BlockMemory& memory = block_memory();
    const int count = memory.list_count;
    for (int i = threadIdx.x; i < count; i += kThreads)
      visit(memory.list_logits[i], memory.list_tokens[i]);
  }
};
template <class Source>
constexpr bool kOfTeam = true;
template <>
constexpr bool kOfTeam<List> = false;

// The prefix's mass, when the mass of all is known.
__device__ __forceinline__ uint64_t target_of(const Search& search, uint64_t total) {
  if (search.fraction == 0) return search.target;
  return min(uint64_t(__double2ull_ru(search.fraction * __ull2double_rn(total))), total);
}

// This lane's place among the warp's, inclusive.
template <class T>
__device__ __forceinline__ T warp_prefix(T x) {
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const T before = __shfl_up_sync(0xffffffffu, x, offset);
    if (threadIdx.x % 32 >= offset) x += before;
  }
  return x;
}

// Keeps the section with the cut; the sums are in team.words, those of the largest keys first.
__device__ __noinline__ void keep_section(int shift) {
  BlockMemory& memory = block_memory();
  if (threadIdx.x < 32) {
    const int section = threadIdx.x;
    const uint64_t mass = section < kSections ? memory.team.words[section] : 0;
    const uint64_t end = warp_prefix(mass);
    const uint64_t total = __shfl_sync(0xffffffffu, end, 31);
    Search search = memory.search;
    search.target = target_of(search, total);
    search.fraction = 0;
    const uint64_t above = search.above + end - mass;
    // Nothing to cut when there is no mass at all, or not as much.
    search.all = search.target == 0 || search.above + total < search.target;
    const bool has_cut = above < search.target && search.target <= above + mass;
    __syncwarp();
    if (search.all ? section == 0 : has_cut) {
      search.above = above;
      search.count = static_cast<unsigned>(memory.team.words[kSections + section]);
      search.high -= uint32_t(section) << shift;
      const uint32_t span = (1u << shift) - 1;
      if (section < kSections - 1 && search.high - search.low > span)
        search.low = search.high - span;
      memory.search = search;
    }
  }
  __syncthreads();
}

// One round. Sections are 2^shift keys wide, the last one is the rest. kWhole: no key is outside of
// the interval.
template <class Source, class Item, bool kWhole = false>
__device__ __noinline__ void narrow(int shift) {
  BlockMemory& memory = block_memory();
  const Item item = Item::of_block();
  uint64_t* own = &memory.sections[0][threadIdx.x];
#pragma unroll
  for (int s = 0; s < kSections; ++s) own[s * kThreads] = 0;
  const uint32_t high = memory.search.high, span = high - memory.search.low;
  Source::of_block().each([&](float x, int token) {
    uint32_t key;
    float weight;
    const bool among = item.find(x, token, key, weight);
    const uint32_t distance = high - key;  // beyond `span` for larger keys too
    if (!kWhole && (!among || distance > span)) return;
    const uint32_t section = min(distance >> shift, uint32_t(kSections - 1));
    memory.sections[section][threadIdx.x] += uint64_t(1) << kCountShift | item.mass(weight);
  });
  __syncthreads();

  static_assert(kTeamWords >= 2 * kSections);
#pragma unroll 1
  for (int section = threadIdx.x / 32; section < kSections; section += kWarps) {
    uint64_t mass = 0;
    unsigned count = 0;
#pragma unroll
    for (int i = 0; i < kThreads; i += 32) {
      const uint64_t sum = memory.sections[section][i + threadIdx.x % 32];
      mass += sum & kMassMask;
      count += static_cast<unsigned>(sum >> kCountShift);
    }
    mass = warp_combine(mass, Add());
    count = __reduce_add_sync(0xffffffffu, count);
    if (threadIdx.x % 32 == 0) {
      memory.team.words[section] = mass;
      memory.team.words[kSections + section] = count;
    }
  }
  if (kOfTeam<Source>)
    memory.team.combine_words(2 * kSections, Add());
  else
    __syncthreads();
  keep_section(shift);
}

// So that the sections cover the interval.
__device__ __forceinline__ int even_shift() {
  const Search& search = block_memory().search;
  return max(0, 28 - __clz(search.high - search.low));
}

// The sum of x of the threads before this one; `total`: of all.
__device__ __forceinline__ uint64_t block_prefix(uint64_t x, uint64_t& total) {
  uint64_t* ends = block_memory().team.words;
  uint64_t begin = warp_prefix(x) - x;
  __syncthreads();
  if (threadIdx.x % 32 == 31) ends[threadIdx.x / 32] = begin + x;
  __syncthreads();
  total = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    if (w == int(threadIdx.x) / 32) begin += total;
    total += ends[w];
  }
  return begin;
}

// Sorts one number a thread in descending order, those of the first `count` threads; the others
// must be 0. Bitonic.
__device__ __forceinline__ uint64_t sort_descending(uint64_t own, int count, uint64_t* shared) {
#pragma unroll 1
  for (int size = 2; size / 2 < count; size *= 2) {
#pragma unroll 1
    for (int offset = size / 2; offset > 0; offset /= 2) {
      uint64_t other;
      if (offset < 32) {
        other = __shfl_xor_sync(0xffffffffu, own, offset);
      } else {
        __syncthreads();
        shared[threadIdx.x] = own;
        __syncthreads();
        other = shared[threadIdx.x ^ offset];
      }
      const bool first = (threadIdx.x & offset) == 0, descending = (threadIdx.x & size) == 0;
      own = first == descending ? max(own, other) : min(own, other);
    }
  }
  return own;
}

// Ends a search among listed tokens, when no more than kThreads are left: sorts them.
__device__ __noinline__ void rank_list() {
  BlockMemory& memory = block_memory();
  const OtherItem item = OtherItem::of_block();
  const Search search = memory.search;
  uint64_t* shared = &memory.sections[0][0];
  __syncthreads();
  shared[threadIdx.x] = 0;
  if (threadIdx.x == 0) memory.ranked_count = 0;
  __syncthreads();
  List().each([&](float x, int token) {
    uint32_t key;
    float weight;
    if (!item.find(x, token, key, weight) || search.high - key > search.high - search.low) return;
    const int at = atomicAdd(&memory.ranked_count, 1);
    shared[at] = uint64_t(key) << 32 | ~uint32_t(token);  // the lower ids first
  });
  __syncthreads();
  const uint64_t own = sort_descending(shared[threadIdx.x], memory.ranked_count, shared);
  const uint32_t key = static_cast<uint32_t>(own >> 32);
  const uint64_t mass = own == 0 ? 0 : item.mass(__uint_as_float(key));
  uint64_t total;
  const uint64_t begin = block_prefix(mass, total) + search.above;
  const uint64_t target = target_of(search, total);
  if (begin < target && target <= begin + mass) {
    memory.search.low = memory.search.high = key;
    memory.search.last_token = static_cast<int>(~static_cast<uint32_t>(own));
  }
  if (threadIdx.x == 0) memory.search.all = target == 0 || search.above + total < target;
  __syncthreads();
}

// Until the key is known.
template <class Source>
__device__ __forceinline__ void finish_search() {
  const Search& search = block_memory().search;
  const bool ranks = !kOfTeam<Source> && search.key != kByTypical;  // whose mass is not in its key
  while (search_goes_on() && !(ranks && search.count <= kThreads))
    narrow<Source, OtherItem>(even_shift());
  if (ranks && !search.all && search.count <= kThreads) rank_list();
}

// Brings the lists of all blocks to the leading one.
__device__ __forceinline__ bool gather_lists() {
  BlockMemory& memory = block_memory();
  Team& team = memory.team;
  const int own = memory.list_count;
  if (threadIdx.x < kMaxTeam) team.words[threadIdx.x] = int(threadIdx.x) == team.rank ? own : 0;
  team.combine_words(kMaxTeam, Add());
  int begin = 0, total = 0;
#pragma unroll 1
  for (int r = 0; r < team.size; ++r) {
    if (r == team.rank) begin = total;
    total += static_cast<int>(team.words[r]);
  }
  if (total > kListed) return false;
  volatile float* logits = memory.workspace->list_logits;
  volatile int* tokens = memory.workspace->list_tokens;
  for (int i = threadIdx.x; i < own; i += kThreads) {
    logits[begin + i] = memory.list_logits[i];
    tokens[begin + i] = memory.list_tokens[i];
  }
  team.barrier();
  if (team.leads()) {
    for (int i = threadIdx.x; i < total; i += kThreads) {
      memory.list_logits[i] = logits[i];
      memory.list_tokens[i] = tokens[i];
    }
    if (threadIdx.x == 0) memory.list_count = total;
  }
  __syncthreads();
  return true;
}

// Lists the row's tokens whose keys are in [low, high], in the leading block and in no certain
// order. False: there are more than kListed.
template <class Item>
__device__ __noinline__ bool list_tokens(uint32_t low, uint32_t high) {
  BlockMemory& memory = block_memory();
  const Item item = Item::of_block();
  const uint32_t span = high - low;
  __syncthreads();
  if (threadIdx.x == 0) memory.list_count = 0;
  __syncthreads();
  Row::of_block().each_piece([&](int, int piece, const float(&x)[kPiece]) {
    unsigned wanted = 0;
#pragma unroll
    for (int j = 0; j < kPiece; ++j) {
      uint32_t key;
      float weight;
      if (item.find(x[j], piece * kPiece + j, key, weight) && high - key <= span) wanted |= 1u << j;
    }
    if (!__any_sync(0xffffffffu, wanted != 0)) return;
    const int mine = __popc(wanted);
    const int end = warp_prefix(mine);
    int base = 0;
    if (threadIdx.x % 32 == 31) base = atomicAdd(&memory.list_count, end);
    int at = __shfl_sync(0xffffffffu, base, 31) + end - mine;
#pragma unroll
    for (int j = 0; j < kPiece; ++j)
      if ((wanted >> j & 1) != 0) {
        if (at < kListed) {
          memory.list_logits[at] = x[j];
          memory.list_tokens[at] = piece * kPiece + j;
        }
        ++at;
      }
  });
  __syncthreads();
  return memory.team.alone() ? memory.list_count <= kListed : gather_lists();
}

// A bound that at least `count` logits of the row reach, and few more: the count-th largest of the
// maxima of kThreads groups, made of those that find_maximum left. count <= kThreads.
__device__ __noinline__ float bound_of_largest(int count) {
  BlockMemory& memory = block_memory();
  const Team& team = memory.team;
  __syncthreads();
  float own = memory.maxima[threadIdx.x];
  if (!team.alone()) {
#pragma unroll 1
    for (int offset = 1; offset < team.size; offset *= 2)
      own = fmaxf(own, __shfl_xor_sync(0xffffffffu, own, offset));
    volatile float* all = memory.workspace->groups;
    if (threadIdx.x % team.size == 0) all[(team.rank * kThreads + threadIdx.x) / team.size] = own;
    team.barrier();
    own = all[threadIdx.x];
  }
  memory.groups[threadIdx.x] = own;
  __syncthreads();
  int larger = 0;
#pragma unroll 8
  for (int i = 0; i < kThreads; ++i) {
    const float other = memory.groups[i];
    larger += other > own || (other == own && i < int(threadIdx.x));
  }
  if (larger == count - 1) memory.team.words[0] = __float_as_uint(own);
  __syncthreads();
  return __uint_as_float(static_cast<uint32_t>(memory.team.words[0]));
}
