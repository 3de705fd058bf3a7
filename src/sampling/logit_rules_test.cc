// Bias, forbidden tokens and penalties change the logits they name, by Transformers' definitions.
#include "sampling/logit_rules.h"

#include <gtest/gtest.h>

#include <limits>

namespace brayton {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

std::vector<float> applied(const LogitRules& rules, std::vector<float> logits) {
  rules.apply(logits.data());
  return logits;
}

LogitRules rules_of(const SamplingParams& params, const std::vector<int32_t>& prompt = {},
                    const std::vector<int32_t>& end_ids = {}) {
  LogitRules rules;
  rules.reset(params, prompt, end_ids);
  return rules;
}

TEST(LogitRules, NothingIsActiveByDefault) {
  const LogitRules rules = rules_of({}, {1, 2}, {3});
  EXPECT_FALSE(rules.active());
  EXPECT_EQ(applied(rules, {1, 2, 3, 4}), (std::vector<float>{1, 2, 3, 4}));
}

TEST(LogitRules, RepetitionPenaltyDividesPositiveAndMultipliesNegative) {
  SamplingParams params;
  params.repetition_penalty = 2.0;
  LogitRules rules = rules_of(params, {0, 1, 1});  // the prompt counts, once
  EXPECT_EQ(applied(rules, {4, -4, 4, 4}), (std::vector<float>{2, -8, 4, 4}));
  rules.record(3);
  rules.record(3);
  EXPECT_EQ(applied(rules, {4, -4, 4, 4}), (std::vector<float>{2, -8, 4, 2}));
}

TEST(LogitRules, PresenceAndFrequencyCountTheGeneratedOnly) {
  SamplingParams params;
  params.presence_penalty = 0.5;
  params.frequency_penalty = 1.0;
  LogitRules rules = rules_of(params, {0, 1, 2});
  EXPECT_FALSE(rules.active());
  rules.record(3);
  rules.record(1);
  rules.record(3);
  EXPECT_TRUE(rules.active());
  EXPECT_EQ(applied(rules, {4, 4, 4, 4}), (std::vector<float>{4, 2.5f, 4, 1.5f}));
}

TEST(LogitRules, RepetitionComesBeforeTheOthers) {
  SamplingParams params;
  params.repetition_penalty = 2.0;
  params.frequency_penalty = 1.0;
  LogitRules rules = rules_of(params);
  rules.record(0);
  EXPECT_EQ(applied(rules, {4}), std::vector<float>{1});  // 4 / 2 - 1
}

TEST(LogitRules, BiasComesBeforeThePenalties) {
  SamplingParams params;
  params.logit_bias = {{1, 3.0f}, {2, -1.0f}, {2, -1.0f}};
  params.repetition_penalty = 2.0;
  EXPECT_EQ(applied(rules_of(params, {1}), {1, 1, 1}), (std::vector<float>{1, 2, -1}));
}

TEST(LogitRules, BadWordsForbidTheTokenThatWouldCompleteThem) {
  SamplingParams params;
  params.bad_words = {{0}, {5, 6, 1}, {7, 2}};
  LogitRules rules = rules_of(params, {9, 5});
  const std::vector<float> ones(4, 1.0f);
  EXPECT_EQ(applied(rules, ones), (std::vector<float>{kForbidden, 1, 1, 1}));
  rules.record(6);  // 5 of the prompt, 6 of the answer
  EXPECT_EQ(applied(rules, ones), (std::vector<float>{kForbidden, kForbidden, 1, 1}));
  rules.record(7);
  EXPECT_EQ(applied(rules, ones), (std::vector<float>{kForbidden, 1, kForbidden, 1}));
}

TEST(LogitRules, AWordLongerThanTheContextIsNoConcern) {
  SamplingParams params;
  params.bad_words = {{3, 3, 3, 1}};
  LogitRules rules = rules_of(params, {3});
  rules.record(3);
  EXPECT_EQ(applied(rules, {1, 1}), (std::vector<float>{1, 1}));
  rules.record(3);
  EXPECT_EQ(applied(rules, {1, 1}), (std::vector<float>{1, kForbidden}));
}

TEST(LogitRules, EndIdsAreForbiddenBeforeMinTokens) {
  SamplingParams params;
  params.min_tokens = 2;
  LogitRules rules = rules_of(params, {0}, {1, 2});
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(rules.active());
    EXPECT_EQ(applied(rules, {1, 1, 1}), (std::vector<float>{1, kForbidden, kForbidden}));
    rules.record(0);
  }
  EXPECT_FALSE(rules.active());
  EXPECT_EQ(applied(rules, {1, 1, 1}), (std::vector<float>{1, 1, 1}));
}

TEST(LogitRules, WhatIsForbiddenStaysSoAndOverflowStaysFinite) {
  SamplingParams params;
  params.repetition_penalty = 1e-30;
  params.bad_words = {{0}};
  params.logit_bias = {{0, 50.0f}, {1, 3e38f}};
  LogitRules rules = rules_of(params, {0, 1, 2});
  const float largest = std::numeric_limits<float>::max();
  EXPECT_EQ(applied(rules, {1, 3e38f, kForbidden}),
            (std::vector<float>{kForbidden, largest, kForbidden}));
}

TEST(LogitRules, AResetForgetsTheSequenceBefore) {
  SamplingParams params;
  params.frequency_penalty = 1.0;
  params.bad_words = {{1, 0}};
  LogitRules rules = rules_of(params);
  rules.record(1);
  rules.reset(params, {}, {});
  EXPECT_EQ(rules.generated(), 0);
  EXPECT_EQ(applied(rules, {1, 1}), (std::vector<float>{1, 1}));
}

}  // namespace
}  // namespace brayton
