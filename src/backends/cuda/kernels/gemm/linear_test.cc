// choose_linear takes the fastest kernel that can compute a layer.
#include "backends/cuda/kernels/gemm/linear.h"

#include <gtest/gtest.h>

namespace brayton::cuda {
namespace {

DeviceInfo h100() { return {.hopper = true}; }
DeviceInfo a100() {
  return {
      .capability = 80, .hopper = false, .multiprocessors = 108, .shared_per_block = 163 * 1024};
}
LinearShape shape(int64_t rows, int64_t outputs = 4096, int64_t columns = 4096) {
  return {.rows = rows, .outputs = outputs, .columns = columns};
}

TEST(ChooseLinear, ByRows) {
  for (const DeviceInfo& device : {h100(), a100()}) {
    for (const int64_t rows : {1, 2, 3, 4})
      EXPECT_EQ(choose_linear(shape(rows), device), LinearKernel::kGemv);
    for (const int64_t rows : {5, 16, 32})
      EXPECT_EQ(choose_linear(shape(rows), device), LinearKernel::kSkinny);
  }
  EXPECT_EQ(choose_linear(shape(64), a100()), LinearKernel::kSkinny);
  EXPECT_EQ(choose_linear(shape(64), h100()), LinearKernel::kGemmHopper);
  for (const int64_t rows : {65, 128, 8192}) {
    EXPECT_EQ(choose_linear(shape(rows), h100()), LinearKernel::kGemmHopper);
    EXPECT_EQ(choose_linear(shape(rows), a100()), LinearKernel::kGemm);
  }
}

TEST(ChooseLinear, FewRowsThatDoNotFitSharedMemoryAreSkinny) {
  EXPECT_EQ(choose_linear(shape(4, 8192, 28672), h100()), LinearKernel::kSkinny);
}

TEST(ChooseLinear, OddOutputsOfManyRowsAreForThePortableKernel) {
  EXPECT_EQ(choose_linear(shape(128, 50257, 768), h100()), LinearKernel::kGemm);
  EXPECT_EQ(choose_linear(shape(1, 50257, 768), h100()), LinearKernel::kGemv);
  LinearShape unaligned = shape(128);
  unaligned.y_aligned = false;
  EXPECT_EQ(choose_linear(unaligned, h100()), LinearKernel::kGemm);
}

TEST(ChooseLinear, WhatIsLeftIsSimple) {
  for (const int64_t rows : {1, 16, 1000}) {
    EXPECT_EQ(choose_linear(shape(rows, 4096, 100), h100()), LinearKernel::kSimple);
    LinearShape oracle = shape(rows);
    oracle.dtype = DType::kF32;
    EXPECT_EQ(choose_linear(oracle, h100()), LinearKernel::kSimple);
    LinearShape unaligned = shape(rows);
    unaligned.x_aligned = false;
    EXPECT_EQ(choose_linear(unaligned, h100()), LinearKernel::kSimple);
  }
}

}  // namespace
}  // namespace brayton::cuda
