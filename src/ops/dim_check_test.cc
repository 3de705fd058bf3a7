// check(args) accepts what fits and names the first tensor and dimension that does not.
#include "ops/dim_check.h"

#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;
using testing::Tensor;

TEST(DimCheck, BindsNamesMultiplesAndSums) {
  const Tensor x(DType::kF32, {3, 8});
  const Tensor offsets(DType::kI32, {4});
  const Tensor cache(DType::kF32, {5, 2, 4});
  DimCheck dims("op");
  dims.dims(x, "x", {"S", "2F"})
      .dims(offsets, "offsets", {"S+1"})
      .dims(cache, "cache", {"*", "2", "F"});
  EXPECT_EQ(dims["S"], 3);
  EXPECT_EQ(dims["F"], 4);
}

TEST(DimCheck, NamesTheDimensionThatDiffers) {
  const Tensor x(DType::kF32, {3, 4096});
  const Tensor w(DType::kF32, {4095});
  EXPECT_EQ(error_of([&] { DimCheck("rms_norm").dims(x, "x", {"T", "D"}).dims(w, "w", {"D"}); }),
            "[rms_norm] w.D must be 4096, got 4095");
  EXPECT_EQ(error_of([&] { DimCheck("op").dims(x, "x", {"T", "D"}).dims(w, "w", {"T+1"}); }),
            "[op] w.T+1 must be 4, got 4095");
  EXPECT_EQ(error_of([&] { DimCheck("op").dims(w, "w", {"2F"}); }),
            "[op] w.2F must be a multiple of 2, got 4095");
  EXPECT_EQ(error_of([&] { DimCheck("op").dims(x, "x", {"2", "D"}); }),
            "[op] x must have a dimension of 2, got 3");
}

TEST(DimCheck, NamesAMissingTensorAndARank) {
  const Tensor x(DType::kF32, {3, 4});
  EXPECT_EQ(error_of([&] { DimCheck("op").dims(TensorView(), "w", {"D"}); }),
            "[op] w must be [D], got no tensor");
  EXPECT_EQ(error_of([&] { DimCheck("op").dims(x, "x", {"T", "H", "D"}); }),
            "[op] x must be [T, H, D], got [3, 4]");
  const TensorView null(static_cast<void*>(nullptr), DType::kF32, {3, 4});
  EXPECT_EQ(error_of([&] { DimCheck("op").dims(null, "x", {"T", "D"}); }),
            "[op] x must be [T, D], got a null pointer");
}

TEST(DimCheck, AnEmptyTensorNeedsNoMemory) {
  const TensorView empty(static_cast<void*>(nullptr), DType::kF32, {0, 4});
  EXPECT_EQ(error_of([&] { DimCheck("op").dims(empty, "x", {"T", "D"}); }), "");
}

TEST(DimCheck, NamesTypesAndLayouts) {
  const Tensor x(DType::kF32, {3, 4});
  const Tensor half(DType::kF16, {3, 4});
  const Tensor ids(DType::kI32, {3, 4}, 2);
  const TensorView none;
  EXPECT_EQ(error_of([&] { DimCheck("op").dtype(x, "x", DType::kI32); }),
            "[op] x must be i32, got f32");
  EXPECT_EQ(error_of([&] { DimCheck("op").activations({{&ids.view(), "x"}}); }),
            "[op] x must be f32, f16 or bf16, got i32");
  EXPECT_EQ(error_of([&] {
              DimCheck("op").activations({{&x.view(), "x"}, {&none, "r"}, {&half.view(), "y"}});
            }),
            "[op] y must be f32 as x is, got f16");
  EXPECT_EQ(error_of([&] { DimCheck("op").contiguous(ids, "ids"); }),
            "[op] ids must be contiguous, got strides [6, 1]");
  EXPECT_EQ(error_of([&] { DimCheck("op").weight(ids, "w"); }),
            "[op] w must be a float or block type, got i32");
  TensorView columns = x;
  columns.strides = {1, 3};
  EXPECT_EQ(error_of([&] { DimCheck("op").dims(columns, "x", {"T", "D"}); }),
            "[op] x's last stride must be 1, got 3");
}

TEST(DimCheck, ComparesNumbers) {
  const Tensor x(DType::kF32, {3, 4});
  EXPECT_EQ(error_of([] { DimCheck("op").at_least("window", -1, 0); }),
            "[op] window must be at least 0, got -1");
  EXPECT_EQ(error_of([] { DimCheck("op").at_most("2 P", 66, "head_dim", 64); }),
            "[op] 2 P must be at most head_dim 64, got 66");
  EXPECT_EQ(error_of([] { DimCheck("op").multiple("heads", 9, "kv_heads", 2); }),
            "[op] heads must be a multiple of kv_heads 2, got 9");
  EXPECT_EQ(error_of([&] { DimCheck("op").needs(x, "sum", TensorView(), "residual"); }),
            "[op] residual must be given with sum, got sum alone");
}

}  // namespace
}  // namespace brayton
