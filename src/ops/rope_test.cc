// rope turns pairs by position times frequency in both layouts, keeps lengths up to scale, and
// leaves the rest of a head alone.
#include "ops/rope.h"

#include <numbers>

#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;
using testing::expect_close;
using testing::Tensor;
using testing::values;

const float kQuarter = static_cast<float>(std::numbers::pi / 2);

TEST(Rope, HalvesLayoutQuarterTurn) {
  // One head of 5: pairs (0, 2) and (1, 3); dimension 4 passes through.
  const Tensor x = Tensor::of({2, 1, 5}, {1, 2, 3, 4, 9, 1, 2, 3, 4, 9});
  const Tensor positions = Tensor::of_i32({1, 2});
  const Tensor inv_freq = Tensor::of({2}, {kQuarter, 0});
  const Tensor y(DType::kF32, {2, 1, 5});
  reference(RopeArgs{.x = x, .positions = positions, .inv_freq = inv_freq, .y = y});
  expect_close(values(y), {-3, 2, 1, 4, 9, -1, 2, -3, 4, 9}, {1e-6, 0});
}

TEST(Rope, InterleavedLayoutAndScale) {
  const Tensor x = Tensor::of({1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  const Tensor positions = Tensor::of_i32({1});
  const Tensor inv_freq = Tensor::of({2}, {kQuarter, 2 * kQuarter});
  reference(RopeArgs{.x = x,
                     .positions = positions,
                     .inv_freq = inv_freq,
                     .y = x,
                     .interleaved = true,
                     .scale = 2.0f});
  expect_close(values(x), {-4, 2, -6, -8, -12, 10, -14, -16}, {2e-6, 0});
}

TEST(Rope, ScoresDependOnTheDistanceOnly) {
  std::mt19937 random(2);
  const Tensor x = testing::normal_tensor(DType::kF32, {1, 2, 8}, random);
  const Tensor inv_freq = Tensor::of({4}, {1, 0.1f, 0.01f, 0.001f});
  // q at i and k at j: heads 0 and 1 of the same row turned by their own positions.
  auto score = [&](int32_t i, int32_t j) {
    const Tensor q(DType::kF32, {1, 2, 8});
    const Tensor k(DType::kF32, {1, 2, 8});
    const Tensor at_i = Tensor::of_i32({i});
    const Tensor at_j = Tensor::of_i32({j});
    reference(RopeArgs{.x = x, .positions = at_i, .inv_freq = inv_freq, .y = q});
    reference(RopeArgs{.x = x, .positions = at_j, .inv_freq = inv_freq, .y = k});
    double dot = 0.0;
    for (int d = 0; d < 8; ++d)
      dot += load_float(q.view(), 0, 0, d) * load_float(k.view(), 0, 1, d);
    return dot;
  };
  EXPECT_NEAR(score(7, 3), score(107, 103), 1e-4);
  EXPECT_GT(std::abs(score(7, 3) - score(7, 4)), 1e-3);
}

TEST(Rope, SaysWhatDoesNotFit) {
  const Tensor x(DType::kF32, {1, 1, 6});
  const Tensor positions = Tensor::of_i32({1});
  const Tensor inv_freq(DType::kF32, {4});
  EXPECT_EQ(error_of([&] {
              check(RopeArgs{.x = x, .positions = positions, .inv_freq = inv_freq, .y = x});
            }),
            "[rope] 2 P must be at most head_dim 6, got 8");
}

}  // namespace
}  // namespace brayton
