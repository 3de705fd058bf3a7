// How append_kv and rope are configured: widths of accesses, units of work, and blocks that have
// something to do.
#include "backends/cuda/kernels/append_kv.h"

#include "backends/cuda/kernels/rope.h"
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

}  // namespace
}  // namespace brayton::cuda
