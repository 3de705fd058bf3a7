// The skinny kernels' division of work: every unit is done once, no two sums of a tile lie in one
// place, and choose_skinny's launches fit the device.
#include "backends/cuda/kernels/gemm/skinny.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "backends/cuda/kernels/gemm/skinny_split.cuh"
#include "core/format.h"

namespace brayton::cuda {
namespace {

DeviceInfo h100() { return {.hopper = true}; }
DeviceInfo ada() {
  return {.capability = 89, .hopper = false, .multiprocessors = 142, .shared_per_block = 99 * 1024};
}

void expect_sound(const SkinnySplit& split) {
  SCOPED_TRACE(format("{} tiles of {} chunks, {} blocks", split.tiles, split.chunks, split.blocks));
  const int units = split.tiles * split.chunks;
  ASSERT_EQ(split.begin(0), 0);
  ASSERT_EQ(split.begin(split.blocks), units);
  for (int block = 0; block < split.blocks; ++block) {
    const int begin = split.begin(block), end = split.begin(block + 1);
    ASSERT_LT(begin, end) << "a block without work";
    ASSERT_LE(end - begin, units / split.blocks + 1);
    for (const int unit : {begin, end - 1}) ASSERT_EQ(split.block_of(unit), block) << unit;
  }
  std::set<int> places;
  for (int tile = 0; tile < split.tiles; ++tile) {
    const int first = split.first_block(tile), last = split.last_block(tile);
    ASSERT_LE(first, last);
    if (first == last) continue;
    for (int block = first; block <= last; ++block) {
      const int place = split.place(block, tile);
      ASSERT_GE(place, 2 * block);
      ASSERT_LE(place, 2 * block + 1);
      ASSERT_TRUE(places.insert(place).second) << "two sums of block " << block << " in one place";
    }
  }
}

TEST(SkinnySplit, EveryUnitHasOneBlockAndEverySumAPlace) {
  expect_sound({1, 1, 1});
  expect_sound({1, 64, 13});
  expect_sound({48, 64, 132});
  expect_sound({1002, 64, 132});
  std::mt19937 random(std::random_device{}());
  for (int i = 0; i < 300; ++i) {
    const int tiles = 1 + static_cast<int>(random() % 300);
    const int chunks = 1 + static_cast<int>(random() % 300);
    const int most = std::min(tiles * chunks, 200);
    expect_sound({tiles, chunks, 1 + static_cast<int>(random() % static_cast<unsigned>(most))});
  }
}

TEST(ChooseSkinny, TwoKernelsShareAMultiprocessorOfHopper) {
  for (const int64_t rows : {1, 8, 9, 16, 17, 32, 33, 64, 65, 128}) {
    const auto config = choose_skinny({rows, 6144, 4096, false}, h100());
    ASSERT_TRUE(config) << rows;
    EXPECT_TRUE(config->hopper);
    EXPECT_GE(config->tokens, rows);
    EXPECT_LT(config->tokens, std::max<int64_t>(9, 2 * rows));
    EXPECT_LE(2 * (config->shared_bytes + 1024), 228 * 1024) << rows;
    EXPECT_GE(config->stages, 4) << rows;  // 64 KiB of weights
    EXPECT_GE(config->stages, config->x_stages);
  }
}

TEST(ChooseSkinny, WholeTilesWhereTheyFillTheDevice) {
  const auto blocks = [](int64_t outputs, int64_t columns, bool gated) {
    return choose_skinny({16, outputs, columns, gated}, h100())->blocks;
  };
  EXPECT_EQ(blocks(4096, 4096, false), 128);  // 32 tiles in 4 parts
  EXPECT_EQ(blocks(8192, 14336, false), 128);
  EXPECT_EQ(blocks(6144, 4096, false), 132);  // 48 tiles do not divide
  EXPECT_EQ(blocks(14336, 4096, true), 132);
  EXPECT_EQ(blocks(1, 72, false), 1);
  EXPECT_EQ(blocks(576, 576, false), 10);  // 5 tiles of 9 chunks
}

TEST(ChooseSkinny, TwoBlocksShareManyTokens) {
  EXPECT_EQ(choose_skinny({64, 4096, 4096, false}, h100())->cluster, 1);
  EXPECT_EQ(choose_skinny({65, 4096, 4096, false}, h100())->cluster, 2);
  EXPECT_EQ(choose_skinny({128, 128, 4096, false}, h100())->cluster, 1) << "there is but one tile";
  EXPECT_EQ(choose_skinny({128, 4096, 4096, false}, ada())->cluster, 1);
  for (const int64_t outputs : {129, 257, 4096, 6144, 128256}) {
    const auto config = choose_skinny({128, outputs, 4096, false}, h100());
    EXPECT_EQ(config->cluster, 2);
    EXPECT_EQ(config->blocks % 2, 0);
    EXPECT_LE(config->blocks, 132);
    EXPECT_EQ(config->tiles, (outputs + 255) / 256 * 2);
  }
}

TEST(ChooseSkinny, GatedBoxesHaveWholeGroupsOfEight) {
  EXPECT_TRUE(choose_skinny({16, 72, 64, true}, h100())->hopper);
  EXPECT_FALSE(choose_skinny({16, 76, 64, true}, h100())->hopper);
  EXPECT_TRUE(choose_skinny({16, 77, 64, false}, h100())->hopper);
}

TEST(ChooseSkinny, FitsSmallerSharedMemory) {
  for (const int64_t rows : {8, 16, 32, 64, 128}) {
    const auto config = choose_skinny({rows, 4096, 4096, false}, ada());
    ASSERT_TRUE(config) << rows;
    EXPECT_FALSE(config->hopper);
    EXPECT_LE(config->shared_bytes, 99 * 1024);
    EXPECT_GE(config->stages, 3) << rows;
  }
}

TEST(ChooseSkinny, NothingForWhatItCannotDo) {
  EXPECT_FALSE(choose_skinny({129, 64, 64, false}, h100()));
  EXPECT_FALSE(choose_skinny({16, 64, 60, false}, h100()));
}

}  // namespace
}  // namespace brayton::cuda
