// logits -> token, for every row of a step.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "brayton/request.h"
#include "brayton/tensor_view.h"

namespace brayton {

// The state of sequences from admission to end, by slot: parameters, token counts, recent tokens.
class Sampler {
 public:
  Sampler(int64_t slots, int64_t vocab_size);
  ~Sampler();

  // Validates SamplingParams against the vocabulary. Throws Error(kInvalidArgument)
  // "[request] temperature must be finite and >= 0, got nan".
  static void check(const SamplingParams& params, int64_t vocab_size);

  // `prompt` counts for repetition_penalty and bad_words only. `end_ids` are forbidden while fewer
  // than min_tokens were generated.
  void admit(int64_t slot, const SamplingParams& params, uint64_t seed,
             std::span<const int32_t> prompt, std::span<const int32_t> end_ids);
  void release(int64_t slot);

  struct Row {
    int64_t row = 0;   // of the logits
    int64_t slot = 0;
  };
  // Draws one token a row, [R, V] f32 logits; logits may be changed. The draw depends on the row's
  // logits, the slot's history and (seed, number of tokens generated) only.
  void sample(const TensorView& logits, std::span<const Row> rows,
              std::vector<TokenOutput>& outputs);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace brayton
