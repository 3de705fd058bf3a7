// A slot's state and a row's results, as ops/sample.h has them.
#pragma once

#include "device/types.cuh"

struct SampleParams {
  double top_p, min_p, typical_p;
  double repetition_penalty, frequency_penalty, presence_penalty;
  uint64_t seed;
  float scale;
  int32_t greedy, top_k, min_tokens, logprobs, penalties;
  int32_t biases, bad_words, bad_word_tokens, end_ids;
};
static_assert(sizeof(SampleParams) == 96);

constexpr int kRules = 4096;
constexpr int kMaxForbidden = 1024;
constexpr int kRecent = 32;
constexpr int kTop = 32;

struct SampleState {
  int32_t generated;
  int32_t recent[kRecent];
};

constexpr unsigned kGeneratedBits = 0x3fff;
constexpr unsigned kSeenBits = 0x7fff;  // generated or in the prompt
constexpr unsigned kPromptBit = 0x4000;
constexpr unsigned kNamedBit = 0x8000;

enum SampleError { kNone, kInvalidLogits, kAllForbidden };

struct SampledRow {
  int32_t token;
  float logprob;
  int32_t error;
};

struct SampledTop {
  int32_t tokens[kTop];
  float logprobs[kTop];
};
