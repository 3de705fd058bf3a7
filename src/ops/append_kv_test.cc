// append_kv normalises heads of q and k as rms_norm does, turns them as rope does and puts each
// token's k and v into its slot, and nowhere else.
#include "ops/append_kv.h"

#include "ops/attention.h"
#include "ops/rms_norm.h"
#include "ops/rope.h"
#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;
using testing::expect_close;
using testing::expect_same_bits;
using testing::normal_tensor;
using testing::Tensor;
using testing::values;

// Sequence 0 gets positions 1 and 2, sequence 1 nothing, sequence 2 position 0; row 3 is padding.
struct Step {
  std::mt19937 random{3};
  Tensor q = normal_tensor(DType::kF32, {4, 2, 6}, random);
  Tensor k = normal_tensor(DType::kF32, {4, 1, 6}, random);
  Tensor v = normal_tensor(DType::kF32, {4, 1, 6}, random);
  Tensor positions = Tensor::of_i32({5, 6, 9, 9});
  Tensor inv_freq = Tensor::of({2}, {1.0f, 0.25f});
  Tensor cache{DType::kF32, {3, 2, 1, 2, 6}};
  Tensor offsets = Tensor::of_i32({0, 2, 2, 3});
  Tensor lengths = Tensor::of_i32({3, 0, 1});
  Tensor table = Tensor::of_i32({3, 2}, {2, 0, -1, -1, 1, -1});

  AppendKvArgs args() const {
    return {.q = q,
            .k = k,
            .v = v,
            .positions = positions,
            .inv_freq = inv_freq,
            .cache = cache,
            .query_offsets = offsets,
            .kv_lengths = lengths,
            .block_table = table};
  }
  std::vector<float> slot(int64_t block, int64_t half, int64_t at) const {
    const float* row = cache.view().as<float>() + ((block * 2 + half) * 2 + at) * 6;
    return {row, row + 6};
  }
  static std::vector<float> row(const Tensor& x, int64_t t) {
    return values(x.view().slice(0, t, t + 1));
  }
};

Tensor turned(const Step& step, const Tensor& x, bool interleaved, float scale) {
  const Tensor y(DType::kF32, x.view().shape);
  reference(RopeArgs{.x = x,
                     .positions = step.positions,
                     .inv_freq = step.inv_freq,
                     .y = y,
                     .interleaved = interleaved,
                     .scale = scale});
  return Tensor::of(y.view().shape, values(y));
}

TEST(AppendKv, TurnsAndPutsIntoSlots) {
  for (const bool interleaved : {false, true}) {
    const Step step;
    const Tensor q = turned(step, step.q, interleaved, 1.5f);
    const Tensor k = turned(step, step.k, interleaved, 1.5f);
    const std::vector<float> padding = Step::row(step.q, 3);
    AppendKvArgs args = step.args();
    args.interleaved = interleaved;
    args.scale = 1.5f;
    reference(args);
    expect_same_bits(step.q.view().slice(0, 0, 3), q.view().slice(0, 0, 3));
    EXPECT_EQ(Step::row(step.q, 3), padding);
    // Position 1 of sequence 0 is slot 1 of block 2, position 2 slot 0 of block 0.
    EXPECT_EQ(step.slot(2, 0, 1), Step::row(k, 0));
    EXPECT_EQ(step.slot(2, 1, 1), Step::row(step.v, 0));
    EXPECT_EQ(step.slot(0, 0, 0), Step::row(k, 1));
    EXPECT_EQ(step.slot(0, 1, 0), Step::row(step.v, 1));
    EXPECT_EQ(step.slot(1, 0, 0), Step::row(k, 2));
    EXPECT_EQ(step.slot(1, 1, 0), Step::row(step.v, 2));
    int written = 0;
    for (const float value : values(step.cache)) written += std::isnan(value) ? 0 : 1;
    EXPECT_EQ(written, 6 * 6);
  }
}

TEST(AppendKv, WithoutFrequenciesNothingTurns) {
  const Step step;
  const std::vector<float> q = values(step.q);
  AppendKvArgs args = step.args();
  args.inv_freq = args.positions = {};
  reference(args);
  EXPECT_EQ(values(step.q), q);
  EXPECT_EQ(step.slot(0, 0, 0), Step::row(step.k, 1));
  EXPECT_EQ(step.slot(0, 1, 0), Step::row(step.v, 1));
}

// The heads of x, normalised; float32.
Tensor normalised(const TensorView& x, const Tensor& weights, float eps) {
  Tensor y = Tensor::of(x.shape, values(x));
  const TensorView heads(y.view().data, DType::kF32, {x.dim(0) * x.dim(1), x.dim(2)});
  reference(
      RmsNormArgs{.x = heads, .residual = {}, .w = weights, .sum = {}, .y = heads, .eps = eps});
  return y;
}

TEST(AppendKv, NormalisesHeadsBeforeTheyTurn) {
  const Tensor q_norm = Tensor::of({6}, {1, -2, 0.5f, 3, 1.5f, 0.25f});
  const Tensor k_norm = Tensor::of({6}, {2, 1, -0.5f, 0.75f, 1, 4});
  for (const bool with_q : {false, true})
    for (const bool with_k : {false, true})
      for (const bool rotary : {false, true}) {
        SCOPED_TRACE(format("q {} k {} rotary {}", with_q, with_k, rotary));
        const Step step;
        const std::vector<float> padding = Step::row(step.q, 3), v = Step::row(step.v, 1);
        Tensor q = Tensor::of(step.q.view().shape, values(step.q));
        Tensor k = Tensor::of(step.k.view().shape, values(step.k));
        if (with_q) q = normalised(q, q_norm, 0.25f);
        if (with_k) k = normalised(k, k_norm, 0.25f);
        if (rotary) q = turned(step, q, false, 1.5f);
        if (rotary) k = turned(step, k, false, 1.5f);
        AppendKvArgs args = step.args();
        if (with_q) args.q_norm = q_norm;
        if (with_k) args.k_norm = k_norm;
        if (!rotary) args.inv_freq = args.positions = {};
        args.scale = 1.5f;
        args.norm_eps = 0.25f;
        reference(args);
        expect_same_bits(step.q.view().slice(0, 0, 3), q.view().slice(0, 0, 3));
        EXPECT_EQ(Step::row(step.q, 3), padding);
        EXPECT_EQ(step.slot(2, 0, 1), Step::row(k, 0));
        EXPECT_EQ(step.slot(0, 0, 0), Step::row(k, 1));
        EXPECT_EQ(step.slot(0, 1, 0), v);
      }
}

TEST(AppendKv, NormIsNotRoundedBeforeTheRotation) {
  const Step step;
  std::mt19937 random(4);
  const Tensor q = normal_tensor(DType::kBF16, {4, 2, 6}, random);
  const Tensor k(DType::kBF16, {4, 1, 6}), v(DType::kBF16, {4, 1, 6});
  const Tensor q_norm = normal_tensor(DType::kF32, {6}, random);
  const Tensor expected = turned(step, normalised(q, q_norm, 1e-5f), false, 1.0f);
  AppendKvArgs args = step.args();
  args.q = q;
  args.k = k;
  args.v = v;
  args.q_norm = q_norm;
  reference(args);
  for (int64_t t = 0; t < 3; ++t)
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t i = 0; i < 6; ++i)
        EXPECT_EQ(load_float(q.view(), t, h, i),
                  bf16_to_f32(f32_to_bf16(load_float(expected.view(), t, h, i))));
}

TEST(AppendKv, HalfCacheRounds) {
  const Step step;
  const Tensor cache(DType::kBF16, {3, 2, 1, 2, 6});
  AppendKvArgs args = step.args();
  args.cache = cache;
  reference(args);
  const float v = load_float(step.v.view(), 2, 0, 5);
  EXPECT_EQ(load_float(DType::kBF16, cache.view().data, (1 * 2 + 1) * 2 * 6 + 5),
            bf16_to_f32(f32_to_bf16(v)));
}

TEST(AppendKv, AttentionFindsWhatItAppended) {
  // rope and attention with k and v give what append_kv and attention without them give.
  Step step;
  step.lengths = Tensor::of_i32({2, 0, 1});  // no keys but this step's
  const Tensor q = turned(step, step.q, false, 1.0f);
  const Tensor k = turned(step, step.k, false, 1.0f);
  const Tensor expected(DType::kF32, {4, 2, 6});
  const Tensor y(DType::kF32, {4, 2, 6});
  const Tensor other_cache(DType::kF32, {3, 2, 1, 2, 6});
  AttentionArgs args{.q = q,
                     .k = k,
                     .v = step.v,
                     .cache = other_cache,
                     .query_offsets = step.offsets,
                     .kv_lengths = step.lengths,
                     .block_table = step.table,
                     .slopes = {},
                     .y = expected};
  reference(args);
  reference(step.args());
  args.q = step.q;
  args.k = args.v = {};
  args.cache = step.cache;
  args.y = y;
  reference(args);
  expect_same_bits(y, expected);
}

TEST(AppendKv, StridedRowsOfAPackedProjection) {
  const Step step;
  const Tensor packed(DType::kF32, {4, 4, 6});
  AppendKvArgs args = step.args();
  args.q = packed.view().slice(1, 0, 2);
  args.k = packed.view().slice(1, 2, 3);
  args.v = packed.view().slice(1, 3, 4);
  for (int64_t t = 0; t < 4; ++t)
    for (int64_t i = 0; i < 6; ++i) {
      for (int64_t h = 0; h < 2; ++h)
        store_float(args.q, t, h, i, load_float(step.q.view(), t, h, i));
      store_float(args.k, t, 0, i, load_float(step.k.view(), t, 0, i));
      store_float(args.v, t, 0, i, load_float(step.v.view(), t, 0, i));
    }
  const Step other;
  reference(other.args());
  reference(args);
  expect_same_bits(step.cache, other.cache);
  expect_same_bits(args.q, other.q);
}

TEST(AppendKv, SaysWhatDoesNotFit) {
  const Step step;
  AppendKvArgs args = step.args();
  const Tensor four = Tensor::of({4}, {1, 1, 1, 1});
  args.inv_freq = four;
  EXPECT_EQ(error_of([&] { check(args); }), "[append_kv] 2 P must be at most head_dim 6, got 8");
  args = step.args();
  args.positions = {};
  EXPECT_EQ(error_of([&] { check(args); }),
            "[append_kv] positions must be given with inv_freq, got inv_freq alone");
  args = step.args();
  args.q_norm = four;
  EXPECT_EQ(error_of([&] { check(args); }), "[append_kv] q_norm.head_dim must be 6, got 4");
  args = step.args();
  const Tensor half(DType::kBF16, {6});
  args.k_norm = half;
  EXPECT_EQ(error_of([&] { check(args); }), "[append_kv] k_norm must be f32, got bf16");
  args = step.args();
  const Tensor cache(DType::kF32, {3, 2, 2, 2, 6});
  args.cache = cache;
  EXPECT_EQ(error_of([&] { check(args); }), "[append_kv] cache.kv_heads must be 1, got 2");
  args = step.args();
  const Tensor beyond = Tensor::of_i32({3, 2}, {2, 3, -1, -1, 1, -1});
  args.block_table = beyond;
  EXPECT_EQ(error_of([&] { reference(args); }),
            "[attention] block_table[0, 1] must be in [0, 3), got 3");
}

}  // namespace
}  // namespace brayton
