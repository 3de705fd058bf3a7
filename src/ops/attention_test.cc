// Attention equals its formula worked by hand: the cache is appended to, blocks are looked up,
// masks and score rules apply, and heads share keys by groups.
#include "ops/attention.h"

#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;
using testing::expect_close;
using testing::Tensor;
using testing::values;

// One sequence of tokens with head_dim 1: scores are q * k, so that softmax can be done by hand.
struct OneSequence {
  Tensor q, k, v, y;
  Tensor cache{DType::kF32, {3, 2, 1, 2, 1}};
  Tensor offsets, lengths;
  Tensor table = Tensor::of_i32({1, 3}, {2, 0, 1});

  OneSequence(const std::vector<float>& queries, const std::vector<float>& keys,
              const std::vector<float>& mixed, int32_t cached = 0)
      : q(Tensor::of({count(queries), 1, 1}, queries)),
        k(Tensor::of({count(keys), 1, 1}, keys)),
        v(Tensor::of({count(mixed), 1, 1}, mixed)),
        y(DType::kF32, {count(queries), 1, 1}),
        offsets(Tensor::of_i32({0, static_cast<int32_t>(queries.size())})),
        lengths(Tensor::of_i32({cached + static_cast<int32_t>(queries.size())})) {}

  static int64_t count(const std::vector<float>& list) { return static_cast<int64_t>(list.size()); }
  AttentionArgs args() const {
    return {.q = q,
            .k = k,
            .v = v,
            .cache = cache,
            .query_offsets = offsets,
            .kv_lengths = lengths,
            .block_table = table,
            .slopes = {},
            .y = y};
  }
};

float mean(const std::vector<std::pair<double, double>>& scores_and_values) {
  double total = 0.0;
  double sum = 0.0;
  for (const auto& [score, value] : scores_and_values) {
    total += std::exp(score);
    sum += std::exp(score) * value;
  }
  return static_cast<float>(sum / total);
}

TEST(Attention, CausalPromptOverBlocks) {
  const OneSequence one({1, 2, -1}, {0.5f, 1, 2}, {10, 20, 30});
  AttentionArgs args = one.args();
  args.scale = 0.5f;
  reference(args);
  expect_close(values(one.y),
               {10, mean({{0.5, 10}, {1, 20}}), mean({{-.25, 10}, {-.5, 20}, {-1, 30}})},
               {0, 1e-6});
  // Positions 0 and 1 lie in block 2, position 2 in block 0; block 1 is untouched.
  const std::vector<float> cache = values(one.cache);
  EXPECT_EQ(cache[8], 0.5f);
  EXPECT_EQ(cache[9], 1.0f);
  EXPECT_EQ(cache[11], 20.0f);
  EXPECT_EQ(cache[0], 2.0f);
  EXPECT_EQ(cache[2], 30.0f);
  EXPECT_TRUE(std::isnan(cache[1]) && std::isnan(cache[4]) && std::isnan(cache[7]));
}

TEST(Attention, DecodeContinuesFromTheCache) {
  const OneSequence whole({1, 2, -1}, {0.5f, 1, 2}, {10, 20, 30});
  reference(whole.args());
  OneSequence last({-1}, {2}, {30}, 2);
  last.cache.copy_from(whole.cache);
  reference(last.args());
  EXPECT_EQ(values(last.y)[0], values(whole.y)[2]);
}

TEST(Attention, KeysAndValuesMayLieInTheCacheAlready) {
  const OneSequence whole({1, 2, -1}, {0.5f, 1, 2}, {10, 20, 30});
  reference(whole.args());
  const OneSequence again({1, 2, -1}, {0.5f, 1, 2}, {10, 20, 30});
  AttentionArgs args = again.args();
  args.k = args.v = {};
  args.cache = whole.cache;
  const std::vector<float> cache = values(whole.cache);
  reference(args);
  EXPECT_EQ(values(again.y), values(whole.y));
  testing::expect_same_bits(whole.cache, Tensor::of({3, 2, 1, 2, 1}, cache));
}

TEST(Attention, Window) {
  const OneSequence one({1, 1, 1}, {0.5f, 1, 2}, {10, 20, 30});
  AttentionArgs args = one.args();
  args.window = 2;
  reference(args);
  expect_close(values(one.y), {10, mean({{0.5, 10}, {1, 20}}), mean({{1, 20}, {2, 30}})},
               {0, 1e-6});
}

TEST(Attention, SlopesAndSoftcap) {
  const OneSequence one({1, 1}, {3, 1}, {10, 20});
  const Tensor slopes = Tensor::of({1}, {0.5f});
  AttentionArgs args = one.args();
  args.slopes = slopes;
  reference(args);
  expect_close(values(one.y), {10, mean({{2.5, 10}, {1, 20}})}, {0, 1e-6});
  args.softcap = 2.0f;
  reference(args);
  expect_close(values(one.y), {10, mean({{2 * std::tanh(1.25), 10}, {2 * std::tanh(0.5), 20}})},
               {0, 1e-6});
}

TEST(Attention, GroupsShareKeysAndSequencesDoNot) {
  // Two sequences of one token each with one cached key; 4 heads over 2 kv heads of 2 dimensions.
  const Tensor q = Tensor::of({2, 4, 2}, {1, 0, 0, 1, 1, 0, 0, 1, 2, 0, 0, 2, 2, 0, 0, 2});
  const Tensor k = Tensor::of({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  const Tensor v = Tensor::of({2, 2, 2}, {10, 11, 12, 13, 14, 15, 16, 17});
  const Tensor y(DType::kF32, {2, 4, 2});
  Tensor cache(DType::kF32, {2, 2, 2, 4, 2});
  const Tensor offsets = Tensor::of_i32({0, 1, 2});
  const Tensor lengths = Tensor::of_i32({2, 2});
  const Tensor table = Tensor::of_i32({2, 1}, {1, 0});
  auto set = [&](int block, int half, int head, float a, float b) {
    float* row = cache.view().as<float>() + (((block * 2 + half) * 2 + head) * 4) * 2;
    row[0] = a;
    row[1] = b;
  };
  for (int block = 0; block < 2; ++block)
    for (int head = 0; head < 2; ++head) {
      set(block, 0, head, 0, 0);
      set(block, 1, head, static_cast<float>(100 * block), static_cast<float>(head));
    }
  reference(AttentionArgs{.q = q,
                          .k = k,
                          .v = v,
                          .cache = cache,
                          .query_offsets = offsets,
                          .kv_lengths = lengths,
                          .block_table = table,
                          .slopes = {},
                          .y = y});
  // Token 0 is sequence 0 in block 1, token 1 is sequence 1 in block 0.
  EXPECT_NEAR(load_float(y.view(), 0, 0, 0), mean({{0, 100}, {1, 10}}), 1e-4);
  EXPECT_NEAR(load_float(y.view(), 0, 1, 0), mean({{0, 100}, {2, 10}}), 1e-4);
  EXPECT_NEAR(load_float(y.view(), 0, 2, 1), mean({{0, 1}, {3, 13}}), 1e-4);
  EXPECT_NEAR(load_float(y.view(), 0, 3, 1), mean({{0, 1}, {4, 13}}), 1e-4);
  EXPECT_NEAR(load_float(y.view(), 1, 0, 0), mean({{0, 0}, {10, 14}}), 1e-4);
  EXPECT_NEAR(load_float(y.view(), 1, 3, 1), mean({{0, 1}, {16, 17}}), 1e-4);
}

TEST(Attention, HalfCacheRoundsKeysAndValues) {
  const OneSequence one({1}, {1.0f / 3}, {1.0f / 3});
  const Tensor cache(DType::kBF16, {3, 2, 1, 2, 1});
  AttentionArgs args = one.args();
  args.cache = cache;
  reference(args);
  EXPECT_EQ(values(one.y)[0], bf16_to_f32(f32_to_bf16(1.0f / 3)));
}

TEST(Attention, SaysWhatDoesNotFit) {
  const OneSequence one({1}, {1}, {1});
  AttentionArgs args = one.args();
  const Tensor offsets = Tensor::of_i32({0, 1, 1});
  args.query_offsets = offsets;
  EXPECT_EQ(error_of([&] { check(args); }), "[attention] query_offsets.S+1 must be 2, got 3");
  args = one.args();
  args.k = {};
  EXPECT_EQ(error_of([&] { check(args); }), "[attention] k must be given with v, got v alone");
  args = one.args();
  args.v = {};
  EXPECT_EQ(error_of([&] { check(args); }), "[attention] v must be given with k, got k alone");
  args = one.args();
  const Tensor q(DType::kF32, {1, 3, 1});
  const Tensor k(DType::kF32, {1, 2, 1});
  const Tensor cache(DType::kF32, {1, 2, 2, 4, 1});
  args.q = args.y = q;
  args.k = args.v = k;
  EXPECT_EQ(error_of([&] { check(args); }), "[attention] cache.kv_heads must be 2, got 1");
  args.cache = cache;
  EXPECT_EQ(error_of([&] { check(args); }),
            "[attention] heads must be a multiple of kv_heads 2, got 3");
}

TEST(Attention, RefusesContentsOutOfRange) {
  const OneSequence one({1, 2, -1}, {0.5f, 1, 2}, {10, 20, 30});
  AttentionArgs args = one.args();
  const Tensor beyond = Tensor::of_i32({1, 3}, {2, 3, 1});
  args.block_table = beyond;
  EXPECT_EQ(error_of([&] { reference(args); }),
            "[attention] block_table[0, 1] must be in [0, 3), got 3");
  args = one.args();
  const Tensor too_short = Tensor::of_i32({2});
  args.kv_lengths = too_short;
  EXPECT_EQ(error_of([&] { reference(args); }),
            "[attention] kv_lengths[0] must be in [3 new tokens, 6 slots of the table], got 2");
  args = one.args();
  const Tensor offsets = Tensor::of_i32({0, 4});
  args.query_offsets = offsets;
  EXPECT_EQ(error_of([&] { reference(args); }),
            "[attention] query_offsets must go from 0 to at most T 3, got 0 to 4");
}

}  // namespace
}  // namespace brayton
