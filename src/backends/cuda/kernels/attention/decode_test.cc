// How attention_decode is configured: tensor cores where sizes allow, rings that fit into shared
// memory, and no more blocks than there can be work for.
#include "backends/cuda/kernels/attention/decode.h"

#include "testing/op_test.h"

namespace brayton::cuda {
namespace {

constexpr int64_t kSequences = 512;

DeviceInfo h100() { return {}; }
DeviceInfo rtx3090() {
  DeviceInfo device;
  device.arch = "sm_86";
  device.capability = 86;
  device.hopper = false;
  device.multiprocessors = 82;
  device.shared_per_block = 99 * 1024;
  return device;
}

// Shapes only: nothing reads the memory.
AttentionArgs shapes(DType dtype, int64_t heads, int64_t kv_heads, int64_t head_dim,
                     int64_t block_size = 64, int64_t decodes = 64, int64_t columns = 64) {
  void* const memory = reinterpret_cast<void*>(uintptr_t{4096});
  AttentionArgs args;
  args.q = args.y = TensorView(memory, dtype, {decodes, heads, head_dim});
  args.cache = TensorView(memory, dtype, {1000, 2, kv_heads, block_size, head_dim});
  args.block_table = TensorView(memory, DType::kI32, {decodes, columns});
  args.decodes = decodes;
  return args;
}

TEST(DecodeConfig, TwoBlocksOfFourWarpsForLlama) {
  const AttentionArgs args = shapes(DType::kBF16, 32, 8, 128);
  const DecodeConfig config = choose_decode(h100(), args);
  EXPECT_TRUE(config.tensor_cores);
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.tile, 16);
  EXPECT_EQ(config.warps, 4);
  EXPECT_EQ(config.blocks, 2);
  EXPECT_EQ(config.stages, 2);
  EXPECT_EQ(config.grid(h100(), args), 264);
}

TEST(DecodeConfig, RingsFitEverywhere) {
  for (const DeviceInfo& device : {h100(), rtx3090()})
    for (const int64_t head_dim : {32, 48, 64, 80, 96, 112, 128, 192, 256})
      for (const int64_t group : {1, 2, 4, 7, 8, 16, 17, 71}) {
        const DecodeConfig config =
            choose_decode(device, shapes(DType::kF16, 2 * group, 2, head_dim));
        SCOPED_TRACE(format("{}: head_dim {}, group {}: {} heads, {} warps, {} stages, {} blocks",
                            device.arch, head_dim, group, config.heads, config.warps, config.stages,
                            config.blocks));
        EXPECT_TRUE(config.tensor_cores);
        EXPECT_LE(config.heads, head_dim <= 128 ? 16 : 8);
        EXPECT_GE(config.heads * config.passes(group), group);
        EXPECT_LT(config.heads * (config.passes(group) - 1), group);
        EXPECT_GE(config.stages, 2);
        EXPECT_EQ(64 % config.tile, 0);
        EXPECT_LE(config.blocks * (config.shared_bytes(head_dim, kSequences) + 1024),
                  device.shared_per_block + 1024);
      }
}

TEST(DecodeConfig, OtherSizesAndTypesAreSimple) {
  EXPECT_FALSE(choose_decode(h100(), shapes(DType::kF32, 32, 8, 128)).tensor_cores);
  EXPECT_FALSE(choose_decode(h100(), shapes(DType::kBF16, 32, 8, 72)).tensor_cores);
  EXPECT_FALSE(choose_decode(h100(), shapes(DType::kBF16, 32, 8, 512)).tensor_cores);
  AttentionArgs args = shapes(DType::kBF16, 32, 8, 128);
  args.cache.dtype = DType::kF16;
  EXPECT_FALSE(choose_decode(h100(), args).tensor_cores);
  args = shapes(DType::kBF16, 32, 8, 128);
  args.q.strides[0] += 4;
  EXPECT_FALSE(choose_decode(h100(), args).tensor_cores);
}

TEST(DecodeConfig, TilesOf32KeysForSmallHeadsWhereTheyLieInOneBlock) {
  EXPECT_EQ(choose_decode(h100(), shapes(DType::kBF16, 8, 8, 64)).tile, 32);
  EXPECT_EQ(choose_decode(h100(), shapes(DType::kBF16, 8, 8, 64, 16)).tile, 16);
  EXPECT_EQ(choose_decode(h100(), shapes(DType::kBF16, 8, 8, 64, 7)).tile, 16);
}

TEST(DecodeConfig, NoMoreBlocksThanChunks) {
  // 2 columns of 64 keys are 2 chunks of 4 * 16, for each of 8 kv heads.
  const AttentionArgs args = shapes(DType::kBF16, 32, 8, 128, 64, 1, 2);
  EXPECT_EQ(choose_decode(h100(), args).grid(h100(), args), 16);
}

TEST(DecodeConfig, FewSequencesLeaveRoomForTheNextKernel) {
  const AttentionArgs args = shapes(DType::kBF16, 32, 8, 128, 64, 1, 128);
  const DecodeConfig config = choose_decode(h100(), args);
  EXPECT_EQ(config.blocks, 2);
  EXPECT_EQ(config.grid(h100(), args), 132);
}

}  // namespace
}  // namespace brayton::cuda
