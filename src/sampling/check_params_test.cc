// Every field of SamplingParams is checked, and the message names it, its rule and its value.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "brayton/error.h"
#include "sampling/sampler.h"

namespace brayton {
namespace {

constexpr int64_t kVocab = 10;

std::string message_of(const std::function<void(SamplingParams&)>& change) {
  SamplingParams params;
  change(params);
  try {
    Sampler::check(params, kVocab);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
    return e.what();
  }
  return "accepted";
}

TEST(CheckParams, MessagesNameFieldRuleAndValue) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  using P = SamplingParams;
  const std::pair<std::function<void(P&)>, std::string> cases[] = {
      {[](P& p) { p.max_tokens = -1; }, "max_tokens must be >= 0, got -1"},
      {[](P& p) { p.min_tokens = -2; }, "min_tokens must be >= 0, got -2"},
      {[](P& p) { p.max_tokens = 3, p.min_tokens = 4; },
       "min_tokens must be at most max_tokens (3), got 4"},
      {[=](P& p) { p.temperature = nan; }, "temperature must be finite and >= 0, got nan"},
      {[=](P& p) { p.temperature = infinity; }, "temperature must be finite and >= 0, got inf"},
      {[](P& p) { p.temperature = -0.5; }, "temperature must be finite and >= 0, got -0.5"},
      {[](P& p) { p.top_k = -1; }, "top_k must be >= 0 (0: all tokens), got -1"},
      {[](P& p) { p.top_p = 0; }, "top_p must be in (0, 1], got 0"},
      {[](P& p) { p.top_p = 1.5; }, "top_p must be in (0, 1], got 1.5"},
      {[=](P& p) { p.top_p = nan; }, "top_p must be in (0, 1], got nan"},
      {[](P& p) { p.min_p = -0.1; }, "min_p must be in [0, 1], got -0.1"},
      {[=](P& p) { p.min_p = nan; }, "min_p must be in [0, 1], got nan"},
      {[](P& p) { p.typical_p = 0; }, "typical_p must be in (0, 1], got 0"},
      {[=](P& p) { p.typical_p = nan; }, "typical_p must be in (0, 1], got nan"},
      {[](P& p) { p.repetition_penalty = 0; }, "repetition_penalty must be finite and > 0, got 0"},
      {[=](P& p) { p.repetition_penalty = nan; },
       "repetition_penalty must be finite and > 0, got nan"},
      {[=](P& p) { p.presence_penalty = infinity; }, "presence_penalty must be finite, got inf"},
      {[=](P& p) { p.frequency_penalty = nan; }, "frequency_penalty must be finite, got nan"},
      {[](P& p) { p.logit_bias = {{10, 1.0f}}; },
       "logit_bias must name ids of the vocabulary, [0, 10), got 10"},
      {[](P& p) { p.logit_bias = {{1, std::nanf("")}}; }, "logit_bias must be finite, got nan"},
      {[](P& p) { p.bad_words = {{1}, {}}; },
       "bad_words must be sequences of at least one id, got an empty one"},
      {[](P& p) { p.bad_words = {{1, -1}}; },
       "bad_words must name ids of the vocabulary, [0, 10), got -1"},
      {[](P& p) { p.stop_token_ids = {11}; },
       "stop_token_ids must name ids of the vocabulary, [0, 10), got 11"},
      {[](P& p) { p.stop = {"a", ""}; },
       "stop must be strings of at least one character, got an empty one"},
      {[](P& p) { p.logprobs = -2; },
       "logprobs must be in [-1, 10] (-1: none, 0: the chosen token's), got -2"},
      {[](P& p) { p.logprobs = 11; },
       "logprobs must be in [-1, 10] (-1: none, 0: the chosen token's), got 11"},
  };
  for (const auto& [change, expected] : cases)
    EXPECT_EQ(message_of(change), "[request] " + expected);
}

TEST(CheckParams, TheEndsOfTheRangesAreAllowed) {
  EXPECT_EQ(message_of([](SamplingParams&) {}), "accepted");
  EXPECT_EQ(message_of([](SamplingParams& p) {
              p.max_tokens = p.min_tokens = 0;
              p.temperature = 1e9;
              p.top_k = 1000;
              p.top_p = p.typical_p = p.min_p = 1.0;
              p.logit_bias = {{9, -100.0f}, {0, 100.0f}};
              p.bad_words = {{9, 0}};
              p.stop_token_ids = {0, 9};
              p.logprobs = 10;
            }),
            "accepted");
}

}  // namespace
}  // namespace brayton
