// sample: one token for every row of logits, by the parameters and the history of the row's slot.
// What is done in which order, and what becomes of ties, is Sampler's (sampling/sampler.h): for f32
// logits the tokens are Sampler's, except where sums that were rounded differently part them.
//
// A slot's state lies on the device from admission (admit_slots.h) to its end; the op itself counts
// the tokens that it draws. A row that cannot be sampled gets an error and token 0, and its slot
// stays as it was.
#pragma once

#include <cstdint>

#include "brayton/tensor_view.h"

namespace brayton {

// What a slot and a row's results have room for.
inline constexpr int64_t kSampleVocab = 1 << 18;
inline constexpr int64_t kSampleRules = 4096;      // numbers in a slot's lists
inline constexpr int64_t kSampleForbidden = 1024;  // bad words and end ids together
inline constexpr int64_t kSampleRecent = 32;       // tokens of a bad word before its last
inline constexpr int64_t kSampleTop = 32;          // most likely tokens of a row

// Of one slot, as SamplingParams have them; set at admission. The defaults are greedy.
struct SampleParams {
  double top_p = 1.0;
  double min_p = 0.0;
  double typical_p = 1.0;
  double repetition_penalty = 1.0;
  double frequency_penalty = 0.0;
  double presence_penalty = 0.0;
  uint64_t seed = 0;
  float scale = 1.0f;  // 1 / temperature, a normal number of at most 1e30
  int32_t greedy = 1;  // the temperature is 0
  int32_t top_k = 0;   // 0: all
  int32_t min_tokens = 0;
  int32_t logprobs = -1;  // at most kSampleTop
  int32_t penalties = 0;  // 1: some penalty is in force, so that tokens are counted
  // Lengths of the slot's lists, which lie in `rules` one behind the other: the biases' tokens
  // (ascending; equal ones in the order of their application), the biases (f32), where each bad
  // word ends among the words' tokens, those tokens, the end ids.
  int32_t biases = 0;
  int32_t bad_words = 0;
  int32_t bad_word_tokens = 0;
  int32_t end_ids = 0;
};

// Of one slot; changed by the op.
struct SampleState {
  int32_t generated = 0;          // tokens so far
  int32_t recent[kSampleRecent];  // the last tokens, the newest last; -1 where there was none
};

// Bits of a slot's mark of a token.
inline constexpr uint16_t kSampleCount = 0x3fff;   // how often it was generated, this at most
inline constexpr uint16_t kSamplePrompt = 0x4000;  // it is in the prompt
inline constexpr uint16_t kSampleNamed = 0x8000;   // a bias, a bad word's last token or an end id

struct SampleSlots {
  TensorView params;  // [slots, sizeof(SampleParams)] u8
  TensorView states;  // [slots, sizeof(SampleState)] u8
  TensorView rules;   // [slots, kSampleRules] i32
  TensorView
      marks;  // [slots, V rounded up to a multiple of 8] u16; only where rules or penalties are
};

enum class SampleError : int32_t { kNone, kInvalidLogits, kAllForbidden };

struct SampledRow {
  int32_t token = 0;
  float logprob = 0.0f;  // where the slot wants log-probabilities
  SampleError error = SampleError::kNone;
};

// The most likely tokens, best first, as many as the slot's `logprobs`.
struct SampledTop {
  int32_t tokens[kSampleTop];
  float logprobs[kSampleTop];
};

enum class SampleMode {
  kGreedy,  // every row's slot is greedy and has no rules, penalties or log-probabilities: cheaper
  kFull,
};

struct SampleArgs {
  TensorView logits;  // [R, V] f32, f16 or bf16; rows may be strided; V at most kSampleVocab
  TensorView slots;   // [R] i32, each slot once; below 0: the row is left out
  SampleSlots state;
  TensorView sampled;  // [slots] i32: the token by slot
  TensorView rows;     // [R, sizeof(SampledRow)] u8: the results by row
  TensorView top;      // [R, sizeof(SampledTop)] u8; may be empty in mode kGreedy
  SampleMode mode = SampleMode::kFull;
};

// [V] logits -> marks of a slot.
inline int64_t sample_marks(int64_t vocab) { return (vocab + 7) / 8 * 8; }

void check(const SampleSlots& slots);
void check(const SampleArgs& args);

}  // namespace brayton
