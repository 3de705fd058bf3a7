// typical_p, top_k, top_p and min_p: each becomes a bound, found by searching what those before it
// left. Functions of the team, unless they say otherwise.
#pragma once

#include "kernels/sampling/search.cuh"

constexpr uint32_t kLargestWeight = 0x3f800010u;  // the key of 1, and what rounding may add to it
constexpr int kOctave = 23;  // the width of a section that holds the weights of an exponent

// What the leading block found, in all blocks.
__device__ __noinline__ void share_filter() {
  BlockMemory& memory = block_memory();
  Team& team = memory.team;
  __syncthreads();
  if (team.alone()) return;
  if (threadIdx.x == 0) {
    const Filter& filter = memory.filter;
    const bool leads = team.leads();
    team.words[0] = leads ? __float_as_uint(filter.least) : 0;
    team.words[1] = leads ? __float_as_uint(filter.most) : 0;
    team.words[2] = leads ? __float_as_uint(filter.weight) : 0;
    team.words[3] = leads ? uint32_t(filter.last_token) : 0;
  }
  team.combine_words(4, Add());
  if (threadIdx.x == 0)
    memory.filter = {__uint_as_float(uint32_t(team.words[0])),
                     __uint_as_float(uint32_t(team.words[1])),
                     __uint_as_float(uint32_t(team.words[2])), int(uint32_t(team.words[3]))};
  __syncthreads();
}

// What becomes of the key that a search has found: set by thread 0 of the block.
__device__ __forceinline__ void end_top_k() {
  BlockMemory& memory = block_memory();
  if (!memory.search.all && threadIdx.x == 0)
    memory.filter.least = fmaxf(memory.filter.least, from_ordered_key(memory.search.low));
  __syncthreads();
}

template <class Source>
__device__ __forceinline__ void end_top_p() {
  BlockMemory& memory = block_memory();
  const Search found = memory.search;
  if (found.all) return;
  const float weight = __uint_as_float(found.low);
  __syncthreads();
  if (threadIdx.x == 0) memory.filter.weight = weight;
  if (found.last_token >= 0) {
    if (threadIdx.x == 0) memory.filter.last_token = found.last_token;
    return __syncthreads();
  }
  const uint64_t each = to_mass(weight);
  const uint64_t ties = (found.target - found.above + each - 1) / each;  // that are needed
  if (ties >= found.count) return __syncthreads();
  begin_search(kByToken, ~uint32_t(kVocab - 1), ~0u, 0.0, ties);  // the lower ids first
  finish_search<Source>();
  if (threadIdx.x == 0) memory.filter.last_token = static_cast<int>(~memory.search.low);
  __syncthreads();
}

// The logits whose information is as near to the entropy as the key found says: an interval,
// because rounding keeps order.
__device__ __forceinline__ void end_typical() {
  BlockMemory& memory = block_memory();
  const Search found = memory.search;
  if (found.all) return;
  const OtherItem item = OtherItem::of_block();
  const float distance = __uint_as_float(~found.low);
  if (threadIdx.x < 2) {
    // Thread 0 finds the least logit that is not too improbable, thread 1 the largest that is not
    // too probable: between a key that is within the bound and one that is not.
    const bool lower = threadIdx.x == 0;
    const uint32_t largest = ordered_key(item.softmax.maximum), least = ordered_key(-kLargest);
    uint32_t within = lower ? largest : least;
    uint32_t beyond = lower ? least - 1 : largest + 1;
    while (max(within, beyond) - min(within, beyond) > 1) {
      const uint32_t middle = within / 2 + beyond / 2 + (within & beyond & 1);
      const float x = from_ordered_key(middle);
      const bool is_within = lower ? item.shift(x) <= distance && item.softmax.weight(x) > 0.0f
                                   : item.shift(x) >= -distance;
      (is_within ? within : beyond) = middle;
    }
    (lower ? memory.filter.least : memory.filter.most) = from_ordered_key(within);
  }
  __syncthreads();
}

// Narrows the search over the row until few tokens are left or only ties; then finish, for List and
// the leading block alone, or for Row.
template <class Item, class FinishList, class FinishRow>
__device__ __forceinline__ void finish_row_search(const FinishList& finish_list,
                                                  const FinishRow& finish_row) {
  BlockMemory& memory = block_memory();
  const Search& search = memory.search;
  while (search_goes_on() && search.count > kListed) narrow<Row, Item>(even_shift());
  if (search.all) return;
  if (search.count > kListed) return finish_row();
  list_tokens<Item>(search.low, search.high);
  if (memory.team.leads()) {
    finish_search<List>();
    finish_list();
  }
  share_filter();
}

// Meister et al. 2022: the tokens whose information is nearest to the entropy.
__device__ __noinline__ void filter_typical() {
  BlockMemory& memory = block_memory();
  const Softmax softmax = memory.softmax;
  uint64_t mass = 0;
  double weighted = 0;
  Row::of_block().each([&](float x, int) {
    const float w = softmax.weight(x);
    if (w == 0.0f) return;
    mass += to_mass(w);
    weighted += static_cast<double>(w) * softmax.exponent(x);
  });
  const double total = from_mass(memory.team.combine_team(mass, Add()));
  weighted =
      __longlong_as_double(memory.team.combine_team(__double_as_longlong(weighted), AddDouble()));
  if (threadIdx.x == 0) {
    memory.typical_log_total = log(total);
    memory.typical_entropy = memory.typical_log_total - weighted / total;
  }
  // Keys are complements of floats >= 0.
  begin_search(kByTypical, 0x80000000u, ~0u, memory.params.typical_p, 0);
  finish_row_search<OtherItem>(end_typical, end_typical);
}

// The list has all that is searched: there are no more tokens than in there.
__device__ __forceinline__ void search_list() {
  BlockMemory& memory = block_memory();
  if (threadIdx.x == 0) memory.search.count = memory.list_count;
  __syncthreads();
}

// True: the leading block's list has all tokens that can be kept.
__device__ __noinline__ bool filter_top_k(bool first) {
  BlockMemory& memory = block_memory();
  const int top_k = memory.params.top_k;
  constexpr int kBounded = kThreads * 3 / 4;  // beyond, the bound lies too low
  begin_search(kByLogit, 0, ~0u, 0.0, static_cast<uint64_t>(top_k));
  bool listed = false;
  if (first && top_k <= kBounded)
    listed = list_tokens<OtherItem>(ordered_key(bound_of_largest(top_k)), ~0u);
  if (!listed) {
    finish_row_search<OtherItem>(end_top_k, end_top_k);
  } else if (memory.team.leads()) {
    search_list();
    finish_search<List>();
    end_top_k();
  }
  return listed;
}

__device__ __noinline__ void filter_top_p(bool first, bool listed) {
  BlockMemory& memory = block_memory();
  begin_search(kByWeight, 0, kLargestWeight, memory.params.top_p, 0);
  if (listed) {
    if (!memory.team.leads()) return;
    search_list();
    if (memory.search.count > kThreads) narrow<List, OtherItem>(kOctave);
    finish_search<List>();
    end_top_p<List>();
  } else if (first) {
    narrow<Row, WeightItem, true>(kOctave);
    finish_row_search<WeightItem>(end_top_p<List>, end_top_p<Row>);
  } else {
    narrow<Row, OtherItem>(kOctave);
    finish_row_search<OtherItem>(end_top_p<List>, end_top_p<Row>);
  }
}

// The largest weight that is left.
__device__ __noinline__ float largest_weight() {
  BlockMemory& memory = block_memory();
  const Softmax softmax = memory.softmax;
  const Filter filter = memory.filter;
  uint64_t most = 0;
  Row::of_block().each([&](float x, int token) {
    const float w = softmax.weight(x);
    if (filter.keeps(x, w, token)) most = max(most, uint64_t(__float_as_uint(w)));
  });
  return __uint_as_float(static_cast<uint32_t>(memory.team.combine_team(most, Max())));
}

// All bounds of the slot's parameters, in all blocks.
__device__ __forceinline__ void find_filter() {
  BlockMemory& memory = block_memory();
  const SampleParams& params = memory.params;
  const bool typical = params.typical_p < 1.0;
  if (typical) filter_typical();
  bool listed = false;
  const bool by_count = params.top_k > 0 && params.top_k < kVocab;
  if (by_count) listed = filter_top_k(!typical);
  if (params.top_p < 1.0) filter_top_p(!typical && !by_count, listed);
  if (listed) share_filter();
  if (params.min_p > 0.0) {
    // Only typical_p may have taken the row's largest.
    const float largest = typical ? largest_weight() : 1.0f;
    const float least = __double2float_ru(params.min_p * static_cast<double>(largest));
    __syncthreads();
    if (threadIdx.x == 0 && least > memory.filter.weight) {
      memory.filter.weight = least;
      memory.filter.last_token = 0x7fffffff;
    }
    __syncthreads();
  }
}
