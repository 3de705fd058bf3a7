// GPT-2 becomes the graph of its formula, from checkpoints with and without the prefix and from
// GGUF.
#include <gtest/gtest.h>

#include "testing/build_model.h"

namespace brayton {
namespace {

using testing::build_model;
using testing::config_of;
using testing::count;
using testing::error_of;
using testing::first;
using testing::lookup_in;
using testing::tensors_of;

const char* kConfig = R"({
  "model_type": "gpt2", "vocab_size": 32, "n_embd": 16, "n_layer": 1, "n_head": 2,
  "n_positions": 8
})";

const char* kGraph = R"(graph gpt2 {
  %0 = weight {name="transformer.wte.weight"} : f32[32, 16]
  %1 = weight {name="transformer.wpe.weight"} : f32[8, 16]
  %2 = input {name="token_ids"} : i32[T]
  %3 = embedding(%2, %0) {dtype="f32"} : f32[T, 16]
  %4 = input {name="positions"} : i32[T]
  %5 = embedding(%4, %1) {dtype="f32"} : f32[T, 16]
  %6 = add(%3, %5) : f32[T, 16]
  %7 = weight {name="transformer.h.0.ln_1.weight"} : f32[16]
  %8 = weight {name="transformer.h.0.ln_1.bias"} : f32[16]
  %9 = layer_norm(%6, %7, %8) {eps=1e-05} : f32[T, 16]
  %10 = weight {name="transformer.h.0.attn.c_attn.weight"} : f32[16, 48]
  %11 = transpose(%10) : f32[48, 16]
  %12 = weight {name="transformer.h.0.attn.c_attn.bias"} : f32[48]
  %13 = linear(%9, %11, %12) : f32[T, 48]
  %14 = slice(%13) {axis=1, begin=0, end=16} : f32[T, 16]
  %15 = slice(%13) {axis=1, begin=16, end=32} : f32[T, 16]
  %16 = slice(%13) {axis=1, begin=32, end=48} : f32[T, 16]
  %17 = attention(%14, %15, %16) {head_dim=8, heads=2, kv_heads=2, layer=0, scale=0.35355339059327373, softcap=0.0, window=0} : f32[T, 16]
  %18 = weight {name="transformer.h.0.attn.c_proj.weight"} : f32[16, 16]
  %19 = transpose(%18) : f32[16, 16]
  %20 = weight {name="transformer.h.0.attn.c_proj.bias"} : f32[16]
  %21 = linear(%17, %19, %20) : f32[T, 16]
  %22 = add(%6, %21) : f32[T, 16]
  %23 = weight {name="transformer.h.0.ln_2.weight"} : f32[16]
  %24 = weight {name="transformer.h.0.ln_2.bias"} : f32[16]
  %25 = layer_norm(%22, %23, %24) {eps=1e-05} : f32[T, 16]
  %26 = weight {name="transformer.h.0.mlp.c_fc.weight"} : f32[16, 64]
  %27 = transpose(%26) : f32[64, 16]
  %28 = weight {name="transformer.h.0.mlp.c_fc.bias"} : f32[64]
  %29 = linear(%25, %27, %28) : f32[T, 64]
  %30 = activation(%29) {kind="gelu_tanh"} : f32[T, 64]
  %31 = weight {name="transformer.h.0.mlp.c_proj.weight"} : f32[64, 16]
  %32 = transpose(%31) : f32[16, 64]
  %33 = weight {name="transformer.h.0.mlp.c_proj.bias"} : f32[16]
  %34 = linear(%30, %32, %33) : f32[T, 16]
  %35 = add(%22, %34) : f32[T, 16]
  %36 = weight {name="transformer.ln_f.weight"} : f32[16]
  %37 = weight {name="transformer.ln_f.bias"} : f32[16]
  %38 = layer_norm(%35, %36, %37) {eps=1e-05} : f32[T, 16]
  %39 = input {name="logit_rows"} : i32[R]
  %40 = gather_rows(%38, %39) : f32[R, 16]
  %41 = linear(%40, %0) : f32[R, 32]
  return logits=%41
}
)";

TEST(Gpt2, TinyModelIsThisGraph) {
  const ModelDefinition model = build_model(config_of(kConfig));
  EXPECT_EQ(print(model.graph), kGraph);
  EXPECT_EQ(model.info.kv_heads, 2);
  EXPECT_EQ(model.info.max_positions, 8);
}

TEST(Gpt2, NamesMayLackThePrefix) {
  std::map<std::string, WeightInfo> bare;
  for (const auto& [name, info] : tensors_of(build_model(config_of(kConfig)).graph))
    bare[name.substr(std::string("transformer.").size())] = info;
  EXPECT_EQ(tensors_of(build_model(config_of(kConfig), lookup_in(bare)).graph).size(), bare.size());
}

TEST(Gpt2, GgufStoresWeightsTransposed) {
  const Json config = config_of(kConfig, R"({"gguf": true})");
  const Graph graph = build_model(config).graph;
  EXPECT_EQ(count(graph, "transpose"), 0);
  const auto tensors = tensors_of(graph);
  EXPECT_EQ(tensors.at("transformer.h.0.attn.c_attn.weight").shape, Shape({48, 16}));
  EXPECT_EQ(tensors.at("transformer.h.0.mlp.c_fc.weight").shape, Shape({64, 16}));
  auto untied = tensors;
  untied["lm_head.weight"] = {DType::kF32, {32, 16}};
  EXPECT_TRUE(tensors_of(build_model(config, lookup_in(untied)).graph).contains("lm_head.weight"));
}

TEST(Gpt2, ScoresMayBeScaledByLayerOrNotAtAll) {
  const auto scales = [](const char* changes) {
    std::vector<double> result;
    const Graph graph = build_model(config_of(kConfig, changes)).graph;
    for (const Node& node : graph.nodes())
      if (node.op == "attention") result.push_back(node.attributes.get_double("scale"));
    return result;
  };
  const char* by_layer = R"({"n_layer": 2, "n_head": 4, "scale_attn_by_inverse_layer_idx": true})";
  EXPECT_EQ(scales(by_layer), (std::vector<double>{0.5, 0.25}));
  EXPECT_EQ(scales(R"({"scale_attn_weights": false})"), std::vector<double>{1.0});
}

TEST(Gpt2, OtherNamesOfTheSameFields) {
  const Json config = config_of(kConfig, R"({"n_embd": null, "hidden_size": 16, "n_inner": 24,
    "activation_function": "relu", "tie_word_embeddings": false})");
  const Graph graph = build_model(config).graph;
  const auto tensors = tensors_of(graph);
  EXPECT_EQ(tensors.at("transformer.h.0.mlp.c_fc.weight").shape, Shape({16, 24}));
  EXPECT_EQ(tensors.at("lm_head.weight").shape, Shape({32, 16}));
  EXPECT_EQ(first(graph, "activation").attributes.get_string("kind"), "relu");
}

TEST(Gpt2, BlockWeightsThatNeedATransposeAreNamed) {
  auto tensors =
      tensors_of(build_model(config_of(kConfig, R"({"n_embd": 32, "n_head": 4})")).graph);
  tensors["transformer.h.0.attn.c_attn.weight"].dtype = DType::kQ4_1;
  const std::string error = error_of([&] {
    build_model(config_of(kConfig, R"({"n_embd": 32, "n_head": 4})"), lookup_in(tensors));
  });
  EXPECT_TRUE(error.ends_with("; of weight 'transformer.h.0.attn.c_attn.weight'")) << error;
}

}  // namespace
}  // namespace brayton
