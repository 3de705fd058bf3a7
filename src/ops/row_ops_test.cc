// linear, embedding, gather_rows, add, mul and scale equal their formulas worked by hand, and say
// what does not fit.
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/gather_rows.h"
#include "ops/linear.h"
#include "ops/quant_blocks.h"
#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;
using testing::expect_close;
using testing::Tensor;
using testing::values;

TEST(Linear, HandComputedWithBias) {
  const Tensor x = Tensor::of({2, 3}, {1, 2, 3, -1, 0, 1});
  const Tensor w = Tensor::of({2, 3}, {1, 1, 1, 0, 10, 100});
  const Tensor bias = Tensor::of({2}, {0.5f, -0.5f});
  const Tensor y(DType::kF32, {2, 2});
  reference(LinearArgs{.x = x, .w = w, .bias = bias, .y = y});
  EXPECT_EQ(values(y), (std::vector<float>{6.5f, 319.5f, 0.5f, 99.5f}));
}

TEST(Linear, BlockWeightAndHalfActivations) {
  // One q8_0 block a row: scale 0.5, quants 0..31 and their negatives.
  Tensor w(DType::kQ8_0, {2, 32});
  std::vector<float> rows(64);
  for (int k = 0; k < 32; ++k) {
    rows[k] = 0.5f * static_cast<float>(k == 31 ? 127 : k);
    rows[32 + k] = -rows[k];
  }
  for (int n = 0; n < 2; ++n) from_f32(DType::kQ8_0, &rows[n * 32], 32, w.view().row(n));
  Tensor x(DType::kF16, {1, 32}, 8);
  double expected = 0.0;
  for (int k = 0; k < 32; ++k) {
    store_float(x.view(), 0, k, k % 2 == 0 ? 0.25f : -1.0f);
    expected += (k % 2 == 0 ? 0.25 : -1.0) * rows[k];
  }
  const Tensor y(DType::kF16, {1, 2});
  reference(LinearArgs{.x = x, .w = w, .bias = {}, .y = y});
  expect_close(values(y), {static_cast<float>(expected), static_cast<float>(-expected)}, {0, 1e-3});
}

TEST(Linear, SaysWhatDoesNotFit) {
  const Tensor x(DType::kF32, {2, 8});
  const Tensor w(DType::kF32, {4, 9});
  const Tensor y(DType::kF32, {2, 4});
  EXPECT_EQ(error_of([&] { check(LinearArgs{.x = x, .w = w, .bias = {}, .y = y}); }),
            "[linear] w.K must be 8, got 9");
  EXPECT_EQ(error_of([&] { check(LinearArgs{.x = x, .w = {}, .bias = {}, .y = y}); }),
            "[linear] w must be [N, K], got no tensor");
}

TEST(Embedding, RowsOfAnyType) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const Tensor table(dtype, {3, 4});
    for (int i = 0; i < 12; ++i)
      store_float(table.view(), i / 4, i % 4, static_cast<float>(i) * 0.25f);
    const Tensor ids = Tensor::of_i32({2, 0, 2});
    const Tensor y(DType::kF32, {3, 4}, 3);
    reference(EmbeddingArgs{.ids = ids, .table = table, .y = y});
    EXPECT_EQ(values(y),
              (std::vector<float>{2, 2.25, 2.5, 2.75, 0, .25, .5, .75, 2, 2.25, 2.5, 2.75}));
  }
}

TEST(Embedding, SaysWhatDoesNotFit) {
  const Tensor ids = Tensor::of_i32({3});
  const Tensor table(DType::kF32, {3, 4});
  const Tensor y(DType::kF32, {1, 4});
  EXPECT_EQ(error_of([&] { reference(EmbeddingArgs{.ids = ids, .table = table, .y = y}); }),
            "[embedding] ids[0] must be in [0, 3), got 3");
  const Tensor floats(DType::kF32, {1});
  EXPECT_EQ(error_of([&] { check(EmbeddingArgs{.ids = floats, .table = table, .y = y}); }),
            "[embedding] ids must be i32, got f32");
}

TEST(GatherRows, PicksRowsInOrder) {
  const Tensor x = Tensor::of({3, 2}, {1, 2, 3, 4, 5, 6});
  const Tensor rows = Tensor::of_i32({2, 2, 0});
  const Tensor y(DType::kF32, {3, 2});
  reference(GatherRowsArgs{.x = x, .rows = rows, .y = y});
  EXPECT_EQ(values(y), (std::vector<float>{5, 6, 5, 6, 1, 2}));
  const Tensor beyond = Tensor::of_i32({2, -1, 0});
  EXPECT_EQ(error_of([&] { reference(GatherRowsArgs{.x = x, .rows = beyond, .y = y}); }),
            "[gather_rows] rows[1] must be in [0, 3), got -1");
  const Tensor narrow(DType::kF32, {3, 1});
  EXPECT_EQ(error_of([&] { check(GatherRowsArgs{.x = x, .rows = rows, .y = narrow}); }),
            "[gather_rows] y.D must be 2, got 1");
}

TEST(Binary, AddsAndMultipliesTensorsAndRows) {
  const Tensor a = Tensor::of({2, 2}, {1, 2, 3, 4});
  const Tensor b = Tensor::of({2, 2}, {10, 20, 30, 40});
  const Tensor row = Tensor::of({2}, {5, -1});
  const Tensor y(DType::kF32, {2, 2}, 1);
  reference(BinaryArgs{.a = a, .b = b, .y = y, .kind = BinaryKind::kAdd});
  EXPECT_EQ(values(y), (std::vector<float>{11, 22, 33, 44}));
  reference(BinaryArgs{.a = a, .b = row, .y = y, .kind = BinaryKind::kMul});
  EXPECT_EQ(values(y), (std::vector<float>{5, -2, 15, -4}));
  reference(BinaryArgs{.a = a, .b = a, .y = a, .kind = BinaryKind::kAdd});
  EXPECT_EQ(values(a), (std::vector<float>{2, 4, 6, 8}));
  const Tensor tall(DType::kF32, {3, 2});
  const BinaryArgs misfit{.a = a, .b = tall, .y = y, .kind = BinaryKind::kMul};
  EXPECT_EQ(error_of([&] { check(misfit); }), "[mul] b.T must be 2, got 3");
}

TEST(Scale, MultipliesByTheFactor) {
  const Tensor a = Tensor::of({1, 3}, {1, -2, 3});
  reference(ScaleArgs{.a = a, .y = a, .factor = -0.5f});
  EXPECT_EQ(values(a), (std::vector<float>{-0.5f, 1, -1.5f}));
  const Tensor wide(DType::kF32, {1, 4});
  EXPECT_EQ(error_of([&] { check(ScaleArgs{.a = a, .y = wide}); }), "[scale] y.D must be 3, got 4");
}

}  // namespace
}  // namespace brayton
