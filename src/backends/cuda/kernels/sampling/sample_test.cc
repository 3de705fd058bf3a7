// Teams are as large as multiprocessors and the row make useful, and blocks fit where they should.
#include "backends/cuda/kernels/sampling/sample.h"

#include <gtest/gtest.h>

namespace brayton::cuda {
namespace {

const DeviceInfo kH100{.hopper = true};

TEST(ChooseSample, FewRowsGetLargeTeamsManyGetSmallOnes) {
  EXPECT_EQ(choose_sample(kH100, DType::kBF16, 1, 128256).team, 8);
  EXPECT_EQ(choose_sample(kH100, DType::kBF16, 33, 128256).team, 8);
  EXPECT_EQ(choose_sample(kH100, DType::kBF16, 34, 128256).team, 4);
  EXPECT_EQ(choose_sample(kH100, DType::kBF16, 256, 128256).team, 4);
}

TEST(ChooseSample, SmallVocabulariesGetSmallTeams) {
  for (int64_t vocab : {1, 2048, 4095}) {
    EXPECT_EQ(choose_sample(kH100, DType::kF16, 1, vocab).team, 1) << vocab;
  }
  EXPECT_EQ(choose_sample(kH100, DType::kF16, 1, 4096).team, 2);
  EXPECT_EQ(choose_sample(kH100, DType::kF16, 1, 50257).team, 8);
}

TEST(ChooseSample, NoTeamsWithoutClusters) {
  const DeviceInfo ampere{.arch = "sm_80", .capability = 80};
  const SampleConfig config = choose_sample(ampere, DType::kBF16, 1, 128256);
  EXPECT_FALSE(config.cluster);
  EXPECT_EQ(config.team, 1);
}

TEST(ChooseSample, BlocksFitIntoSharedMemory) {
  const SampleConfig config = choose_sample(kH100, DType::kBF16, 1, 128256);
  constexpr int64_t kReserved = 1024;  // of each block by the system
  EXPECT_LE(config.blocks * (config.shared_bytes() + kReserved), 228 << 10);
  EXPECT_LE(config.shared_bytes(), 99 << 10);  // what the smallest GPUs give a block
  EXPECT_EQ(config.shared_bytes() % 16, 0);
  for (int64_t vocab : {1, 1000, 50257, 128256, 1 << 18})
    EXPECT_EQ(config.workspace_bytes(vocab) % 16, 0) << vocab;
}

TEST(ChooseGreedy, ABlockHasSomethingToReadAndTheMachineIsFull) {
  EXPECT_EQ(choose_greedy(kH100, 1, 128256), 32);
  EXPECT_EQ(choose_greedy(kH100, 256, 128256), 3);
  EXPECT_EQ(choose_greedy(kH100, 2000, 128256), 1);
  EXPECT_EQ(choose_greedy(kH100, 1, 1000), 1);
}

}  // namespace
}  // namespace brayton::cuda
