// The cut found by radix selection is the one a full sort finds.
#include "sampling/prefix_cut.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

namespace brayton {
namespace {

TEST(PrefixCut, KeysAreInTheOrderOfTheFloats) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> ascending = {-infinity, -3e38f, -1.0f, -1e-40f, 0.0f,
                                        1e-40f,    1.0f,   1.5f,  3e38f,   infinity};
  for (size_t i = 1; i < ascending.size(); ++i)
    EXPECT_LT(ordered_key(ascending[i - 1]), ordered_key(ascending[i])) << i;
  EXPECT_EQ(ordered_key(0.0f), ordered_key(-0.0f));
}

// By sorting: the key at which the sum first reaches the target, and the sum of all larger keys.
PrefixCut sorted_cut(const std::vector<uint32_t>& keys, const std::vector<float>& weights,
                     double target) {
  std::vector<size_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys[a] > keys[b]; });
  double sum = 0;
  size_t last = 0;
  while (last < order.size() && (sum += weights[order[last]]) < target) ++last;
  PrefixCut cut;
  cut.key = keys[order[std::min(last, order.size() - 1)]];
  for (size_t i = 0; i < keys.size(); ++i)
    if (keys[i] > cut.key) cut.before += weights[i];
  return cut;
}

TEST(PrefixCut, EqualsAFullSort) {
  std::mt19937_64 random(2024);
  PrefixSelector selector;
  for (int round = 0; round < 400; ++round) {
    const size_t count = 1 + random() % 500;
    // Few distinct keys (ties), keys that differ in the lowest digit only, and any keys.
    const uint32_t masks[] = {0xc0000001u, 0x000000ffu, 0x000fff00u, 0xffffffffu};
    const uint32_t mask = masks[round % 4];
    std::vector<uint32_t> keys(count);
    std::vector<float> weights(count);
    float total = 0;
    for (size_t i = 0; i < count; ++i) {
      keys[i] = static_cast<uint32_t>(random()) & mask;
      weights[i] = static_cast<float>(1 + random() % 1000);  // whole numbers: sums are exact
      total += weights[i];
    }
    const double target = 1.0 + static_cast<double>(random() % static_cast<uint64_t>(total));
    const PrefixCut expected = sorted_cut(keys, weights, target);
    const PrefixCut found = selector.by_weight(keys, weights, target);
    ASSERT_EQ(found.key, expected.key) << "round " << round;
    ASSERT_EQ(found.before, expected.before) << "round " << round;

    const auto k = static_cast<int64_t>(1 + random() % count);
    const std::vector<float> ones(count, 1.0f);
    const PrefixCut by_rank = sorted_cut(keys, ones, static_cast<double>(k));
    ASSERT_EQ(selector.by_count(keys, k).key, by_rank.key) << "round " << round;
  }
}

TEST(PrefixCut, ATargetThatIsNeverReachedKeepsEverything) {
  PrefixSelector selector;
  const std::vector<uint32_t> keys = {900000, 5, 70000};
  const std::vector<float> weights = {1, 1, 1};
  EXPECT_EQ(selector.by_weight(keys, weights, 3.5).key, 5u);
}

}  // namespace
}  // namespace brayton
