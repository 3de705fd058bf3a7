// Activations equal published values, the gated form multiplies by the upper half, and names of
// checkpoints are understood.
#include "ops/activation.h"

#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;
using testing::expect_close;
using testing::Tensor;
using testing::values;

// Expected values below are the definitions at these points.
const std::vector<float> kInputs = {-2, -0.5f, 0, 1, 3};

std::vector<float> activated(ActivationKind kind) {
  const Tensor x = Tensor::of({1, 5}, kInputs);
  const Tensor y(DType::kF32, {1, 5});
  reference(ActivationArgs{.x = x, .y = y, .kind = kind});
  return values(y);
}

TEST(Activation, KnownValues) {
  expect_close(activated(ActivationKind::kSilu),
               {-0.23840584f, -0.18877033f, 0, 0.73105858f, 2.85772238f}, {0, 1e-6});
  expect_close(activated(ActivationKind::kGelu),
               {-0.04550026f, -0.15426877f, 0, 0.84134475f, 2.99595031f}, {0, 1e-6});
  expect_close(activated(ActivationKind::kGeluTanh),
               {-0.04540231f, -0.15428599f, 0, 0.84119199f, 2.99636261f}, {0, 1e-6});
  EXPECT_EQ(activated(ActivationKind::kRelu), (std::vector<float>{0, 0, 0, 1, 3}));
}

TEST(Activation, LargeInputsNeitherOverflowNorVanish) {
  for (ActivationKind kind : {ActivationKind::kSilu, ActivationKind::kGelu,
                              ActivationKind::kGeluTanh, ActivationKind::kRelu}) {
    const Tensor x = Tensor::of({1, 2}, {-1e4f, 1e4f});
    reference(ActivationArgs{.x = x, .y = x, .kind = kind});
    expect_close(values(x), {0, 1e4f}, {0, 0});
  }
}

TEST(GatedActivation, GateFirstThenUp) {
  const Tensor x = Tensor::of({2, 4}, {1, -1, 10, 20, 2, 3, 4, 5});
  const Tensor y(DType::kF32, {2, 2}, 1);
  reference(GatedActivationArgs{.x = x, .y = y, .kind = ActivationKind::kRelu});
  EXPECT_EQ(values(y), (std::vector<float>{10, 0, 8, 15}));
  const Tensor odd(DType::kF32, {2, 5});
  EXPECT_EQ(error_of([&] { check(GatedActivationArgs{.x = odd, .y = y}); }),
            "[gated_activation] x.2F must be 4, got 5");
}

TEST(Activation, Names) {
  for (std::string_view name : {"silu", "gelu", "gelu_tanh", "relu"})
    EXPECT_EQ(activation_name(activation_from_name(name)), name);
  EXPECT_EQ(activation_from_name("swish"), ActivationKind::kSilu);
  EXPECT_EQ(activation_from_name("gelu_new"), ActivationKind::kGeluTanh);
  EXPECT_EQ(activation_from_name("gelu_pytorch_tanh"), ActivationKind::kGeluTanh);
  EXPECT_EQ(error_of([] { activation_from_name("mish"); }),
            "[activation] the name must be one of silu, gelu, gelu_tanh, relu, swish, gelu_python, "
            "gelu_new, gelu_fast, gelu_pytorch_tanh, got \"mish\"");
}

}  // namespace
}  // namespace brayton
