// rms_norm and layer_norm equal their formulas worked by hand, for every activation type, with
// strided rows, and with the sum of a residual.
#include "ops/layer_norm.h"
#include "ops/rms_norm.h"
#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;
using testing::expect_close;
using testing::Tensor;
using testing::values;

TEST(RmsNorm, HandComputed) {
  const Tensor x = Tensor::of({2, 2}, {3, 4, 0, 2});
  const Tensor w = Tensor::of({2}, {2, 10});
  const Tensor y(DType::kF32, {2, 2});
  // Means of squares: 12.5 and 2; eps makes them 16 and 5.5.
  reference(RmsNormArgs{.x = x, .residual = {}, .w = w, .sum = {}, .y = y, .eps = 3.5f});
  expect_close(values(y), {1.5f, 10.0f, 0.0f, 20.0f / std::sqrt(5.5f)}, {1e-6, 1e-6});
}

TEST(RmsNorm, AddsTheResidualFirstAndGivesTheSum) {
  const Tensor x = Tensor::of({1, 2}, {1, 5});
  const Tensor residual = Tensor::of({1, 2}, {2, -1});
  const Tensor w = Tensor::of({2}, {1, 1});
  const Tensor sum(DType::kF32, {1, 2});
  const Tensor y(DType::kF32, {1, 2});
  reference(RmsNormArgs{.x = x, .residual = residual, .w = w, .sum = sum, .y = y, .eps = 0.0f});
  EXPECT_EQ(values(sum), (std::vector<float>{3, 4}));
  expect_close(values(y), {3 / std::sqrt(12.5f), 4 / std::sqrt(12.5f)}, {0, 1e-6});
}

TEST(RmsNorm, StridedHalfRows) {
  for (DType dtype : {DType::kF16, DType::kBF16}) {
    std::mt19937 random(1);
    const Tensor x = testing::normal_tensor(dtype, {3, 5}, random, 1.0f, 4);
    const Tensor w = Tensor::of({5}, {1, 1, 1, 1, 1});
    const Tensor y(dtype, {3, 5}, 2);
    reference(RmsNormArgs{.x = x, .residual = {}, .w = w, .sum = {}, .y = y, .eps = 0.0f});
    for (int t = 0; t < 3; ++t) {
      double squares = 0.0;
      for (int i = 0; i < 5; ++i) squares += std::pow(load_float(y.view(), t, i), 2);
      EXPECT_NEAR(squares, 5.0, dtype == DType::kF16 ? 0.01 : 0.06);
    }
  }
}

TEST(RmsNorm, SaysWhatDoesNotFit) {
  const Tensor x(DType::kF32, {2, 8});
  const Tensor w(DType::kF32, {7});
  const Tensor y(DType::kF32, {2, 8});
  const RmsNormArgs misfit{.x = x, .residual = {}, .w = w, .sum = {}, .y = y};
  EXPECT_EQ(error_of([&] { check(misfit); }), "[rms_norm] w.D must be 8, got 7");
  const Tensor fits(DType::kF32, {8});
  EXPECT_EQ(
      error_of([&] { check(RmsNormArgs{.x = x, .residual = {}, .w = fits, .sum = x, .y = y}); }),
      "[rms_norm] residual must be given with sum, got sum alone");
}

TEST(LayerNorm, HandComputed) {
  const Tensor x = Tensor::of({1, 4}, {1, 3, 5, 7});  // mean 4, variance 5
  const Tensor w = Tensor::of({4}, {1, 2, 3, 4});
  const Tensor b = Tensor::of({4}, {10, 20, 30, 40});
  const Tensor y(DType::kF32, {1, 4});
  reference(LayerNormArgs{.x = x, .residual = {}, .w = w, .b = b, .sum = {}, .y = y, .eps = 4.0f});
  expect_close(values(y), {9, 20 - 2.0f / 3, 31, 44}, {0, 1e-6});
}

TEST(LayerNorm, WithResidualAndWithoutBias) {
  const Tensor x = Tensor::of({1, 2}, {1, 2});
  const Tensor residual = Tensor::of({1, 2}, {1, 4});
  const Tensor w = Tensor::of({2}, {1, 1});
  const Tensor sum(DType::kF32, {1, 2});
  const Tensor y(DType::kF32, {1, 2});
  reference(LayerNormArgs{
      .x = x, .residual = residual, .w = w, .b = {}, .sum = sum, .y = y, .eps = 0.0f});
  EXPECT_EQ(values(sum), (std::vector<float>{2, 6}));
  expect_close(values(y), {-1, 1}, {0, 1e-6});
}

TEST(LayerNorm, SaysWhatDoesNotFit) {
  const Tensor x(DType::kF32, {2, 8});
  const Tensor w(DType::kF32, {8});
  const Tensor b(DType::kF16, {8});
  EXPECT_EQ(error_of([&] {
              check(LayerNormArgs{.x = x, .residual = {}, .w = w, .b = b, .sum = {}, .y = x});
            }),
            "[layer_norm] b must be f32, got f16");
}

}  // namespace
}  // namespace brayton
