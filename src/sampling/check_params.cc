#include <cmath>
#include <string_view>

#include "core/format.h"
#include "sampling/sampler.h"

namespace brayton {
namespace {

template <class T>
void require(bool condition, std::string_view field, std::string_view rule, const T& got) {
  if (!condition)
    throw_error(ErrorCode::kInvalidArgument, "[request] {} must be {}, got {}", field, rule, got);
}

void check_id(std::string_view field, int32_t id, int64_t vocab_size) {
  if (id < 0 || id >= vocab_size)
    throw_error(ErrorCode::kInvalidArgument,
                "[request] {} must name ids of the vocabulary, [0, {}), got {}", field, vocab_size,
                id);
}

void check_lengths(const SamplingParams& params) {
  require(params.max_tokens >= 0, "max_tokens", ">= 0", params.max_tokens);
  require(params.min_tokens >= 0, "min_tokens", ">= 0", params.min_tokens);
  if (params.min_tokens > params.max_tokens)
    throw_error(ErrorCode::kInvalidArgument,
                "[request] min_tokens must be at most max_tokens ({}), got {}", params.max_tokens,
                params.min_tokens);
}

void check_distribution(const SamplingParams& params) {
  const auto within = [](double x, double low, double high) { return x >= low && x <= high; };
  const double t = params.temperature;
  require(std::isfinite(t) && t >= 0, "temperature", "finite and >= 0", t);
  require(params.top_k >= 0, "top_k", ">= 0 (0: all tokens)", params.top_k);
  require(params.top_p > 0 && params.top_p <= 1, "top_p", "in (0, 1]", params.top_p);
  require(within(params.min_p, 0, 1), "min_p", "in [0, 1]", params.min_p);
  require(params.typical_p > 0 && params.typical_p <= 1, "typical_p", "in (0, 1]",
          params.typical_p);
  const double repetition = params.repetition_penalty;
  require(std::isfinite(repetition) && repetition > 0, "repetition_penalty", "finite and > 0",
          repetition);
  require(std::isfinite(params.presence_penalty), "presence_penalty", "finite",
          params.presence_penalty);
  require(std::isfinite(params.frequency_penalty), "frequency_penalty", "finite",
          params.frequency_penalty);
}

}  // namespace

void Sampler::check(const SamplingParams& params, int64_t vocab_size) {
  check_lengths(params);
  check_distribution(params);
  for (const auto& [token, bias] : params.logit_bias) {
    check_id("logit_bias", token, vocab_size);
    require(std::isfinite(bias), "logit_bias", "finite", bias);
  }
  for (const auto& word : params.bad_words) {
    require(!word.empty(), "bad_words", "sequences of at least one id", "an empty one");
    for (int32_t id : word) check_id("bad_words", id, vocab_size);
  }
  for (int32_t id : params.stop_token_ids) check_id("stop_token_ids", id, vocab_size);
  for (const auto& text : params.stop)
    require(!text.empty(), "stop", "strings of at least one character", "an empty one");
  if (params.logprobs < -1 || params.logprobs > vocab_size)
    throw_error(ErrorCode::kInvalidArgument,
                "[request] logprobs must be in [-1, {}] (-1: none, 0: the chosen token's), got {}",
                vocab_size, params.logprobs);
}

}  // namespace brayton
