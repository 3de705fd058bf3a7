// choose_gemv's launches fit the device, two of them at once on Hopper, and it says what it cannot
// do.
#include "backends/cuda/kernels/gemm/gemv.h"

#include <gtest/gtest.h>

#include "core/format.h"

namespace brayton::cuda {
namespace {

DeviceInfo h100() { return {.hopper = true}; }
DeviceInfo ampere_workstation() {
  return {.capability = 86, .hopper = false, .multiprocessors = 84, .shared_per_block = 99 * 1024};
}

TEST(ChooseGemv, TwoKernelsShareAMultiprocessorOfHopper) {
  for (const int64_t columns : {576, 2048, 4096, 8192, 14336}) {
    const auto config = choose_gemv({1, 4096, columns, false}, h100());
    ASSERT_TRUE(config) << columns;
    EXPECT_TRUE(config->bulk);
    EXPECT_LE(2 * (config->shared_bytes + 1024), 228 * 1024) << columns;
    // At least 64 KiB on their way to every multiprocessor.
    EXPECT_GE(config->warps * config->stages * config->piece * 4, 64 << 10) << columns;
    EXPECT_EQ(config->blocks, 132u);
  }
}

TEST(ChooseGemv, ShallowerRingsWhereXTakesMore) {
  EXPECT_EQ(choose_gemv({1, 4096, 4096, false}, h100())->stages, 3);
  EXPECT_EQ(choose_gemv({1, 4096, 14336, false}, h100())->stages, 2);
  EXPECT_EQ(choose_gemv({4, 4096, 4096, false}, h100())->stages, 2);
}

TEST(ChooseGemv, RowsAreRoundedUpToAPowerOfTwo) {
  const int expected[] = {1, 2, 4, 4};
  for (int rows = 1; rows <= 4; ++rows)
    EXPECT_EQ(choose_gemv({rows, 64, 64, false}, h100())->rows, expected[rows - 1]);
}

TEST(ChooseGemv, ABlockHasAPairOfRowsAtLeast) {
  EXPECT_EQ(choose_gemv({1, 1, 64, false}, h100())->blocks, 1u);
  EXPECT_EQ(choose_gemv({1, 41, 64, false}, h100())->blocks, 21u);
  EXPECT_EQ(choose_gemv({1, 40, 64, true}, h100())->blocks, 40u);
}

TEST(ChooseGemv, FitsSmallerSharedMemoryWithoutBulkCopies) {
  for (const int64_t columns : {72, 4096, 14336}) {
    const auto config = choose_gemv({1, 4096, columns, false}, ampere_workstation());
    ASSERT_TRUE(config) << columns;
    EXPECT_FALSE(config->bulk);
    EXPECT_EQ(config->prefetch, 0);
    EXPECT_LE(config->shared_bytes, 99 * 1024);
  }
}

TEST(ChooseGemv, NothingForWhatItCannotDo) {
  EXPECT_FALSE(choose_gemv({5, 64, 64, false}, h100()));
  EXPECT_FALSE(choose_gemv({1, 64, 63, false}, h100()));
  EXPECT_FALSE(choose_gemv({4, 8192, 28672, false}, h100())) << "x alone takes 224 KiB";
  EXPECT_FALSE(choose_gemv({4, 4096, 14336, false}, ampere_workstation()));
}

}  // namespace
}  // namespace brayton::cuda
