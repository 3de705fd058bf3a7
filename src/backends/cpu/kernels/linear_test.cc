// Every level's `linear` computes what the op means: exactly but for rounding with float32
// activations, and with 8-bit activations exactly what the rounded activations give. A token's
// result does not depend on the other tokens, and nothing but y is written.
#include <algorithm>
#include <cmath>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/cpu_level.h"
#include "core/half.h"
#include "ops/quant_blocks.h"
#include "testing/op_test.h"

namespace brayton::cpu {
namespace {

using testing::Tensor;

constexpr DType kBlockTypes[] = {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                 DType::kQ8_0, DType::kQ2_K, DType::kQ3_K, DType::kQ4_K,
                                 DType::kQ5_K, DType::kQ6_K};
constexpr DType kPlainTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

// Byte offsets of the float16 fields of a block.
std::vector<int> float16_fields(DType dtype) {
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

// Any bytes are a valid block but for its float16 fields, which get moderate values.
Tensor random_weight(DType dtype, int64_t n, int64_t k, std::mt19937& random) {
  if (!is_quantized(dtype)) return testing::normal_tensor(dtype, {n, k}, random);
  Tensor w(dtype, {n, k});
  auto* bytes = w.view().as<uint8_t>();
  const DTypeInfo& info = dtype_info(dtype);
  std::uniform_real_distribution<float> scale(-0.1f, 0.1f);
  for (int64_t i = 0; i < w.view().bytes(); ++i) bytes[i] = static_cast<uint8_t>(random());
  for (int64_t block = 0; block < w.view().bytes(); block += info.block_bytes)
    for (const int field : float16_fields(dtype)) {
      const uint16_t bits = f32_to_f16(scale(random));
      std::memcpy(bytes + block + field, &bits, 2);
    }
  return w;
}

// Activations as two planes of 8 bits make them: blocks of 32, d = max |x| / (127 * 2^7).
std::vector<float> rounded_row(const float* x, int64_t k) {
  std::vector<float> row(static_cast<size_t>(k));
  for (int64_t block = 0; block < k; block += 32) {
    float top = 0;
    for (int i = 0; i < 32; ++i) top = std::max(top, std::fabs(x[block + i]));
    const float d = top / 16256.0f, inverse = top > 0x1p-110f ? 16256.0f / top : 0.0f;
    for (int i = 0; i < 32; ++i) row[block + i] = d * std::nearbyint(x[block + i] * inverse);
  }
  return row;
}

struct Case {
  DType dtype;
  int64_t n, k;
  bool eight_bit;
};

struct Layer {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<PackedWeight> packed;
  Tensor w, bias;

  Layer(const std::string& level, int threads, const Case& c, std::mt19937& random) {
    backend = make_cpu_backend({.threads = threads, .level = level});
    stream = backend->make_stream();
    w = random_weight(c.dtype, c.n, c.k, random);
    bias = testing::normal_tensor(DType::kF32, {c.n}, random);
    const LinearDesc desc = {c.dtype, c.n, c.k, c.eight_bit ? DType::kBF16 : DType::kF32};
    const std::string tactic = backend->linear_tactics(desc).front();
    packed = backend->pack_linear(*stream, w, tactic);
    EXPECT_EQ(packed->tactic(), tactic);
    EXPECT_EQ(packed->bytes(), backend->packed_bytes(desc, tactic));
  }
  void run(const TensorView& x, const TensorView& y, bool with_bias = true) {
    backend->kernels().linear(*stream, {.x = x,
                                        .w = {},
                                        .bias = with_bias ? bias.view() : TensorView(),
                                        .y = y,
                                        .packed = packed.get()});
  }
};

// What y must be, in double, and how far float32 sums may be from it.
void expect_product(const Layer& layer, const Case& c, const TensorView& x, const TensorView& y,
                    bool with_bias) {
  std::vector<float> weights(static_cast<size_t>(c.k)), largest(weights.size());
  std::vector<std::vector<float>> rows;
  for (int64_t t = 0; t < x.dim(0); ++t) {
    const float* row = x.row_as<float>(t);
    rows.push_back(c.eight_bit ? rounded_row(row, c.k) : std::vector<float>(row, row + c.k));
  }
  int wrong = 0;
  for (int64_t n = 0; n < c.n; ++n) {
    to_f32(c.dtype, layer.w.view().row(n), c.k, weights.data());
    // Formats with minima sum d * q and m apart: each may be as large as the block's largest
    // weight.
    for (int64_t begin = 0; begin < c.k; begin += 32) {
      const auto end = weights.begin() + std::min(begin + 32, c.k);
      float top = 0;
      for (auto w = weights.begin() + begin; w != end; ++w) top = std::max(top, std::fabs(*w));
      std::fill(largest.begin() + begin, largest.begin() + (end - weights.begin()), top);
    }
    for (int64_t t = 0; t < x.dim(0); ++t) {
      double sum = with_bias ? layer.bias.view().as<float>()[n] : 0.0f, magnitude = 1.0;
      for (int64_t k = 0; k < c.k; ++k) {
        sum += double{weights[k]} * rows[t][k];
        magnitude += std::fabs(double{largest[k]} * rows[t][k]);
      }
      const double got = y.row_as<float>(t)[n];
      const double bound = 2e-6 * magnitude;
      if (!(std::fabs(got - sum) <= bound) && ++wrong <= 3)
        ADD_FAILURE() << "y[" << t << ", " << n << "] is " << got << ", must be " << sum << " +- "
                      << bound;
    }
  }
  EXPECT_EQ(wrong, 0);
}

void check_case(const std::string& level, const Case& c, std::mt19937& random) {
  SCOPED_TRACE(
      format("{} {} [{}, {}]{}", level, dtype_name(c.dtype), c.n, c.k, c.eight_bit ? " q8" : ""));
  Layer layer(level, 2, c, random);
  for (const int64_t tokens : {1, 2, 3, 5, 8, 33}) {
    SCOPED_TRACE(format("{} tokens", tokens));
    const bool with_bias = tokens % 2 == 1;
    const Tensor x = testing::normal_tensor(DType::kF32, {tokens, c.k}, random, 1.0f, tokens % 3);
    const Tensor y(DType::kF32, {tokens, c.n}, /*row_gap=*/tokens % 2 * 5);  // NaN
    layer.run(x, y, with_bias);
    expect_product(layer, c, x, y, with_bias);
    for (int64_t t = 0; t + 1 < tokens; ++t)  // the gap between rows is still poisoned
      for (int64_t i = c.n; i < y.view().strides[0]; ++i)
        ASSERT_TRUE(std::isnan(y.view().row_as<float>(t)[i])) << "row " << t;
    // Bit for bit the same alone.
    for (const int64_t t : {int64_t{0}, tokens / 2, tokens - 1}) {
      const Tensor alone(DType::kF32, {1, c.n});
      layer.run(x.view().slice(0, t, t + 1), alone, with_bias);
      testing::expect_same_bits(alone, y.view().slice(0, t, t + 1));
    }
  }
}

class LinearKernel : public ::testing::TestWithParam<Level> {
 protected:
  std::string level() const { return std::string(level_name(GetParam())); }
};

TEST_P(LinearKernel, EightBitActivations) {
  const uint32_t seed = testing::fresh_seed();
  SCOPED_TRACE(testing::seed_text(seed));
  std::mt19937 random(seed);
  for (const DType dtype : kBlockTypes) {
    const int64_t step = dtype_info(dtype).block_elements;
    check_case(level(), {dtype, 1, step, true}, random);
    check_case(level(), {dtype, 17, step == 32 ? 96 : 256, true}, random);
    check_case(level(), {dtype, 49, step == 32 ? 576 : 768, true}, random);
  }
}

TEST_P(LinearKernel, Float32Activations) {
  const uint32_t seed = testing::fresh_seed();
  SCOPED_TRACE(testing::seed_text(seed));
  std::mt19937 random(seed);
  for (const DType dtype : kPlainTypes) {
    check_case(level(), {dtype, 1, 1, false}, random);
    check_case(level(), {dtype, 17, 31, false}, random);
    check_case(level(), {dtype, 130, 64, false}, random);
    check_case(level(), {dtype, 49, 2050, false}, random);  // more than one run of k
  }
  for (const DType dtype : {DType::kQ4_1, DType::kQ6_K})
    check_case(level(), {dtype, 17, 256, false}, random);
}

// Largest weights times largest activations: the place where 16-bit sums would overflow.
TEST_P(LinearKernel, ExtremesDoNotOverflow) {
  std::mt19937 random(7);
  for (const DType dtype : kBlockTypes)
    for (const int fill : {0x00, 0x7f, 0x80, 0xff}) {
      const Case c = {dtype, 16, 256, true};
      SCOPED_TRACE(format("{} {}", dtype_name(dtype), fill));
      Layer layer(level(), 1, c, random);
      auto* bytes = layer.w.view().as<uint8_t>();
      std::memset(bytes, fill, static_cast<size_t>(layer.w.view().bytes()));
      for (int64_t at = 0; at < layer.w.view().bytes(); at += dtype_info(dtype).block_bytes)
        for (const int field : float16_fields(dtype)) {
          const uint16_t one = f32_to_f16(field % 4 == 0 ? 1.0f : 0.5f);
          std::memcpy(bytes + at + field, &one, 2);
        }
      layer.packed = layer.backend->pack_linear(*layer.stream, layer.w, layer.packed->tactic());
      Tensor x(DType::kF32, {2, c.k});
      for (int64_t i = 0; i < c.k; ++i) {
        x.view().row_as<float>(0)[i] = 3.0f;
        x.view().row_as<float>(1)[i] = i % 5 == 4 ? 1.0f : -1.0f;
      }
      const Tensor y(DType::kF32, {2, c.n});
      layer.run(x, y);
      expect_product(layer, c, x, y, true);
    }
}

TEST_P(LinearKernel, NonFiniteActivationsStayInTheirRow) {
  std::mt19937 random(8);
  for (const bool eight_bit : {false, true}) {
    const Case c = {eight_bit ? DType::kQ4_1 : DType::kF32, 33, 64, eight_bit};
    Layer layer(level(), 1, c, random);
    Tensor x = testing::normal_tensor(DType::kF32, {9, c.k}, random);
    x.view().row_as<float>(4)[40] = NAN;
    const Tensor y(DType::kF32, {9, c.n});
    layer.run(x, y);
    for (int64_t t = 0; t < 9; ++t)
      for (int64_t n = 0; n < c.n; ++n)
        EXPECT_EQ(std::isnan(y.view().row_as<float>(t)[n]), t == 4) << t << " " << n;
  }
}

// Zeros and subnormals: no division by zero, no NaN.
TEST_P(LinearKernel, TinyActivationsGiveTinyResults) {
  std::mt19937 random(9);
  for (const float value : {0.0f, 1e-42f, 1e-37f}) {
    const Case c = {DType::kQ8_0, 5, 64, true};
    Layer layer(level(), 1, c, random);
    Tensor x(DType::kF32, {1, c.k});
    std::fill_n(x.view().as<float>(), c.k, value);
    const Tensor y(DType::kF32, {1, c.n});
    layer.run(x, y, /*with_bias=*/false);
    for (int64_t n = 0; n < c.n; ++n) EXPECT_LT(std::fabs(y.view().as<float>()[n]), 1e-30f);
  }
}

TEST_P(LinearKernel, WithoutPackedWeightsItIsTheReference) {
  std::mt19937 random(10);
  const Case c = {DType::kQ4_K, 5, 256, true};
  Layer layer(level(), 1, c, random);
  const Tensor x = testing::normal_tensor(DType::kF32, {3, c.k}, random);
  const Tensor y(DType::kF32, {3, c.n}), expected(DType::kF32, {3, c.n});
  layer.backend->kernels().linear(*layer.stream, {.x = x, .w = layer.w, .bias = {}, .y = y});
  reference(LinearArgs{.x = x, .w = layer.w, .bias = {}, .y = expected});
  testing::expect_same_bits(y, expected);
}

TEST_P(LinearKernel, MisuseIsRefused) {
  std::mt19937 random(11);
  Layer layer(level(), 1, {DType::kF32, 8, 32, false}, random);
  const Tensor x = testing::normal_tensor(DType::kF32, {2, 31}, random);
  const Tensor y(DType::kF32, {2, 8});
  EXPECT_EQ(testing::error_of([&] { layer.run(x, y); }),
            "[linear] packed w is [8, 32], got x [2, 31] and y [2, 8]");
  const Tensor half = testing::normal_tensor(DType::kF16, {2, 32}, random);
  const Tensor half_y(DType::kF16, {2, 8});
  EXPECT_EQ(testing::error_of([&] { layer.run(half, half_y); }),
            "[linear] x must be f32 on the CPU, got f16");
}

INSTANTIATE_TEST_SUITE_P(Levels, LinearKernel, ::testing::ValuesIn(available_levels()),
                         [](const auto& info) { return std::string(level_name(info.param)); });

}  // namespace
}  // namespace brayton::cpu
