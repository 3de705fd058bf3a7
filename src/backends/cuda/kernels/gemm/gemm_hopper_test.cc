// The choice of GEMM tiles: fits the GPU, covers the work, and is the expected one where it
// matters.
#include "backends/cuda/kernels/gemm/gemm_hopper.h"

#include <gtest/gtest.h>

#include "backends/cuda/kernels/gemm/gemm_portable.h"
#include "core/format.h"

namespace brayton::cuda {
namespace {

DeviceInfo h100() {
  DeviceInfo device;
  device.hopper = true;
  return device;
}

// The layers of an 8B and a 70B model, the latter on two GPUs; a small one; odd sizes.
const GemmShape kLayers[] = {
    {0, 6144, 4096, false},  {0, 4096, 4096, false},   {0, 28672, 4096, true},
    {0, 4096, 14336, false}, {0, 5120, 8192, false},   {0, 28672, 8192, true},
    {0, 8192, 14336, false}, {0, 128256, 4096, false}, {0, 576, 576, false},
    {0, 3072, 576, true},    {0, 40, 72, false},       {0, 16, 8, true}};

std::string describe(const GemmShape& shape, const GemmChoice& choice) {
  return format("{} rows, n {}, k {}{}: {}x{}, cluster {}x{}, splits {}, stages {}", shape.rows,
                shape.n, shape.k, shape.gated ? ", gated" : "", choice.tile_m(), choice.tile_n,
                choice.cluster_m, choice.cluster_n, choice.splits, choice.stages);
}

TEST(GemmChoice, EveryCandidateIsPossible) {
  const DeviceInfo device = h100();
  for (GemmShape shape : kLayers)
    for (const int64_t rows : {1, 64, 65, 200, 256, 700, 2048, 4096, 100000}) {
      shape.rows = rows;
      for (const GemmChoice& choice : gemm_candidates(shape, device, 1000)) {
        SCOPED_TRACE(describe(shape, choice));
        EXPECT_LE(gemm_shared_bytes(choice), device.shared_per_block);
        EXPECT_GE(choice.stages, 3);
        const int columns = (shape.gated ? choice.tile_n / 2 : choice.tile_n) / choice.splits;
        EXPECT_EQ(columns % choice.chunk, 0);
        const int64_t clusters = gemm_clusters(shape, choice, device);
        EXPECT_GE(clusters, 1);
        EXPECT_LE(clusters * choice.blocks(), device.multiprocessors);
        if (choice.splits == 1) continue;
        // Clusters that wait for each other are certain to run at once, and have one tile each.
        EXPECT_LE(choice.blocks(), 2);
        EXPECT_LE(choice.splits, (shape.k + 63) / 64);
        EXPECT_GE(clusters * choice.blocks() * choice.tile_m() * choice.tile_n,
                  rows <= 8192 ? rows * shape.n * choice.splits : 0);
      }
    }
}

TEST(GemmChoice, ManyRowsTakeTheLargestTileInPairs) {
  for (const GemmShape& layer : {kLayers[0], kLayers[1], kLayers[2], kLayers[3]}) {
    GemmShape shape = layer;
    shape.rows = 4096;
    const GemmChoice choice = choose_gemm(shape, h100());
    SCOPED_TRACE(describe(shape, choice));
    EXPECT_EQ(choice.tile_m(), 128);
    EXPECT_EQ(choice.tile_n, 256);
    EXPECT_EQ(choice.blocks(), 2);
    EXPECT_EQ(choice.stages, 4);
  }
}

TEST(GemmChoice, FewRowsKeepTheMultiprocessorsBusyAndReadWeightsOnce) {
  for (const GemmShape& layer : {kLayers[0], kLayers[1], kLayers[2], kLayers[3], kLayers[4]})
    for (const int64_t rows : {65, 128, 192, 256}) {
      GemmShape shape = layer;
      shape.rows = rows;
      const GemmChoice choice = choose_gemm(shape, h100());
      SCOPED_TRACE(describe(shape, choice));
      EXPECT_GE(gemm_clusters(shape, choice, h100()) * choice.blocks(), 96);
      // Blocks with other rows lie in the same cluster or pass at the same time.
      const double expected = gemm_microseconds(shape, choice, h100());
      const double bytes = 2.0 * static_cast<double>(shape.n) * static_cast<double>(shape.k);
      EXPECT_GE(bytes / expected * 1e-6, 1.4) << "TB/s expected";
    }
}

TEST(GemmChoice, NumbersOfRowsShareKernels) {
  const DeviceInfo device = h100();
  const auto choose = [&](int64_t rows) { return choose_gemm({rows, 4096, 4096, false}, device); };
  EXPECT_EQ(choose(1000), choose(1024));
  EXPECT_EQ(choose(1), choose(64));
  EXPECT_EQ(choose(8193), choose(1 << 20));
  for (size_t i = 1; i < gemm_row_buckets().size(); ++i)
    EXPECT_LT(gemm_row_buckets()[i - 1], gemm_row_buckets()[i]);
}

TEST(GemmChoice, CandidatesComeBestFirst) {
  const DeviceInfo device = h100();
  for (GemmShape shape : kLayers) {
    shape.rows = 256;
    const std::vector<GemmChoice> candidates = gemm_candidates(shape, device, 8);
    ASSERT_FALSE(candidates.empty());
    EXPECT_LE(candidates.size(), 8u);
    for (size_t i = 1; i < candidates.size(); ++i)
      EXPECT_LE(gemm_microseconds(shape, candidates[i - 1], device),
                gemm_microseconds(shape, candidates[i], device));
    EXPECT_EQ(choose_gemm(shape, device), candidates.front());
  }
}

TEST(PortableGemmChoice, SmallTilesWhereLargeOnesAreFewerThanMultiprocessors) {
  DeviceInfo device;
  device.shared_per_block = 99 * 1024;
  device.multiprocessors = 84;
  EXPECT_EQ(choose_gemm_portable(2048, 4096, device).tile_m, 128);
  EXPECT_EQ(choose_gemm_portable(128, 4096, device).tile_m, 64);
  for (const int64_t rows : {1, 128, 4096})
    EXPECT_LE(choose_gemm_portable(rows, 4096, device).shared_bytes(), device.shared_per_block);
}

}  // namespace
}  // namespace brayton::cuda
