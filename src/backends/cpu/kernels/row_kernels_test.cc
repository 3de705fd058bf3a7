// Every level's norms, rope, activations, elementwise ops and row copies compute what the ops mean,
// for any width, strides and aliasing; a row's result does not depend on the rows beside it.
#include "backends/cpu/cpu_level.h"
#include "backends/cpu/cpu_stream.h"
#include "backends/cpu/level_kernels.h"
#include "ops/quant_blocks.h"
#include "testing/op_test.h"

namespace brayton::cpu {
namespace {

using testing::error_of;
using testing::expect_close;
using testing::expect_same_bits;
using testing::normal_tensor;
using testing::Tensor;

// Vectors' tails, the widths of small models, and enough rows for several pieces of work.
constexpr int64_t kWidths[] = {1, 3, 16, 37, 64, 576, 1536};
constexpr int64_t kRows[] = {1, 5, 130};

class RowKernels : public ::testing::Test {
 protected:
  template <class Body>
  void for_levels(const Body& body) {
    for (const Level level : available_levels()) {
      SCOPED_TRACE(level_name(level));
      std::mt19937 random(seed_);
      body(level_kernels(level).table, random);
    }
  }
  template <class Body>
  void for_shapes(const Body& body) {
    for_levels([&](const KernelTable& table, std::mt19937& random) {
      for (const int64_t rows : kRows)
        for (const int64_t width : kWidths) {
          SCOPED_TRACE(format("[{}, {}]", rows, width));
          body(table, random, rows, width);
        }
    });
  }

  const uint32_t seed_ = testing::fresh_seed();
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, testing::seed_text(seed_)};
  ThreadPool pool_{3};
  CpuStream stream_{pool_};
};

TEST_F(RowKernels, RmsNorm) {
  for_shapes([&](const KernelTable& table, std::mt19937& random, int64_t rows, int64_t width) {
    const Tensor x = normal_tensor(DType::kF32, {rows, width}, random, 3.0f, 5);
    const Tensor residual = normal_tensor(DType::kF32, {rows, width}, random);
    const Tensor w = normal_tensor(DType::kF32, {width}, random);
    const Tensor y(DType::kF32, {rows, width}, 2), expected(DType::kF32, {rows, width});
    const Tensor sum(DType::kF32, {rows, width}), expected_sum(DType::kF32, {rows, width});
    RmsNormArgs args{.x = x, .residual = {}, .w = w, .sum = {}, .y = expected};
    reference(args);
    args.y = y;
    table.rms_norm(stream_, args);
    expect_close(y, expected, {1e-6, 2e-6});
    args = {.x = x, .residual = residual, .w = w, .sum = expected_sum, .y = expected};
    reference(args);
    args.sum = sum;
    args.y = x;  // may alias x
    table.rms_norm(stream_, args);
    expect_close(x, expected, {1e-6, 2e-6});
    expect_same_bits(sum, expected_sum);
  });
}

TEST_F(RowKernels, RmsNormSumsInPlaceAndWithoutASum) {
  for_levels([&](const KernelTable& table, std::mt19937& random) {
    const Tensor x = normal_tensor(DType::kF32, {3, 21}, random);
    const Tensor residual = normal_tensor(DType::kF32, {3, 21}, random);
    const Tensor w = normal_tensor(DType::kF32, {21}, random);
    const Tensor expected(DType::kF32, {3, 21}), sum(DType::kF32, {3, 21});
    const Tensor y(DType::kF32, {3, 21});
    reference(RmsNormArgs{.x = x, .residual = residual, .w = w, .sum = sum, .y = expected});
    table.rms_norm(stream_, {.x = x, .residual = residual, .w = w, .sum = {}, .y = y});
    expect_close(y, expected, {1e-6, 2e-6});
    table.rms_norm(stream_, {.x = x, .residual = residual, .w = w, .sum = residual, .y = x});
    expect_close(x, expected, {1e-6, 2e-6});
    expect_same_bits(residual, sum);
  });
}

TEST_F(RowKernels, LayerNorm) {
  for_shapes([&](const KernelTable& table, std::mt19937& random, int64_t rows, int64_t width) {
    const Tensor x = normal_tensor(DType::kF32, {rows, width}, random, 2.0f, 3);
    const Tensor residual = normal_tensor(DType::kF32, {rows, width}, random);
    const Tensor w = normal_tensor(DType::kF32, {width}, random);
    const Tensor b = normal_tensor(DType::kF32, {width}, random);
    const Tensor y(DType::kF32, {rows, width}), expected(DType::kF32, {rows, width});
    const Tensor sum(DType::kF32, {rows, width}), expected_sum(DType::kF32, {rows, width});
    // Two nearly equal values make the variance vanish: eps keeps the quotient tame.
    LayerNormArgs args{
        .x = x, .residual = {}, .w = w, .b = {}, .sum = {}, .y = expected, .eps = 1e-2f};
    reference(args);
    args.y = y;
    table.layer_norm(stream_, args);
    expect_close(y, expected, {4e-6, 4e-6});
    args = {.x = x,
            .residual = residual,
            .w = w,
            .b = b,
            .sum = expected_sum,
            .y = expected,
            .eps = 1e-2f};
    reference(args);
    args.sum = residual;
    args.y = y;
    table.layer_norm(stream_, args);
    expect_close(y, expected, {4e-6, 4e-6});
    expect_same_bits(residual, expected_sum);
  });
}

TEST_F(RowKernels, Rope) {
  struct Case {
    int64_t tokens, heads, head_dim, pairs;
  };
  // SmolLM2's q and k, GPT-NeoX's partial turn, odd sizes, more pairs than a table on the stack.
  const Case cases[] = {
      {1, 9, 64, 32}, {70, 3, 64, 32}, {4, 2, 80, 10}, {3, 2, 7, 3}, {2, 1, 1200, 600}};
  for_levels([&](const KernelTable& table, std::mt19937& random) {
    for (const auto& [tokens, heads, head_dim, pairs] : cases)
      for (const bool interleaved : {false, true}) {
        SCOPED_TRACE(format("[{}, {}, {}], {} pairs", tokens, heads, head_dim, pairs));
        const Tensor rows = normal_tensor(DType::kF32, {tokens, heads * head_dim}, random, 1, 9);
        TensorView x = rows;
        x.shape = {tokens, heads, head_dim};
        x.strides = {rows.view().strides[0], head_dim, 1};
        Tensor positions(DType::kI32, {tokens});
        for (int64_t t = 0; t < tokens; ++t)
          positions.view().as<int32_t>()[t] = static_cast<int32_t>(random() % 100000);
        Tensor inv_freq(DType::kF32, {pairs});
        for (int64_t p = 0; p < pairs; ++p)
          inv_freq.view().as<float>()[p] =
              std::pow(10000.0f, -static_cast<float>(p) / static_cast<float>(pairs));
        const Tensor expected(DType::kF32, {tokens, heads, head_dim});
        const Tensor y(DType::kF32, {tokens, heads, head_dim});
        RopeArgs args{.x = x,
                      .positions = positions,
                      .inv_freq = inv_freq,
                      .y = expected,
                      .interleaved = interleaved,
                      .scale = 1.25f};
        reference(args);
        args.y = y;
        table.rope(stream_, args);
        expect_close(y, expected, {2e-6, 1e-6});
        args.y = x;  // in place
        table.rope(stream_, args);
        expect_same_bits(x, y);
      }
  });
}

constexpr ActivationKind kKinds[] = {ActivationKind::kSilu, ActivationKind::kGelu,
                                     ActivationKind::kGeluTanh, ActivationKind::kRelu};

TEST_F(RowKernels, Activation) {
  for_shapes([&](const KernelTable& table, std::mt19937& random, int64_t rows, int64_t width) {
    for (const ActivationKind kind : kKinds) {
      SCOPED_TRACE(activation_name(kind));
      const Tensor x = normal_tensor(DType::kF32, {rows, width}, random, 4.0f, 3);
      const Tensor expected(DType::kF32, {rows, width});
      reference(ActivationArgs{.x = x, .y = expected, .kind = kind});
      table.activation(stream_, {.x = x, .y = x, .kind = kind});
      expect_close(x, expected, {3e-7, 2e-6});
    }
  });
}

TEST_F(RowKernels, ActivationOverTheWholeRange) {
  for_levels([&](const KernelTable& table, std::mt19937&) {
    std::vector<float> inputs;
    for (float magnitude = 1e-30f; magnitude < 1e30f; magnitude *= 1.7f) {
      inputs.push_back(magnitude);
      inputs.push_back(-magnitude);
    }
    for (float x = -20.0f; x < 20.0f; x += 0.01f) inputs.push_back(x);
    const auto count = static_cast<int64_t>(inputs.size());
    for (const ActivationKind kind : kKinds) {
      SCOPED_TRACE(activation_name(kind));
      const Tensor x = Tensor::of({1, count}, inputs);
      const Tensor y(DType::kF32, {1, count}), expected(DType::kF32, {1, count});
      reference(ActivationArgs{.x = x, .y = expected, .kind = kind});
      table.activation(stream_, {.x = x, .y = y, .kind = kind});
      expect_close(y, expected, {1e-7, 6e-7});
    }
  });
}

TEST_F(RowKernels, GatedActivation) {
  for_shapes([&](const KernelTable& table, std::mt19937& random, int64_t rows, int64_t width) {
    for (const ActivationKind kind : kKinds) {
      SCOPED_TRACE(activation_name(kind));
      const Tensor x = normal_tensor(DType::kF32, {rows, 2 * width}, random, 2.0f, 1);
      const Tensor y(DType::kF32, {rows, width}, 4), expected(DType::kF32, {rows, width});
      reference(GatedActivationArgs{.x = x, .y = expected, .kind = kind});
      table.gated_activation(stream_, {.x = x, .y = y, .kind = kind});
      expect_close(y, expected, {1e-6, 2e-6});
    }
  });
}

TEST_F(RowKernels, BinaryAndScale) {
  for_shapes([&](const KernelTable& table, std::mt19937& random, int64_t rows, int64_t width) {
    const Tensor a = normal_tensor(DType::kF32, {rows, width}, random, 1.0f, 1);
    const Tensor b = normal_tensor(DType::kF32, {rows, width}, random, 1.0f, 2);
    const Tensor row = normal_tensor(DType::kF32, {width}, random);
    const Tensor y(DType::kF32, {rows, width}, 3), expected(DType::kF32, {rows, width});
    for (const BinaryKind kind : {BinaryKind::kAdd, BinaryKind::kMul})
      for (const TensorView& second : {b.view(), row.view()}) {
        reference(BinaryArgs{.a = a, .b = second, .y = expected, .kind = kind});
        table.binary(stream_, {.a = a, .b = second, .y = y, .kind = kind});
        expect_same_bits(y, expected);
      }
    reference(ScaleArgs{.a = a, .y = expected, .factor = -1.7f});
    table.scale(stream_, {.a = a, .y = a, .factor = -1.7f});
    expect_same_bits(a, expected);
  });
}

TEST_F(RowKernels, EmbeddingAndGatherRows) {
  for_levels([&](const KernelTable& table, std::mt19937& random) {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0})
      for (const int64_t tokens : {1, 300}) {
        const Tensor source = normal_tensor(DType::kF32, {11, 96}, random);
        Tensor weight(dtype, {11, 96});
        for (int64_t i = 0; i < 11; ++i)
          from_f32(dtype, source.view().row_as<float>(i), 96, weight.view().row(i));
        Tensor ids(DType::kI32, {tokens});
        for (int64_t t = 0; t < tokens; ++t)
          ids.view().as<int32_t>()[t] = static_cast<int32_t>(random() % 11);
        const Tensor y(DType::kF32, {tokens, 96}, 4), expected(DType::kF32, {tokens, 96});
        reference(EmbeddingArgs{.ids = ids, .table = weight, .y = expected});
        table.embedding(stream_, {.ids = ids, .table = weight, .y = y});
        expect_same_bits(y, expected);
        reference(GatherRowsArgs{.x = source, .rows = ids, .y = expected});
        table.gather_rows(stream_, {.x = source, .rows = ids, .y = y});
        expect_same_bits(y, expected);
      }
    const Tensor weight(DType::kF32, {4, 8}), y(DType::kF32, {1, 8});
    const Tensor ids = Tensor::of_i32({4});
    EXPECT_EQ(error_of([&] { table.embedding(stream_, {.ids = ids, .table = weight, .y = y}); }),
              "[embedding] ids[0] must be in [0, 4), got 4");
  });
}

TEST_F(RowKernels, ARowDoesNotDependOnOthers) {
  for_levels([&](const KernelTable& table, std::mt19937& random) {
    const Tensor x = normal_tensor(DType::kF32, {90, 1000}, random);
    const Tensor w = normal_tensor(DType::kF32, {1000}, random);
    const Tensor all(DType::kF32, {90, 1000}), one(DType::kF32, {90, 1000});
    table.rms_norm(stream_, {.x = x, .residual = {}, .w = w, .sum = {}, .y = all});
    for (int64_t t = 0; t < 90; ++t)
      table.rms_norm(stream_, {.x = x.view().slice(0, t, t + 1),
                               .residual = {},
                               .w = w,
                               .sum = {},
                               .y = one.view().slice(0, t, t + 1)});
    expect_same_bits(one, all);
    const Tensor all_gated(DType::kF32, {90, 500}), one_gated(DType::kF32, {90, 500});
    table.gated_activation(stream_, {.x = x, .y = all_gated});
    for (int64_t t = 0; t < 90; ++t)
      table.gated_activation(
          stream_, {.x = x.view().slice(0, t, t + 1), .y = one_gated.view().slice(0, t, t + 1)});
    expect_same_bits(one_gated, all_gated);
  });
}

}  // namespace
}  // namespace brayton::cpu
