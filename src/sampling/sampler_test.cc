// Tokens are drawn with the probabilities that the parameters define, from (logits, history, seed,
// position) and nothing else; a broken row breaks no other.
#include "sampling/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <random>

#include "sampling/random.h"

namespace brayton {
namespace {

std::vector<float> random_logits(int64_t count, uint64_t seed, float spread = 2.0f) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> logits(static_cast<size_t>(count));
  for (float& x : logits) x = normal(random);
  return logits;
}

std::vector<double> softmax(const std::vector<float>& logits, double temperature = 1.0) {
  std::vector<double> p;
  double sum = 0;
  for (float x : logits) {
    p.push_back(std::exp(x / temperature));
    sum += p.back();
  }
  for (double& x : p) x /= sum;
  return p;
}

// A sampler with one sequence in slot 0.
class OneSequence {
 public:
  OneSequence(const SamplingParams& params, int64_t vocab, uint64_t seed = 1,
              const std::vector<int32_t>& prompt = {0}, const std::vector<int32_t>& end_ids = {})
      : sampler_(1, vocab) {
    sampler_.admit(0, params, seed, prompt, end_ids);
  }
  SampledToken next(std::vector<float> logits) {
    const Sampler::Row row{0, 0};
    sampler_.sample({logits.data(), DType::kF32, Shape{1, static_cast<int64_t>(logits.size())}},
                    {&row, 1}, outputs_);
    return outputs_.at(0);
  }

 private:
  Sampler sampler_;
  std::vector<SampledToken> outputs_;
};

TEST(Sampler, GreedyTakesTheLargestAndTheLowestIdAmongEquals) {
  OneSequence greedy({}, 6);
  EXPECT_EQ(greedy.next({0, 5, 1, 5, 5, -1}).output.token, 1);
  EXPECT_EQ(greedy.next({-3, -3, -3, -3, -3, -3}).output.token, 0);
}

// Pearson's statistic over `draws` draws stays below its 99.99th percentile (fixed seeds).
void expect_distribution(const SamplingParams& params, const std::vector<float>& logits,
                         const std::vector<double>& expected) {
  constexpr int kDraws = 40000;
  std::vector<int> counts(logits.size());
  OneSequence sequence(params, static_cast<int64_t>(logits.size()), 42);
  for (int i = 0; i < kDraws; ++i)
    ++counts[static_cast<size_t>(sequence.next(logits).output.token)];
  double statistic = 0, freedom = -1, pooled_expected = 0, pooled_count = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double mean = expected[i] * kDraws;
    if (mean == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i << " is filtered out";
    }
    if (mean < 5) {  // rare tokens together
      pooled_expected += mean;
      pooled_count += counts[i];
      continue;
    }
    statistic += (counts[i] - mean) * (counts[i] - mean) / mean;
    ++freedom;
  }
  if (pooled_expected >= 5) {
    statistic += std::pow(pooled_count - pooled_expected, 2) / pooled_expected;
    ++freedom;
  }
  // Wilson and Hilferty's approximation of the chi-square quantile; 3.72: the normal's.
  const double cube = 1 - 2 / (9 * freedom) + 3.72 * std::sqrt(2 / (9 * freedom));
  EXPECT_LT(statistic, freedom * cube * cube * cube);
}

TEST(Sampler, DrawsFollowTheSoftmax) {
  for (double temperature : {0.5, 1.0, 2.0}) {
    SamplingParams params;
    params.temperature = temperature;
    for (int64_t vocab : {2, 40, 700}) {  // 700: more than one block
      const auto logits = random_logits(vocab, 3);
      expect_distribution(params, logits, softmax(logits, temperature));
    }
  }
}

TEST(Sampler, DrawsFollowTheFilteredSoftmax) {
  const auto logits = random_logits(700, 4);
  SamplingParams params;
  params.temperature = 1.3;
  params.top_k = 20;
  auto expected = softmax(logits, 1.3);
  auto sorted = expected;
  std::sort(sorted.rbegin(), sorted.rend());
  double kept = 0;
  for (double& p : expected) {
    if (p < sorted[19]) p = 0;
    kept += p;
  }
  for (double& p : expected) p /= kept;
  expect_distribution(params, logits, expected);
}

TEST(Sampler, RulesPenaltiesAndFiltersCompose) {
  SamplingParams params;
  params.temperature = 0.5;
  params.repetition_penalty = 2.0;  // prompt: token 0, 8 -> 4
  params.logit_bias = {{1, 3.0f}};  // 1 -> 4
  params.bad_words = {{2}};         // the largest
  params.min_p = 0.1;               // leaves what is within T * ln(10) = 1.15 of the best
  params.seed = 1;
  const std::vector<float> logits = {8, 1, 30, 3.5f, 2.8f};
  std::vector<double> expected = softmax({4, 4, -1000, 3.5f, -1000}, 0.5);
  std::vector<int> counts(5);
  constexpr int kDraws = 20000;
  Sampler sampler(1, 5);
  std::vector<SampledToken> outputs;
  const std::vector<int32_t> prompt = {0};
  for (int i = 0; i < kDraws; ++i) {  // anew each time: the history would grow
    sampler.admit(0, params, static_cast<uint64_t>(i), prompt, {});
    std::vector<float> row = logits;
    const Sampler::Row at{0, 0};
    sampler.sample({row.data(), DType::kF32, Shape{1, 5}}, {&at, 1}, outputs);
    ++counts[static_cast<size_t>(outputs[0].output.token)];
    sampler.release(0);
  }
  EXPECT_EQ(counts[2] + counts[4], 0);
  for (size_t i : {0, 1, 3})
    EXPECT_NEAR(counts[i], expected[i] * kDraws, 4 * std::sqrt(kDraws * 0.25));
}

TEST(Sampler, TinyAndHugeTemperatures) {
  const std::vector<float> logits = {1.0f, 1.25f, 1.25f, -2.0f};
  for (double temperature : {1e-300, 1e-40, 1e-6}) {
    SamplingParams params;
    params.temperature = temperature;
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const int32_t token = OneSequence(params, 4, seed).next(logits).output.token;
      EXPECT_TRUE(token == 1 || token == 2) << temperature << " " << token;
    }
  }
  SamplingParams params;
  params.temperature = 1e300;
  expect_distribution(params, logits, {0.25, 0.25, 0.25, 0.25});
}

TEST(Sampler, LogprobsAreTheModelsWhateverTheRules) {
  SamplingParams params;
  params.logprobs = 3;
  params.logit_bias = {{7, 100.0f}};
  params.temperature = 0.01;
  for (int64_t vocab : {12, 1000}) {
    auto logits = random_logits(vocab, 8);
    logits[2] = logits[9] = 9.0f;  // a tie for the first place
    const auto p = softmax(logits);
    const SampledToken sampled = OneSequence(params, vocab).next(logits);
    EXPECT_EQ(sampled.output.token, 7);
    EXPECT_NEAR(sampled.output.logprob, std::log(p[7]), 1e-5);
    ASSERT_EQ(sampled.output.top_logprobs.size(), 3u);
    EXPECT_EQ(sampled.output.top_logprobs[0].token, 2);
    EXPECT_EQ(sampled.output.top_logprobs[1].token, 9);
    EXPECT_NEAR(sampled.output.top_logprobs[0].logprob, std::log(p[2]), 1e-5);
    float third = -1e9f;
    for (size_t i = 0; i < logits.size(); ++i)
      if (i != 2 && i != 9) third = std::max(third, logits[i]);
    EXPECT_NEAR(sampled.output.top_logprobs[2].logprob, third - 9.0f + std::log(p[2]), 1e-5);
  }
}

TEST(Sampler, AsManyLogprobsAsAskedFor) {
  const auto logits = random_logits(40, 8);
  for (int64_t n : {-1, 0, 1, 40}) {
    SamplingParams params;
    params.logprobs = n;
    const TokenOutput output = OneSequence(params, 40).next(logits).output;
    EXPECT_EQ(static_cast<int64_t>(output.top_logprobs.size()), std::max<int64_t>(n, 0));
    EXPECT_EQ(output.logprob != 0.0f, n >= 0);
    for (size_t i = 1; i < output.top_logprobs.size(); ++i)
      EXPECT_GE(output.top_logprobs[i - 1].logprob, output.top_logprobs[i].logprob);
  }
}

TEST(Sampler, EndIdsWaitForMinTokens) {
  SamplingParams params;
  params.min_tokens = 2;
  OneSequence sequence(params, 3, 1, {0}, {2});
  EXPECT_EQ(sequence.next({0, 1, 2}).output.token, 1);
  EXPECT_EQ(sequence.next({0, 1, 2}).output.token, 1);
  EXPECT_EQ(sequence.next({0, 1, 2}).output.token, 2);
}

TEST(Sampler, TheSeedDecidesAndThePositionMovesOn) {
  SamplingParams params;
  params.temperature = 1.0;
  const auto logits = random_logits(500, 12, 0.1f);
  const auto tokens = [&](uint64_t seed) {
    OneSequence sequence(params, 500, seed);
    std::vector<int32_t> drawn;
    for (int i = 0; i < 30; ++i) drawn.push_back(sequence.next(logits).output.token);
    return drawn;
  };
  EXPECT_EQ(tokens(5), tokens(5));
  EXPECT_NE(tokens(5), tokens(6));
  EXPECT_NE(tokens(0), tokens(1));
  auto drawn = tokens(5);
  std::sort(drawn.begin(), drawn.end());
  EXPECT_GT(std::unique(drawn.begin(), drawn.end()) - drawn.begin(), 20);
}

SamplingParams mixed_params(int i) {
  SamplingParams params;
  if (i % 4 != 0) params.temperature = 0.5 + 0.1 * i;
  if (i % 3 == 1) params.top_p = 0.8;
  if (i % 5 == 2) params.top_k = 10;
  if (i % 7 == 3) params.typical_p = 0.7;
  if (i % 2 == 1) params.repetition_penalty = 1.3;
  if (i % 3 == 2) params.logprobs = 2;
  return params;
}

TEST(Sampler, ARowDoesNotDependOnItsNeighbours) {
  constexpr int kSequences = 24, kVocab = 300, kSteps = 12;
  const std::vector<int32_t> prompt = {1, 2, 3};
  Sampler together(kSequences, kVocab);
  std::deque<OneSequence> alone;
  for (int i = 0; i < kSequences; ++i) {
    together.admit(i, mixed_params(i), static_cast<uint64_t>(i), prompt, {});
    alone.emplace_back(mixed_params(i), kVocab, static_cast<uint64_t>(i), prompt);
  }
  std::mt19937_64 random(77);
  std::vector<SampledToken> outputs;
  for (int step = 0; step < kSteps; ++step) {
    std::vector<float> logits;
    std::vector<Sampler::Row> rows;
    for (int i = 0; i < kSequences; ++i) {
      const auto row = random_logits(kVocab, static_cast<uint64_t>(step * 100 + i));
      logits.insert(logits.end(), row.begin(), row.end());
      if (random() % 4 != 0) rows.push_back({i, i});
    }
    std::shuffle(rows.begin(), rows.end(), random);
    auto shared = logits;
    together.sample({shared.data(), DType::kF32, Shape{kSequences, kVocab}}, rows, outputs);
    ASSERT_EQ(outputs.size(), rows.size());
    for (size_t r = 0; r < rows.size(); ++r) {
      const auto begin = logits.begin() + rows[r].row * kVocab;
      const SampledToken expected =
          alone[static_cast<size_t>(rows[r].slot)].next({begin, begin + kVocab});
      ASSERT_EQ(outputs[r].output.token, expected.output.token) << "step " << step << " row " << r;
      ASSERT_EQ(outputs[r].output.logprob, expected.output.logprob);
    }
  }
}

TEST(Sampler, ABrokenRowIsAnErrorOfThatRowOnly) {
  const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
  SamplingParams greedy, drawn, with_rules, with_logprobs;
  drawn.temperature = 1.0;
  with_rules.logit_bias = {{0, 1.0f}};
  with_logprobs.logprobs = 2;
  Sampler sampler(5, 4);
  const std::vector<int32_t> prompt = {0};
  sampler.admit(0, greedy, 1, prompt, {});
  sampler.admit(1, drawn, 1, prompt, {});
  sampler.admit(2, with_rules, 1, prompt, {});
  sampler.admit(3, with_logprobs, 1, prompt, {});
  sampler.admit(4, greedy, 1, prompt, {});
  for (float broken : {nan, infinity}) {
    std::vector<float> logits;
    for (int row = 0; row < 4; ++row) logits.insert(logits.end(), {1.0f, 2.0f, broken, 0.0f});
    logits.insert(logits.end(), {1.0f, 2.0f, 9.0f, 0.0f});
    const std::vector<Sampler::Row> rows = {{0, 0}, {1, 1}, {2, 2}, {3, 3}, {4, 4}};
    std::vector<SampledToken> outputs;
    sampler.sample({logits.data(), DType::kF32, Shape{5, 4}}, rows, outputs);
    for (int row = 0; row < 4; ++row)
      EXPECT_EQ(outputs[static_cast<size_t>(row)].error,
                "[sampler] logits must not be NaN or +infinity: the model gave such values")
          << row;
    EXPECT_EQ(outputs[4].error, "");
    EXPECT_EQ(outputs[4].output.token, 2);
  }
}

TEST(Sampler, ForbiddingEverythingIsAnError) {
  SamplingParams params;
  params.bad_words = {{0}, {1}};
  EXPECT_EQ(OneSequence(params, 2).next({1, 2}).error,
            "[sampler] at least one token must be allowed: bad_words and min_tokens forbid all "
            "that the model offers");
}

TEST(Random, UniformInTheUnitIntervalAndUncorrelated) {
  constexpr int kDraws = 100000;
  double sum = 0, squares = 0, neighbours = 0, seeds = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double u = uniform_at(9, i);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    squares += (u - 0.5) * (u - 0.5);
    neighbours += (u - 0.5) * (uniform_at(9, i + 1) - 0.5);
    seeds += (u - 0.5) * (uniform_at(10, i) - 0.5);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 4 * 0.2887 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0 / 12, 0.001);
  EXPECT_NEAR(neighbours / kDraws, 0, 4.0 / 12 / std::sqrt(kDraws));
  EXPECT_NEAR(seeds / kDraws, 0, 4.0 / 12 / std::sqrt(kDraws));
}

}  // namespace
}  // namespace brayton
