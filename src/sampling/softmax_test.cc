// Row passes equal plain double loops at every length, whatever the tail of the last vector.
#include "sampling/softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

namespace brayton {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_row(int64_t count, uint64_t seed, float spread = 4.0f) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> row(static_cast<size_t>(count));
  for (float& x : row) x = normal(random);
  return row;
}

// 1 and 3: less than a vector; 256: one block; 255, 257, 1000: with tails; 49152: a vocabulary.
const int64_t kLengths[] = {1, 3, 4, 5, 63, 255, 256, 257, 1000, 49152};

TEST(Softmax, MaximumIsThatOfAPlainLoop) {
  for (int64_t count : kLengths) {
    auto row = random_row(count, 7 + static_cast<uint64_t>(count));
    std::vector<float> groups;
    const RowMaximum found = find_maximum(row.data(), count, groups);
    const auto expected = std::max_element(row.begin(), row.end());
    EXPECT_EQ(found.index, expected - row.begin()) << count;
    EXPECT_EQ(found.value, *expected) << count;
    EXPECT_TRUE(found.valid);

    // The k-th largest group maximum bounds the row's k-th largest value from below.
    std::sort(groups.begin(), groups.end(), std::greater<>());
    std::sort(row.begin(), row.end(), std::greater<>());
    for (size_t k = 0; k < groups.size(); ++k) EXPECT_LE(groups[k], row[k]) << count << " " << k;
  }
}

TEST(Softmax, EqualMaximaGiveTheLowestIndex) {
  std::vector<float> row(1000, -3.0f), groups;
  EXPECT_EQ(find_maximum(row.data(), 1000, groups).index, 0);
  row[999] = row[700] = row[513] = 2.0f;
  EXPECT_EQ(find_maximum(row.data(), 1000, groups).index, 513);
}

TEST(Softmax, NanAndPlusInfinityAreFoundAnywhere) {
  std::vector<float> groups;
  for (int64_t count : {5, 256, 1000}) {
    for (int64_t at = 0; at < count; ++at) {
      auto row = random_row(count, 3);
      row[at] = -kInfinity;
      EXPECT_TRUE(find_maximum(row.data(), count, groups).valid);
      row[at] = kInfinity;
      EXPECT_FALSE(find_maximum(row.data(), count, groups).valid) << at;
      row[at] = std::nanf("");
      EXPECT_FALSE(find_maximum(row.data(), count, groups).valid) << at;
    }
  }
}

TEST(Softmax, WeightsEqualTheExponential) {
  for (int64_t count : kLengths) {
    auto row = random_row(count, 11, 20.0f);
    row[static_cast<size_t>(count / 2)] = -kInfinity;
    row[0] = 3.0f;
    std::vector<float> groups, blocks, weights(row.size(), -1.0f);
    const float maximum = find_maximum(row.data(), count, groups).value;
    const float scale = 0.7f;
    const double total = exponentiate(row.data(), count, maximum, scale, weights.data(), blocks);
    double expected_total = 0;
    for (int64_t i = 0; i < count; ++i) {
      const double exponent = (row[i] - maximum) * scale;  // rounded as the function rounds it
      const double expected = exponent < -87.0 ? 0.0 : std::exp(exponent);
      EXPECT_NEAR(weights[i], expected, 1e-6 * expected) << count << " " << i;
      expected_total += expected;
    }
    EXPECT_NEAR(total, expected_total, 2e-6 * expected_total);
    double sum = 0;
    for (float block : blocks) sum += block;
    EXPECT_NEAR(sum, total, 1e-9 * total);
    EXPECT_EQ(static_cast<int64_t>(blocks.size()), (count + kRowBlock - 1) / kRowBlock);
  }
}

TEST(Softmax, LogProbabilityIsTheLogSoftmax) {
  for (int64_t count : kLengths) {
    const auto row = random_row(count, 5);
    double sum = 0;
    for (float x : row) sum += std::exp(static_cast<double>(x));
    for (int64_t i : {int64_t{0}, count / 2, count - 1})
      EXPECT_NEAR(log_probability(row.data(), count, i), row[i] - std::log(sum), 2e-6);
  }
  const float broken[] = {0.0f, std::nanf(""), 1.0f};
  EXPECT_TRUE(std::isnan(log_probability(broken, 3, 0)));
  const float empty[] = {-kInfinity, -kInfinity};
  EXPECT_TRUE(std::isnan(log_probability(empty, 2, 0)));
  const float large[] = {1e30f, 0.0f};
  EXPECT_EQ(log_probability(large, 2, 0), 0.0);
}

}  // namespace
}  // namespace brayton
