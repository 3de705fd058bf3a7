// logits -> token, for every row of a step.
//
// Order of operations, as vLLM and Transformers have it where they agree:
//   1. logit_bias added; bad_words and, before min_tokens, the end ids forbidden
//   2. repetition_penalty (prompt and generated), frequency_penalty, presence_penalty (generated)
//   3. temperature; 0 takes the largest logit, the lowest id among equals, and ends here
//   4. typical_p, top_k, top_p, min_p, each over what the one before left, renormalised
//   5. one draw from (seed, number of tokens generated)
// top_k and typical_p keep everything that ties with their last token; top_p takes the lower ids.
// Log-probabilities are those of the model: log-softmax of its logits before any of the above.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "brayton/request.h"
#include "brayton/tensor_view.h"

namespace brayton {

// One row's token, or why there is none.
struct SampledToken {
  TokenOutput output;
  std::string error;  // not empty: NaN or infinite logits, or no token is allowed
};

// The state of sequences from admission to end, by slot: parameters, token counts, recent tokens.
// One thread at a time.
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
    int64_t row = 0;  // of the logits
    int64_t slot = 0;
  };
  // Draws one token a row, [R, V] f32 logits in host memory; the rows' logits are changed. The draw
  // depends on the row's logits, the slot's history and (seed, number of tokens generated) only.
  // A row that cannot be sampled gets an error and leaves the others alone.
  void sample(const TensorView& logits, std::span<const Row> rows,
              std::vector<SampledToken>& outputs);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace brayton
