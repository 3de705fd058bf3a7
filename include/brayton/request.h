// What a client asks for, and what comes back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace brayton {

using RequestId = uint64_t;

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "tool"
  std::string content;
};

// How a token is drawn. Defaults are greedy.
struct SamplingParams {
  int64_t max_tokens = 256;         // 0: the prompt is computed, nothing generated
  int64_t min_tokens = 0;           // end tokens are forbidden before
  double temperature = 0.0;         // 0: the most likely token
  int64_t top_k = 0;                // 0: all
  double top_p = 1.0;               // in (0, 1]
  double min_p = 0.0;               // in [0, 1]
  double typical_p = 1.0;           // in (0, 1]
  double repetition_penalty = 1.0;  // > 0; divides positive logits, multiplies negative ones
  double presence_penalty = 0.0;    // subtracted once for a token that was generated
  double frequency_penalty = 0.0;   // subtracted per occurrence among the generated
  std::optional<uint64_t> seed;     // absent: one is drawn; same seed, same text
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::vector<std::vector<int32_t>> bad_words;  // token sequences that must not appear
  std::vector<int32_t> stop_token_ids;
  std::vector<std::string> stop;  // strings; the text ends before the first of them
  bool ignore_eos = false;
  int64_t logprobs = -1;  // -1: none; 0: of the chosen token; N: of the N most likely too
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0.0f;
};

// One generated token; what a stream delivers. Log-probabilities are the model's own: log-softmax
// of its logits before bias, penalties, temperature and filters.
struct TokenOutput {
  int32_t token = 0;
  float logprob = 0.0f;                    // when logprobs >= 0
  std::vector<TokenLogprob> top_logprobs;  // the N most likely, best first
};

enum class FinishReason { kNone, kEos, kStop, kLength, kCancelled, kError };
const char* finish_reason_name(FinishReason reason);  // "eos", "stop", "length", ...

}  // namespace brayton
