// The prefill kernels' configurations fit their GPUs, fill their tiles with the heads of a group,
// and cover every token whatever the lengths on the device are.
#include "backends/cuda/kernels/attention/prefill.h"

#include <gtest/gtest.h>

#include <vector>

#include "backends/cuda/kernels/attention/prefill_hopper.h"

namespace brayton::cuda {
namespace {

// Shapes only; the data pointers are aligned and never read.
AttentionArgs shapes(int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t block_size = 64,
                     DType dtype = DType::kBF16) {
  void* data = reinterpret_cast<void*>(uintptr_t{4096});
  AttentionArgs args;
  args.q = args.y = TensorView(data, dtype, Shape{100, heads, head_dim});
  args.cache = TensorView(data, dtype, Shape{9, 2, kv_heads, block_size, head_dim});
  return args;
}

DeviceInfo hopper() {
  DeviceInfo device;
  device.arch = "sm_90a";
  device.hopper = true;
  return device;
}

DeviceInfo ada() {
  DeviceInfo device;
  device.arch = "sm_89";
  device.capability = 89;
  device.shared_per_block = 99 * 1024;
  return device;
}

TEST(ChoosePrefill, FitsSharedMemory) {
  for (const DeviceInfo& device : {hopper(), ada()})
    for (const int64_t head_dim : {8, 32, 64, 72, 80, 96, 128, 192, 256}) {
      const PrefillConfig config = choose_prefill(device, shapes(32, 8, head_dim));
      EXPECT_TRUE(config.tensor_cores) << head_dim;
      EXPECT_LE(config.shared_bytes(head_dim), device.shared_per_block) << head_dim;
      EXPECT_EQ(config.pack, 4);
      EXPECT_GE(config.keys, 32) << head_dim;
    }
}

TEST(ChoosePrefill, LeavesTheRestToTheSimpleKernel) {
  EXPECT_FALSE(choose_prefill(hopper(), shapes(8, 8, 64, 64, DType::kF32)).tensor_cores);
  EXPECT_FALSE(choose_prefill(hopper(), shapes(8, 8, 20)).tensor_cores);
  EXPECT_FALSE(choose_prefill(hopper(), shapes(8, 8, 264)).tensor_cores);
  AttentionArgs args = shapes(8, 8, 64);
  args.q.strides[0] += 1;
  EXPECT_FALSE(choose_prefill(hopper(), args).tensor_cores);
  args = shapes(8, 8, 64);
  args.scale = -1.0f;
  EXPECT_FALSE(choose_prefill(hopper(), args).tensor_cores);
}

TEST(ChoosePrefill, RulesThatNeedRegistersGetShorterSteps) {
  AttentionArgs args = shapes(32, 8, 128);
  EXPECT_EQ(choose_prefill(hopper(), args).keys, 64);
  args.softcap = 30.0f;
  EXPECT_EQ(choose_prefill(hopper(), args).keys, 32);
}

TEST(PackedHeads, DivideTheGroupAndFillTheTile) {
  EXPECT_EQ(packed_heads(1, 128), 1);
  EXPECT_EQ(packed_heads(3, 128), 3);
  EXPECT_EQ(packed_heads(4, 128), 4);
  EXPECT_EQ(packed_heads(7, 192), 7);
  EXPECT_EQ(packed_heads(48, 128), 24);  // 48 would leave a quarter of the rows idle
  EXPECT_EQ(packed_heads(71, 128), 1);
  EXPECT_EQ(packed_heads(256, 128), 128);
}

TEST(MostTiles, IsEnoughForAnyLengths) {
  const std::vector<std::vector<int64_t>> batches = {
      {1}, {128}, {129}, {1, 1, 1}, {33, 1, 64, 2}, {32, 32, 33}, {0, 500, 0}};
  for (const auto& lengths : batches)
    for (const int64_t tokens : {1, 18, 32, 128}) {
      PrefillRange range{.sequences = static_cast<int64_t>(lengths.size())};
      int64_t tiles = 0;
      for (const int64_t length : lengths) {
        range.rows += length;
        tiles += (length + tokens - 1) / tokens;
      }
      EXPECT_GE(most_tiles(range, tokens), tiles) << range.rows << " rows, " << tokens;
    }
  EXPECT_EQ(most_tiles({.sequences = 1, .rows = 2048}, 32), 64);
}

TEST(PrefillHopper, SupportsAndFits) {
  for (const int64_t head_dim : {64, 128, 256})
    for (const int64_t block_size : {16, 32, 64, 128, 256}) {
      const AttentionArgs args = shapes(32, 8, head_dim, block_size);
      ASSERT_TRUE(prefill_hopper_supports(hopper(), args)) << head_dim << " " << block_size;
      const PrefillHopperConfig config = choose_prefill_hopper(args);
      EXPECT_LE(config.shared_bytes(head_dim), hopper().shared_per_block);
      EXPECT_EQ(config.keys % config.box_keys(block_size), 0);
      EXPECT_EQ(block_size % config.box_keys(block_size), 0);
    }
}

TEST(PrefillHopper, LeavesTheRest) {
  EXPECT_FALSE(prefill_hopper_supports(ada(), shapes(32, 8, 128)));
  for (const int64_t head_dim : {32, 80, 96, 192})
    EXPECT_FALSE(prefill_hopper_supports(hopper(), shapes(32, 8, head_dim))) << head_dim;
  EXPECT_FALSE(prefill_hopper_supports(hopper(), shapes(32, 8, 128, 8)));
  EXPECT_FALSE(prefill_hopper_supports(hopper(), shapes(32, 8, 128, 48)));
  EXPECT_FALSE(prefill_hopper_supports(hopper(), shapes(32, 8, 128, 64, DType::kF32)));
}

}  // namespace
}  // namespace brayton::cuda
