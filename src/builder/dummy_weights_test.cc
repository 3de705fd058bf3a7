// Random weights have the shapes of the model and sane statistics, depend on seed and name only,
// and cost the memory of a tile, whatever the model's size.
#include "builder/dummy_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "builder/builder.h"
#include "core/half.h"
#include "testing/named_tactics.h"

namespace brayton {
namespace {

Plan plan_of(DType dtype, const std::vector<std::pair<std::string, Shape>>& weights) {
  Plan plan;
  plan.dtype = dtype;
  for (const auto& [name, shape] : weights) {
    PlanValue value;
    value.kind = PlanValue::Kind::kWeight;
    value.name = name;
    value.type = {dtype, std::vector<Dim>(shape.begin(), shape.end())};
    plan.values.push_back(value);
  }
  return plan;
}

bool equal(const TensorView& a, const TensorView& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.data, b.data, static_cast<size_t>(a.bytes())) == 0;
}

TEST(DummyWeights, AreNormalAndReproducible) {
  const Plan plan = plan_of(DType::kBF16, {{"a.weight", {512, 300}},
                                           {"b.weight", {512, 300}},
                                           {"norm.weight", {4096}},
                                           {"norm.bias", {4096}}});
  const DummyWeights one = make_dummy_weights(plan, 1), again = make_dummy_weights(plan, 1);
  const DummyWeights other = make_dummy_weights(plan, 2);
  for (const auto& [name, tensor] : one.tensors) {
    EXPECT_TRUE(equal(tensor, again.tensors.at(name))) << name;
    EXPECT_FALSE(equal(tensor, other.tensors.at(name))) << name;
  }
  EXPECT_FALSE(equal(one.tensors.at("a.weight"), one.tensors.at("b.weight")));
  for (const auto& [name, tensor] : one.tensors) {
    double sum = 0, squares = 0;
    const auto count = static_cast<double>(tensor.elements());
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      const double value = bf16_to_f32(tensor.as<const uint16_t>()[i]);
      sum += value;
      squares += value * value;
    }
    const double mean = sum / count;
    EXPECT_NEAR(mean, name == "norm.weight" ? 1.0 : 0.0, 0.002) << name;
    EXPECT_NEAR(std::sqrt(squares / count - mean * mean), 0.02, 0.001) << name;
  }
}

TEST(DummyWeights, OfALargeModelCostATile) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("brayton_dummy_test." + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  // LLaMA 2 70B.
  std::ofstream(folder / "config.json") << R"({"model_type": "llama", "vocab_size": 32000,
      "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
      "num_attention_heads": 64, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
      "max_position_embeddings": 4096, "torch_dtype": "float16"})";
  const Engine engine = build_engine((folder / "config.json").string(), testing::NamedTactics(),
                                     {.dummy_weights = true});
  std::filesystem::remove_all(folder);
  EXPECT_EQ(engine.plan.dtype, DType::kF16);
  EXPECT_EQ(engine.weight_bytes(), 2 * 68976648192);
  const TensorView& last = engine.weights.at("model.layers.79.mlp.down_proj.weight");
  const float number = f16_to_f32(*static_cast<const uint16_t*>(last.row(last.dim(0) - 1)));
  EXPECT_LT(std::abs(number), 0.1f);
  EXPECT_TRUE(engine.text.tokenizer.empty());

  std::ifstream statm("/proc/self/statm");
  int64_t pages = 0, resident = 0;
  statm >> pages >> resident;
  EXPECT_LT(resident * 4096, int64_t{400} << 20);
}

TEST(DummyWeights, RefuseBlockTypes) {
  try {
    make_dummy_weights(plan_of(DType::kQ8_0, {{"a", {32, 32}}}), 1);
    FAIL();
  } catch (const Error& fault) {
    EXPECT_STREQ(fault.what(), "[dummy weights] 'a' must be f32, f16 or bf16, got q8_0");
  }
}

}  // namespace
}  // namespace brayton
