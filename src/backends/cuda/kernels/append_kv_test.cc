// How append_kv and rope are configured: widths of accesses, units of work, and blocks that have
// something to do.
#include "backends/cuda/kernels/append_kv.h"

#include "testing/op_test.h"

namespace brayton::cuda {
namespace {

TensorView rows(DType dtype, int64_t stride, uintptr_t address = 4096) {
  TensorView view(reinterpret_cast<void*>(address), dtype, {2, 1, 1});
  view.strides[0] = stride;
  return view;
}

TEST(RotaryAccess, IsAsWideAsEverythingAllows) {
  const TensorView packed = rows(DType::kBF16, 6144);
  EXPECT_EQ(rotary_access({packed}, 128, 64, false), 8);
  EXPECT_EQ(rotary_access({packed}, 80, 10, false), 2);  // the second half starts at 10
  EXPECT_EQ(rotary_access({packed}, 80, 20, true), 8);   // 40 elements that turn
  EXPECT_EQ(rotary_access({packed}, 128, 0, false), 8);
  EXPECT_EQ(rotary_access({packed}, 13, 5, true), 1);
  EXPECT_EQ(rotary_access({packed, rows(DType::kF32, 128)}, 128, 64, false), 4);
  EXPECT_EQ(rotary_access({rows(DType::kBF16, 132)}, 128, 64, false), 4);
  EXPECT_EQ(rotary_access({rows(DType::kBF16, 128, 4096 + 4)}, 128, 64, false), 2);
}

TEST(RotaryUnits, AreUpToTwoVectors) {
  const auto expect = [](const RotaryUnits& units, int64_t turning, int64_t passing, int64_t all) {
    EXPECT_EQ(units.turning, turning);
    EXPECT_EQ(units.passing, passing);
    EXPECT_EQ(units.all, all);
  };
  expect(rotary_units(128, 64, false, 8), 8, 0, 8);
  expect(rotary_units(128, 32, false, 8), 4, 4, 8);
  expect(rotary_units(128, 0, false, 8), 0, 8, 8);
  expect(rotary_units(80, 20, true, 8), 3, 3, 5);  // 5 vectors each
  expect(rotary_units(13, 5, true, 1), 3, 2, 7);   // 5 pairs, 3 single elements
}

TEST(RotaryConfig, CoversAllUnitsOnce) {
  const DeviceInfo h100;
  for (const int64_t tokens : {1, 7, 64, 300, 2048, 8192})
    for (const int64_t token_units : {1, 24, 80, 192, 384, 640, 1200})
      for (const int64_t pairs : {0, 32, 64}) {
        const RotaryConfig config = choose_rotary(h100, tokens, token_units, pairs);
        const int64_t slice = int64_t{RotaryConfig::kThreads} * config.units;
        SCOPED_TRACE(format("{} tokens of {} units: {} tokens a block, {} units a thread", tokens,
                            token_units, config.tokens, config.units));
        EXPECT_GE(config.grid[0] * int64_t{config.tokens}, tokens);
        EXPECT_LT((config.grid[0] - 1) * int64_t{config.tokens}, tokens);
        EXPECT_GE(config.grid[1] * slice, config.tokens * token_units);
        EXPECT_LT((config.grid[1] - 1) * slice, config.tokens * token_units);
        EXPECT_LE(config.units, 3);  // what the kernels' registers suffice for
      }
}

TEST(RotaryConfig, SpreadsFewTokensAndFillsThreadsForMany) {
  const DeviceInfo h100;
  // LLaMA 3 8B: 32 + 8 heads turn, 8 pass, 8 units each.
  const RotaryConfig one = choose_rotary(h100, 1, 384, 64);
  EXPECT_EQ(one.units, 1);
  EXPECT_EQ(one.grid[1], 3u);
  const RotaryConfig prompt = choose_rotary(h100, 2048, 384, 64);
  EXPECT_EQ(prompt.units, 3);
  EXPECT_EQ(prompt.tokens, 1);
  EXPECT_EQ(prompt.grid[1], 1u);
  // LLaMA 3 1B: two tokens fill a block.
  EXPECT_EQ(choose_rotary(h100, 2048, 192, 32).tokens, 2);
}

TEST(AppendKvConfig, WithoutNormsIsTheRotaryOne) {
  const DeviceInfo h100;
  for (const int64_t tokens : {1, 2048}) {
    const AppendKvConfig config = choose_append_kv(h100, tokens, {32, 8, 128, 64}, 8);
    const RotaryConfig expected = choose_rotary(h100, tokens, 384, 64);
    EXPECT_EQ(config.lanes, 1);
    EXPECT_EQ(config.units, expected.units);
    EXPECT_EQ(config.blocks.tokens, expected.tokens);
    EXPECT_EQ(config.blocks.grid[0], expected.grid[0]);
    EXPECT_EQ(config.blocks.grid[1], expected.grid[1]);
  }
}

TEST(AppendKvConfig, NormalisedHeadsHaveLanesOfOneWarp) {
  const DeviceInfo h100;
  struct Expected {
    AppendKvSizes sizes;
    int access, lanes;
    int64_t rounds, threads;  // of a token
  };
  const Expected all[] = {
      {{32, 8, 128, 64, false, true, true}, 8, 8, 1, 384},  // Qwen 3 8B
      {{4, 1, 256, 128, false, true, true}, 8, 16, 1, 96},  // Gemma 3 1B
      {{4, 2, 64, 0, false, true, true}, 8, 4, 1, 32},
      {{4, 2, 64, 0, false, false, true}, 8, 4, 1, 16},      // queries stay as they are
      {{4, 2, 80, 20, true, true, false}, 8, 8, 1, 64},      // 3 units turn, 3 pass
      {{4, 2, 256, 128, false, true, true}, 4, 32, 1, 256},  // float32
      {{3, 1, 80, 5, false, true, true}, 1, 32, 2, 160},     // 5 units turn, 35 pass
  };
  for (const Expected& e : all)
    for (const int64_t tokens : {1, 7, 300, 8192}) {
      SCOPED_TRACE(
          format("{} tokens, head_dim {}, {} pairs", tokens, e.sizes.head_dim, e.sizes.pairs));
      const AppendKvConfig config = choose_append_kv(h100, tokens, e.sizes, e.access);
      EXPECT_EQ(config.lanes, e.lanes);
      EXPECT_EQ(config.units, config.blocks.units * e.rounds);
      EXPECT_LE(config.units, 3);
      const int64_t slice = int64_t{RotaryConfig::kThreads} * config.blocks.units;
      EXPECT_GE(config.blocks.grid[0] * int64_t{config.blocks.tokens}, tokens);
      EXPECT_GE(config.blocks.grid[1] * slice, config.blocks.tokens * e.threads);
      EXPECT_LT((config.blocks.grid[1] - 1) * slice, config.blocks.tokens * e.threads);
    }
}

}  // namespace
}  // namespace brayton::cuda
