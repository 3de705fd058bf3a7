// GPT-NeoX becomes the graph of its formula, with its residuals side by side or in a row.
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
  "model_type": "gpt_neox", "vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1,
  "num_attention_heads": 2, "intermediate_size": 24, "rotary_pct": 0.5
})";

const char* kGraph = R"(graph gpt_neox {
  %0 = weight {name="gpt_neox.embed_in.weight"} : f32[32, 16]
  %1 = input {name="token_ids"} : i32[T]
  %2 = embedding(%1, %0) {dtype="f32"} : f32[T, 16]
  %3 = weight {name="gpt_neox.layers.0.input_layernorm.weight"} : f32[16]
  %4 = weight {name="gpt_neox.layers.0.input_layernorm.bias"} : f32[16]
  %5 = layer_norm(%2, %3, %4) {eps=1e-05} : f32[T, 16]
  %6 = weight {name="gpt_neox.layers.0.attention.query_key_value.weight"} : f32[48, 16]
  %7 = reshape(%6) {shape=[2, 3, 8, 16]} : f32[2, 3, 8, 16]
  %8 = slice(%7) {axis=1, begin=0, end=1} : f32[2, 1, 8, 16]
  %9 = slice(%7) {axis=1, begin=1, end=2} : f32[2, 1, 8, 16]
  %10 = slice(%7) {axis=1, begin=2, end=3} : f32[2, 1, 8, 16]
  %11 = concat(%8, %9, %10) {axis=0} : f32[6, 1, 8, 16]
  %12 = reshape(%11) {shape=[48, 16]} : f32[48, 16]
  %13 = weight {name="gpt_neox.layers.0.attention.query_key_value.bias"} : f32[48]
  %14 = reshape(%13) {shape=[2, 3, 8]} : f32[2, 3, 8]
  %15 = slice(%14) {axis=1, begin=0, end=1} : f32[2, 1, 8]
  %16 = slice(%14) {axis=1, begin=1, end=2} : f32[2, 1, 8]
  %17 = slice(%14) {axis=1, begin=2, end=3} : f32[2, 1, 8]
  %18 = concat(%15, %16, %17) {axis=0} : f32[6, 1, 8]
  %19 = reshape(%18) {shape=[48]} : f32[48]
  %20 = linear(%5, %12, %19) : f32[T, 48]
  %21 = slice(%20) {axis=1, begin=0, end=16} : f32[T, 16]
  %22 = slice(%20) {axis=1, begin=16, end=32} : f32[T, 16]
  %23 = slice(%20) {axis=1, begin=32, end=48} : f32[T, 16]
  %24 = input {name="positions"} : i32[T]
  %25 = constant {values=[1.0, 0.01]} : f32[2]
  %26 = rope(%21, %24, %25) {head_dim=8, interleaved=false, scale=1.0} : f32[T, 16]
  %27 = rope(%22, %24, %25) {head_dim=8, interleaved=false, scale=1.0} : f32[T, 16]
  %28 = attention(%26, %27, %23) {head_dim=8, heads=2, kv_heads=2, layer=0, scale=0.35355339059327373, softcap=0.0, window=0} : f32[T, 16]
  %29 = weight {name="gpt_neox.layers.0.attention.dense.weight"} : f32[16, 16]
  %30 = weight {name="gpt_neox.layers.0.attention.dense.bias"} : f32[16]
  %31 = linear(%28, %29, %30) : f32[T, 16]
  %32 = add(%2, %31) : f32[T, 16]
  %33 = weight {name="gpt_neox.layers.0.post_attention_layernorm.weight"} : f32[16]
  %34 = weight {name="gpt_neox.layers.0.post_attention_layernorm.bias"} : f32[16]
  %35 = layer_norm(%2, %33, %34) {eps=1e-05} : f32[T, 16]
  %36 = weight {name="gpt_neox.layers.0.mlp.dense_h_to_4h.weight"} : f32[24, 16]
  %37 = weight {name="gpt_neox.layers.0.mlp.dense_h_to_4h.bias"} : f32[24]
  %38 = linear(%35, %36, %37) : f32[T, 24]
  %39 = activation(%38) {kind="gelu"} : f32[T, 24]
  %40 = weight {name="gpt_neox.layers.0.mlp.dense_4h_to_h.weight"} : f32[16, 24]
  %41 = weight {name="gpt_neox.layers.0.mlp.dense_4h_to_h.bias"} : f32[16]
  %42 = linear(%39, %40, %41) : f32[T, 16]
  %43 = add(%32, %42) : f32[T, 16]
  %44 = weight {name="gpt_neox.final_layer_norm.weight"} : f32[16]
  %45 = weight {name="gpt_neox.final_layer_norm.bias"} : f32[16]
  %46 = layer_norm(%43, %44, %45) {eps=1e-05} : f32[T, 16]
  %47 = weight {name="embed_out.weight"} : f32[32, 16]
  %48 = input {name="logit_rows"} : i32[R]
  %49 = gather_rows(%46, %48) : f32[R, 16]
  %50 = linear(%49, %47) : f32[R, 32]
  return logits=%50
}
)";

TEST(GptNeox, TinyModelIsThisGraph) {
  const ModelDefinition model = build_model(config_of(kConfig));
  EXPECT_EQ(print(model.graph), kGraph);
  EXPECT_EQ(model.info.max_positions, 2048);
}

// The types of op that feed each LayerNorm.
std::vector<ValueId> norm_inputs(const Graph& graph) {
  std::vector<ValueId> inputs;
  for (const Node& node : graph.nodes())
    if (node.op == "layer_norm") inputs.push_back(node.inputs[0]);
  return inputs;
}

TEST(GptNeox, TheSecondNormReadsTheSumWhenResidualsAreInARow) {
  const Graph parallel = build_model(config_of(kConfig)).graph;
  const Graph serial = build_model(config_of(kConfig, R"({"use_parallel_residual": false})")).graph;
  EXPECT_EQ(norm_inputs(parallel)[1], norm_inputs(parallel)[0]);
  EXPECT_EQ(serial.producer(norm_inputs(serial)[1]).op, "add");
  EXPECT_EQ(count(parallel, "add"), count(serial, "add"));
}

TEST(GptNeox, GgufStacksQkvAndCountsRotaryDimensions) {
  const Json config = config_of(kConfig, R"({"gguf": true, "rotary_pct": null, "rotary_dim": 6})");
  const Graph graph = build_model(config).graph;
  EXPECT_EQ(count(graph, "reshape") + count(graph, "concat"), 0);
  EXPECT_EQ(first(graph, "constant").attributes.get_doubles("values").size(), 3u);
  EXPECT_FALSE(first(graph, "rope").attributes.get_bool("interleaved"));
}

TEST(GptNeox, TheConfigTiesTheHeadAndDropsAttentionBiases) {
  const auto tensors = tensors_of(
      build_model(config_of(kConfig, R"({"tie_word_embeddings": true, "attention_bias": false})"))
          .graph);
  EXPECT_FALSE(tensors.contains("embed_out.weight"));
  EXPECT_FALSE(tensors.contains("gpt_neox.layers.0.attention.query_key_value.bias"));
  EXPECT_FALSE(tensors.contains("gpt_neox.layers.0.attention.dense.bias"));
  EXPECT_TRUE(tensors.contains("gpt_neox.layers.0.mlp.dense_h_to_4h.bias"));
}

TEST(GptNeox, AnUntiedHeadThatIsMissingIsNamed) {
  auto tensors = tensors_of(build_model(config_of(kConfig)).graph);
  tensors.erase("embed_out.weight");
  EXPECT_EQ(error_of([&] { build_model(config_of(kConfig), lookup_in(tensors)); }),
            "[gpt_neox] 1 tensor of the checkpoint must fit its configuration:\n"
            "  'embed_out.weight' must be [32, 16], but is missing");
}

}  // namespace
}  // namespace brayton
