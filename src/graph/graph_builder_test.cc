// A builder writes formulas down as nodes, makes each leaf once, and lists every tensor of a
// checkpoint that does not fit, at once.
#include "graph/graph_builder.h"

#include <gtest/gtest.h>

#include <map>

#include "testing/op_test.h"

namespace brayton {
namespace {

using testing::error_of;

WeightLookup tensors(std::map<std::string, WeightInfo> map) {
  return [map = std::move(map)](const std::string& name) -> std::optional<WeightInfo> {
    const auto it = map.find(name);
    if (it == map.end()) return std::nullopt;
    return it->second;
  };
}

TEST(GraphBuilder, FormulasBecomeNodes) {
  GraphBuilder g("formula", DType::kBF16, {});
  const Scope w = Scope() / "model" / "layers" / 3;
  const Value table = g.weight(w / "table", {16, 8});
  Value x = g.embedding(g.token_ids(), table);
  const Value y = g.rms_norm(x, g.weight(w / "norm", {8}), 1e-5);
  x = x + y * g.weight(w / "gain", {8}) * 0.5;
  const Graph graph = g.finish(g.linear(g.gather_rows(x, g.logit_rows()), table));
  EXPECT_EQ(print(graph), R"(graph formula {
  %0 = weight {name="model.layers.3.table"} : bf16[16, 8]
  %1 = input {name="token_ids"} : i32[T]
  %2 = embedding(%1, %0) {dtype="bf16"} : bf16[T, 8]
  %3 = weight {name="model.layers.3.norm"} : bf16[8]
  %4 = rms_norm(%2, %3) {eps=1e-05} : bf16[T, 8]
  %5 = weight {name="model.layers.3.gain"} : bf16[8]
  %6 = mul(%4, %5) : bf16[T, 8]
  %7 = scale(%6) {factor=0.5} : bf16[T, 8]
  %8 = add(%2, %7) : bf16[T, 8]
  %9 = input {name="logit_rows"} : i32[R]
  %10 = gather_rows(%8, %9) : bf16[R, 8]
  %11 = linear(%10, %0) : bf16[R, 16]
  return logits=%11
}
)");
}

TEST(GraphBuilder, LeavesAreMadeOnceAndAttentionsCounted) {
  GraphBuilder g("leaves", DType::kF32, {});
  Value x = g.embedding(g.token_ids(), g.weight(Scope("table"), {16, 8}));
  const RopeOptions rope = {.inv_freq = {1.0, 0.1}};
  const AttentionOptions options = {
      .heads = 2, .kv_heads = 2, .head_dim = 4, .slopes = {0.5, 0.25}};
  for (int i = 0; i < 2; ++i) {
    const Value y = g.rope(x, g.positions(), 4, rope);
    x = g.attention(y, y, x, options);
  }
  const Graph graph = g.finish(x);
  std::map<std::string, int> count;
  std::vector<int64_t> layers;
  for (const Node& node : graph.nodes()) {
    ++count[node.op];
    if (node.op != "attention") continue;
    layers.push_back(node.attributes.get_int("layer"));
    EXPECT_EQ(node.attributes.get_double("scale"), 0.5);
  }
  EXPECT_EQ(count["constant"], 2);  // inv_freq, slopes
  EXPECT_EQ(count["input"], 2);     // token_ids, positions
  EXPECT_EQ(layers, (std::vector<int64_t>{0, 1}));
}

TEST(GraphBuilder, WeightsHaveTheCheckpointsType) {
  GraphBuilder g("types", DType::kF32, tensors({{"w", {DType::kQ4_1, {16, 32}}}}));
  const Value w = g.weight(Scope("w"), {16, 32});
  EXPECT_EQ(w.type().str(), "q4_1[16, 32]");
  EXPECT_EQ(g.weight(Scope("w"), {16, 32}).id(), w.id());
  EXPECT_EQ(g.embedding(g.token_ids(), w).type().str(), "f32[T, 32]");
}

TEST(GraphBuilder, OptionalWeightsAreThereWhenTheCheckpointHasThem) {
  GraphBuilder g("optional", DType::kF32, tensors({{"a.bias", {DType::kF32, {4}}}}));
  EXPECT_TRUE(g.optional_weight(Scope("a") / "bias", {4}));
  EXPECT_FALSE(g.optional_weight(Scope("b") / "bias", {4}));
  EXPECT_TRUE(g.has_weight(Scope("a.bias")));
  EXPECT_FALSE(g.has_weight(Scope("b.bias")));
  GraphBuilder dummy("dummy", DType::kF32, {});
  EXPECT_FALSE(dummy.optional_weight(Scope("a") / "bias", {4}));
  EXPECT_TRUE(dummy.has_weight(Scope("a.bias")));
}

TEST(GraphBuilder, AllFaultsOfWeightsComeAtOnce) {
  GraphBuilder g("faulty", DType::kF32,
                 tensors({{"short", {DType::kF32, {3}}},
                          {"whole", {DType::kI32, {4}}},
                          {"table", {DType::kF32, {16, 4}}}}));
  Value x = g.embedding(g.token_ids(), g.weight(Scope("table"), {16, 4}));
  for (const char* name : {"short", "missing", "whole", "missing"})
    x = g.rms_norm(x, g.weight(Scope(name), {4}), 1e-5);
  EXPECT_EQ(error_of([&] { g.finish(x); }),
            "[faulty] 3 tensors of the checkpoint must fit its configuration:\n"
            "  'short' must be [4], got [3]\n"
            "  'missing' must be [4], but is missing\n"
            "  'whole' must be of a float or block type, got i32");
}

TEST(GraphBuilder, AListOfFaultsHasAnEnd) {
  GraphBuilder g("empty", DType::kF32, tensors({}));
  for (int i = 0; i < 150; ++i) g.weight(Scope("w") / i, {4});
  const std::string error = error_of([&] { g.finish(g.token_ids()); });
  EXPECT_TRUE(error.starts_with("[empty] 150 tensors of the checkpoint must fit")) << error;
  EXPECT_TRUE(error.ends_with("\n  'w.99' must be [4], but is missing\n  and 50 more")) << error;
}

TEST(GraphBuilder, RearrangementsOfBlocksNameTheWeight) {
  GraphBuilder g("blocks", DType::kF32, tensors({{"h.0.c_attn", {DType::kQ4_1, {64, 96}}}}));
  const Value w = g.weight(Scope("h.0.c_attn"), {64, 96});
  EXPECT_EQ(error_of([&] { g.transpose(w); }),
            "[transpose] x must be of a plain type, got q4_1[64, 96]: rows of blocks cannot be "
            "cut; of weight 'h.0.c_attn'");
  EXPECT_EQ(error_of([&] { g.slice(g.reshape(w, {2, 32, 96}), 2, 0, 32); }),
            "[slice] x must be of a plain type, got q4_1[2, 32, 96]: rows of blocks cannot be "
            "cut; of weight 'h.0.c_attn'");
  EXPECT_EQ(g.concat({g.slice(w, 0, 32, 64), g.slice(w, 0, 0, 32)}, 0).type().str(),
            "q4_1[64, 96]");
}

}  // namespace
}  // namespace brayton
