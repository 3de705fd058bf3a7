// Rows are read in vectors only where each of them starts at a multiple of 16 bytes, and every
// group of elements gets a thread.
#include "backends/cuda/kernels/vector_rows.h"

#include <gtest/gtest.h>

#include "backends/cuda/kernels/step_inputs.h"
#include "testing/op_test.h"

namespace brayton::cuda {
namespace {

TEST(VectorRows, Alignment) {
  const testing::Tensor tensor(DType::kBF16, {4, 64});
  TensorView view = tensor;
  EXPECT_TRUE(rows_aligned(view));
  EXPECT_TRUE(rows_aligned(TensorView()));
  EXPECT_TRUE(rows_aligned(view.slice(1, 8, 16)));
  EXPECT_FALSE(rows_aligned(view.slice(1, 4, 16)));
  view.strides[0] = 60;
  EXPECT_FALSE(rows_aligned(view));
  EXPECT_EQ(testing::error_of([] { to_int32(int64_t{1} << 31); }).empty(), false);
}

TEST(VectorRows, Groups) {
  // One token's MLP in LLaMA 8B: 1792 groups of 8 elements, 256 to a block.
  RowGroups groups = group_rows(1, 14336, true);
  EXPECT_EQ(groups.count, 8);
  EXPECT_EQ(groups.blocks, 7);
  groups = group_rows(1, 14336, false);
  EXPECT_EQ(groups.count, 1);
  EXPECT_EQ(groups.blocks, 56);
  groups = group_rows(3, 7, true);
  EXPECT_EQ(groups.count, 1);
  EXPECT_EQ(groups.blocks, 1);
  EXPECT_NE(testing::error_of([] { group_rows(int64_t{1} << 20, 1 << 20, true); }), "");
}

TEST(VectorRows, BlocksOfUnpackStep) {
  EXPECT_EQ(unpack_step_blocks(0, 132), 1);
  EXPECT_EQ(unpack_step_blocks(257, 132), 2);
  EXPECT_EQ(unpack_step_blocks(256 * 4096, 132), 132);
}

}  // namespace
}  // namespace brayton::cuda
