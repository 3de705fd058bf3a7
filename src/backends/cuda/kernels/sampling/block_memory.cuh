// What a block knows of the row it samples: in shared memory, because all threads know the same,
// and so that passes over the row can be functions of their own. Written by one thread or by all
// alike, then __syncthreads().
//
//   SHARED     bytes of shared memory that the launcher gives a block
//   WORKSPACE  bytes of global memory that it gives a row
#pragma once

#include "kernels/sampling/pieces.cuh"
#include "kernels/sampling/slot_state.cuh"
#include "kernels/sampling/team.cuh"

constexpr int kSections = 16;  // of a search's interval
constexpr int kListed = 3072;  // tokens that the list holds

// Weights are exp((x - maximum) * scale): 1 for the largest logit.
struct Softmax {
  float maximum;
  float scale;

  // 0 below about 2^-126. Rounded like the host's but for the exponential.
  __device__ __forceinline__ float weight(float x) const {
    constexpr float kLog2E = 1.44269504f;
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"((x - maximum) * scale * kLog2E));
    return y;
  }
  __device__ __forceinline__ double exponent(float x) const {
    return __dmul_rn(static_cast<double>(x - maximum), static_cast<double>(scale));
  }
};

// A token is kept when it is within all bounds.
struct Filter {
  float least, most;  // logits: typical_p and top_k
  float weight;       // top_p and min_p: above it, or as much up to `last_token`
  int last_token;

  __device__ __forceinline__ bool before_top_p(float x) const { return x >= least && x <= most; }
  __device__ __forceinline__ bool keeps(float x, float w, int token) const {
    return before_top_p(x) && (token <= last_token ? w >= weight : w > weight);
  }
};
__device__ __forceinline__ Filter keep_everything() {
  return {minus_infinity(), kLargest, -1.0f, 0x7fffffff};
}

// For the key at which a prefix of the tokens, in descending order of their keys, ends.
enum SearchKey { kByWeight, kByLogit, kByTypical, kByToken };
struct Search {
  SearchKey key;
  uint32_t low, high;  // the key is one of [low, high]
  unsigned count;      // tokens in there, at most
  bool all;            // there is less than the target: the prefix is everything
  int last_token;      // of the prefix, the lower ids first among ties; -1: not known
  uint64_t target;     // the prefix's mass, at least
  uint64_t above;      // mass of the keys above `high`
  double fraction;     // of the mass of all, as long as the target is not known; then 0
};

struct Maximum {
  float value;
  int piece;   // the first that holds it
  bool valid;  // no NaN, no +infinity
};

// Of a row, in global memory.
struct SampleWorkspace {
  uint64_t exchange[2][kMaxTeam][kTeamWords];
  uint64_t masses[(kStretches + 1) / 2 * 2];
  float groups[kThreads];
  float list_logits[kListed];
  int list_tokens[kListed];
};

struct BlockMemory {
  uint64_t sections[kSections][kThreads];
  Team team;
  SampleWorkspace* workspace;
  SampledTop* top;
  int slot;

  const Logit* logits;
  const uint16_t* marks;        // null: no rule is in force, or the model's own logits are wanted
  const uint16_t* ruled_marks;  // the slot's, or null
  const int32_t* rules;         // the slot's lists
  SampleParams params;
  double inverse_repetition;  // 1 / repetition_penalty
  int generated;
  int forbidden_count;
  int32_t forbidden[kMaxForbidden];
  float ruled_piece[kPiece][kThreads];

  Maximum maximum;
  float maxima[kThreads];  // each thread's largest logit
  float groups[kThreads];  // what bound_of_largest makes of the whole team's
  Softmax softmax;
  Filter filter;
  Search search;
  double typical_entropy, typical_log_total;
  double log_total;  // log(sum_i(exp(logits[i]))) of the model's own logits
  int list_count, ranked_count;
  float list_logits[kListed];
  int list_tokens[kListed];
  uint64_t mass;  // of all that the filter keeps
  int drawn_stretch, drawn_token;
  uint64_t drawn_rest;  // what of the target lies in the stretch
};

static_assert(sizeof(BlockMemory) <= SHARED, "raise shared_bytes in sample.cc");
static_assert(sizeof(SampleWorkspace) <= WORKSPACE, "raise workspace_bytes in sample.cc");

extern __shared__ uint4 block_memory_begin[];
__device__ __forceinline__ BlockMemory& block_memory() {
  return *reinterpret_cast<BlockMemory*>(block_memory_begin);
}
