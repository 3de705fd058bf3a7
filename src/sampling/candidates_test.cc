// Filters keep exactly the tokens that sorting in double precision keeps, alone and composed.
#include "sampling/candidates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "sampling/softmax.h"

namespace brayton {
namespace {

// The definitions, by sorting. `p` holds the probability of each token that is left, 0 elsewhere.
class Oracle {
 public:
  Oracle(const std::vector<float>& logits, double temperature) : logits_(logits) {
    const double maximum = *std::max_element(logits.begin(), logits.end());
    for (float x : logits) p_.push_back(std::exp((x - maximum) / temperature));
    normalise();
  }

  void typical(double mass) {
    double entropy = 0;
    for (double p : p_)
      if (p > 0) entropy -= p * std::log(p);
    const auto shift = [&](size_t i) { return std::fabs(-std::log(p_[i]) - entropy); };
    keep_until(mass, true, [&](size_t a, size_t b) { return shift(a) < shift(b); });
  }
  void top_p(double mass) {
    keep_until(mass, false, [&](size_t a, size_t b) { return p_[a] > p_[b]; });
  }
  void top_k(int64_t k) {
    std::vector<float> sorted;
    for (size_t i = 0; i < p_.size(); ++i)
      if (p_[i] > 0) sorted.push_back(logits_[i]);
    if (static_cast<int64_t>(sorted.size()) <= k) return;
    std::sort(sorted.rbegin(), sorted.rend());
    for (size_t i = 0; i < p_.size(); ++i)
      if (logits_[i] < sorted[static_cast<size_t>(k - 1)]) p_[i] = 0;
    normalise();
  }
  void min_p(double fraction) {
    const double largest = *std::max_element(p_.begin(), p_.end());
    for (double& p : p_)
      if (p < fraction * largest) p = 0;
    normalise();
  }

  std::vector<int32_t> ids() const {
    std::vector<int32_t> kept;
    for (size_t i = 0; i < p_.size(); ++i)
      if (p_[i] > 0) kept.push_back(static_cast<int32_t>(i));
    return kept;
  }

 private:
  void normalise() {
    const double sum = std::accumulate(p_.begin(), p_.end(), 0.0);
    for (double& p : p_) p /= sum;
  }
  template <class Less>
  void keep_until(double mass, bool with_ties, const Less& less) {
    std::vector<size_t> order;
    for (size_t i = 0; i < p_.size(); ++i)
      if (p_[i] > 0) order.push_back(i);
    std::stable_sort(order.begin(), order.end(), less);
    double sum = 0;
    size_t kept = 0;
    while (kept < order.size() && sum < mass) sum += p_[order[kept++]];
    if (with_ties)
      while (kept < order.size() && !less(order[kept - 1], order[kept])) ++kept;
    for (size_t i = kept; i < order.size(); ++i) p_[order[i]] = 0;
    normalise();
  }

  std::vector<float> logits_;
  std::vector<double> p_;
};

std::vector<int32_t> kept_by_oracle(const std::vector<float>& logits, const SamplingParams& p) {
  Oracle oracle(logits, p.temperature);
  if (p.typical_p < 1) oracle.typical(p.typical_p);
  if (p.top_k > 0) oracle.top_k(p.top_k);
  if (p.top_p < 1) oracle.top_p(p.top_p);
  if (p.min_p > 0) oracle.min_p(p.min_p);
  return oracle.ids();
}

// Without the tokens whose weight is too small for a float: they are never drawn.
std::vector<int32_t> kept_by_filter(const std::vector<float>& logits, const SamplingParams& p) {
  const auto count = static_cast<int64_t>(logits.size());
  std::vector<float> groups, blocks, weights(logits.size());
  const RowMaximum maximum = find_maximum(logits.data(), count, groups);
  const auto scale = static_cast<float>(1.0 / p.temperature);
  const double total =
      exponentiate(logits.data(), count, maximum.value, scale, weights.data(), blocks);
  Candidates candidates;
  candidates.filter({logits.data(), weights.data(), count, maximum.value, scale, total}, p, groups);
  std::vector<int32_t> kept;
  for (int32_t id : candidates.ids())
    if (weights[static_cast<size_t>(id)] > 0) kept.push_back(id);
  return kept;
}

std::vector<float> random_logits(std::mt19937_64& random, size_t count, double spread) {
  std::normal_distribution<double> normal(0.0, spread);
  std::vector<float> logits(count);
  for (float& x : logits) x = static_cast<float>(normal(random));
  return logits;
}

TEST(Candidates, EachFilterAloneAndAllComposed) {
  const uint64_t seed = 99;
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(0.02, 0.98);
  for (int round = 0; round < 600; ++round) {
    const auto logits = random_logits(random, 1 + random() % 700, 0.3 + 4 * uniform(random));
    SamplingParams p;
    p.temperature = 0.3 + 2 * uniform(random);
    const int which = round % 6;  // 4: all four; 5: top_k, top_p and min_p
    if (which == 0 || which == 4) p.typical_p = uniform(random);
    if (which == 1 || which >= 4) p.top_k = 1 + static_cast<int64_t>(random() % 60);
    if (which == 2 || which >= 4) p.top_p = uniform(random);
    if (which == 3 || which >= 4) p.min_p = uniform(random) * 0.3;
    ASSERT_EQ(kept_by_filter(logits, p), kept_by_oracle(logits, p))
        << "seed " << seed << " round " << round;
  }
}

TEST(Candidates, ARealVocabulary) {
  std::mt19937_64 random(5);
  for (double spread : {1.0, 3.0}) {
    const auto logits = random_logits(random, 49152, spread);
    SamplingParams p;
    p.temperature = 0.8;
    p.top_p = 0.9;
    EXPECT_EQ(kept_by_filter(logits, p), kept_by_oracle(logits, p));
    p.top_k = 40;
    EXPECT_EQ(kept_by_filter(logits, p), kept_by_oracle(logits, p));
    p.top_k = 5000;  // more than there are groups
    EXPECT_EQ(kept_by_filter(logits, p), kept_by_oracle(logits, p));
  }
}

TEST(Candidates, TiesOfTopKStayAndTiesOfTopPGoByTheLowerId) {
  const std::vector<float> equal(300, 1.5f);
  SamplingParams p;
  p.temperature = 1.0;
  p.top_k = 7;
  EXPECT_EQ(kept_by_filter(equal, p).size(), 300u);
  p.top_k = 0;
  p.top_p = 0.0999;
  std::vector<int32_t> first_thirty(30);
  std::iota(first_thirty.begin(), first_thirty.end(), 0);
  EXPECT_EQ(kept_by_filter(equal, p), first_thirty);
}

TEST(Candidates, AtLeastOneTokenStays) {
  const std::vector<float> logits = {0.0f, 3.0f, 1.0f, -1.0f};
  for (int filter = 0; filter < 3; ++filter) {
    SamplingParams p;
    p.temperature = 1.0;
    if (filter == 0) p.top_p = 1e-12;
    if (filter == 1) p.min_p = 1.0;
    if (filter == 2) p.top_k = 1;
    EXPECT_EQ(kept_by_filter(logits, p), std::vector<int32_t>{1}) << filter;
  }
  SamplingParams p;
  p.temperature = 1.0;
  p.typical_p = 1e-12;
  EXPECT_EQ(kept_by_filter(logits, p), kept_by_oracle(logits, p));
}

TEST(Candidates, ForbiddenTokensNeverStay) {
  std::vector<float> logits(400, -std::numeric_limits<float>::infinity());
  logits[17] = 1.0f;
  logits[350] = 0.0f;
  for (int filter = 0; filter < 4; ++filter) {
    SamplingParams p;
    p.temperature = 1.0;
    if (filter == 0) p.top_p = 0.99999;
    if (filter == 1) p.min_p = 1e-9;
    if (filter == 2) p.top_k = 50;
    if (filter == 3) p.typical_p = 0.99999;
    EXPECT_EQ(kept_by_filter(logits, p), (std::vector<int32_t>{17, 350})) << filter;
  }
}

TEST(Candidates, DrawFollowsTheCumulatedWeights) {
  const std::vector<float> logits = {std::log(1.0f), std::log(6.0f), std::log(3.0f)};
  std::vector<float> weights = {1, 6, 3};
  SamplingParams p;
  p.min_p = 0.3;  // leaves 6 and 3
  Candidates candidates;
  for (float& w : weights) w /= 6;
  candidates.filter({logits.data(), weights.data(), 3, std::log(6.0f), 1.0f, 10.0 / 6}, p, {});
  EXPECT_EQ(candidates.draw(0.0), 1);
  EXPECT_EQ(candidates.draw(0.66), 1);
  EXPECT_EQ(candidates.draw(0.67), 2);
  EXPECT_EQ(candidates.draw(0x1.fffffffffffffp-1), 2);
}

}  // namespace
}  // namespace brayton
