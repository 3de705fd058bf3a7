// ALiBi slopes are the paper's, for counts of heads that are powers of two and for others.
#include "models/blocks/alibi.h"

#include <gtest/gtest.h>

#include <cmath>

namespace brayton {
namespace {

TEST(Alibi, PowersOfTwo) {
  EXPECT_EQ(alibi_slopes(1), std::vector<double>{1.0 / 256});
  EXPECT_EQ(alibi_slopes(4), (std::vector<double>{0.25, 0.0625, 0.015625, 0.00390625}));
  EXPECT_EQ(alibi_slopes(8), (std::vector<double>{0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625,
                                                  0.0078125, 0.00390625}));
}

// 12 heads: the 8 slopes of 8 heads, then the 1st, 3rd, 5th and 7th of 16 heads.
TEST(Alibi, OtherCountsBorrowFromTheNextPower) {
  const std::vector<double> slopes = alibi_slopes(12);
  const std::vector<double> eight = alibi_slopes(8);
  ASSERT_EQ(slopes.size(), 12u);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(slopes[i], eight[i]);
  const double borrowed[] = {0.7071067811865476, 0.35355339059327379, 0.1767766952966369,
                             0.088388347648318447};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(slopes[8 + i], borrowed[i], 1e-15);
}

}  // namespace
}  // namespace brayton
