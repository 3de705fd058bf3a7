// How a normed row is shared out: every row of a model's width is in registers, all its vectors
// have a thread, and registers suffice.
#include "backends/cuda/kernels/norm.h"

#include <gtest/gtest.h>

#include "core/format.h"

namespace brayton::cuda {
namespace {

TEST(NormConfig, ModelsWidths) {
  struct Expected {
    DType dtype;
    int64_t width;
    bool bias;
    int threads, vectors, blocks;
  };
  const Expected rows[] = {
      {DType::kBF16, 4096, false, 512, 1, 2},    // LLaMA 8B
      {DType::kBF16, 576, false, 96, 1, 10},     // SmolLM2: 72 vectors
      {DType::kF16, 5120, false, 320, 2, 3},     // LLaMA 13B
      {DType::kBF16, 8192, false, 512, 2, 2},    // LLaMA 70B
      {DType::kBF16, 8192, true, 1024, 1, 1},    // a bias takes the second vector's registers
      {DType::kBF16, 16384, false, 1024, 2, 1},  // LLaMA 405B
      {DType::kF32, 4096, false, 512, 2, 2},    {DType::kBF16, 64, false, 32, 1, 16},
  };
  for (const Expected& row : rows) {
    SCOPED_TRACE(format("{} {}", dtype_name(row.dtype), row.width));
    const NormConfig config = choose_norm(row.dtype, row.width, row.bias, true);
    EXPECT_EQ(config.threads, row.threads);
    EXPECT_EQ(config.vectors, row.vectors);
    EXPECT_EQ(config.blocks, row.blocks);
  }
}

TEST(NormConfig, ElementByElementWhereVectorsDoNotFit) {
  EXPECT_EQ(choose_norm(DType::kBF16, 4100, false, true).vectors, 0);   // not whole vectors
  EXPECT_EQ(choose_norm(DType::kBF16, 4096, false, false).vectors, 0);  // addresses
  EXPECT_EQ(choose_norm(DType::kBF16, 18432, false, true).vectors, 0);  // too many for registers
  EXPECT_EQ(choose_norm(DType::kBF16, 1, false, true).threads, 32);
}

TEST(NormConfig, AnyWidth) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
    for (const bool bias : {false, true})
      for (int64_t width = 1; width < 40000; width += width < 300 ? 1 : 61) {
        SCOPED_TRACE(format("{} {}", dtype_name(dtype), width));
        const NormConfig config = choose_norm(dtype, width, bias, true);
        ASSERT_TRUE(config.threads % 32 == 0 && config.threads >= 32 && config.threads <= 1024);
        ASSERT_TRUE(config.blocks >= 1 && config.blocks <= 16);
        ASSERT_LE(config.blocks * config.threads * 64, 65536);
        if (config.vectors == 0) continue;
        ASSERT_GE(int64_t{config.threads} * config.vectors * 16,
                  width * dtype_info(dtype).block_bytes);
      }
}

}  // namespace
}  // namespace brayton::cuda
