// BLOOM becomes the graph of its formula, from checkpoints with and without the prefix and from
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
  "model_type": "bloom", "vocab_size": 32, "n_embed": 16, "n_layer": 1,
  "num_attention_heads": 2
})";

const char* kGraph = R"(graph bloom {
  %0 = weight {name="transformer.word_embeddings.weight"} : f32[32, 16]
  %1 = input {name="token_ids"} : i32[T]
  %2 = embedding(%1, %0) {dtype="f32"} : f32[T, 16]
  %3 = weight {name="transformer.word_embeddings_layernorm.weight"} : f32[16]
  %4 = weight {name="transformer.word_embeddings_layernorm.bias"} : f32[16]
  %5 = layer_norm(%2, %3, %4) {eps=1e-05} : f32[T, 16]
  %6 = weight {name="transformer.h.0.input_layernorm.weight"} : f32[16]
  %7 = weight {name="transformer.h.0.input_layernorm.bias"} : f32[16]
  %8 = layer_norm(%5, %6, %7) {eps=1e-05} : f32[T, 16]
  %9 = weight {name="transformer.h.0.self_attention.query_key_value.weight"} : f32[48, 16]
  %10 = reshape(%9) {shape=[2, 3, 8, 16]} : f32[2, 3, 8, 16]
  %11 = slice(%10) {axis=1, begin=0, end=1} : f32[2, 1, 8, 16]
  %12 = slice(%10) {axis=1, begin=1, end=2} : f32[2, 1, 8, 16]
  %13 = slice(%10) {axis=1, begin=2, end=3} : f32[2, 1, 8, 16]
  %14 = concat(%11, %12, %13) {axis=0} : f32[6, 1, 8, 16]
  %15 = reshape(%14) {shape=[48, 16]} : f32[48, 16]
  %16 = weight {name="transformer.h.0.self_attention.query_key_value.bias"} : f32[48]
  %17 = reshape(%16) {shape=[2, 3, 8]} : f32[2, 3, 8]
  %18 = slice(%17) {axis=1, begin=0, end=1} : f32[2, 1, 8]
  %19 = slice(%17) {axis=1, begin=1, end=2} : f32[2, 1, 8]
  %20 = slice(%17) {axis=1, begin=2, end=3} : f32[2, 1, 8]
  %21 = concat(%18, %19, %20) {axis=0} : f32[6, 1, 8]
  %22 = reshape(%21) {shape=[48]} : f32[48]
  %23 = linear(%8, %15, %22) : f32[T, 48]
  %24 = slice(%23) {axis=1, begin=0, end=16} : f32[T, 16]
  %25 = slice(%23) {axis=1, begin=16, end=32} : f32[T, 16]
  %26 = slice(%23) {axis=1, begin=32, end=48} : f32[T, 16]
  %27 = constant {values=[0.0625, 0.00390625]} : f32[2]
  %28 = attention(%24, %25, %26, %27) {head_dim=8, heads=2, kv_heads=2, layer=0, scale=0.35355339059327373, softcap=0.0, window=0} : f32[T, 16]
  %29 = weight {name="transformer.h.0.self_attention.dense.weight"} : f32[16, 16]
  %30 = weight {name="transformer.h.0.self_attention.dense.bias"} : f32[16]
  %31 = linear(%28, %29, %30) : f32[T, 16]
  %32 = add(%5, %31) : f32[T, 16]
  %33 = weight {name="transformer.h.0.post_attention_layernorm.weight"} : f32[16]
  %34 = weight {name="transformer.h.0.post_attention_layernorm.bias"} : f32[16]
  %35 = layer_norm(%32, %33, %34) {eps=1e-05} : f32[T, 16]
  %36 = weight {name="transformer.h.0.mlp.dense_h_to_4h.weight"} : f32[64, 16]
  %37 = weight {name="transformer.h.0.mlp.dense_h_to_4h.bias"} : f32[64]
  %38 = linear(%35, %36, %37) : f32[T, 64]
  %39 = activation(%38) {kind="gelu_tanh"} : f32[T, 64]
  %40 = weight {name="transformer.h.0.mlp.dense_4h_to_h.weight"} : f32[16, 64]
  %41 = weight {name="transformer.h.0.mlp.dense_4h_to_h.bias"} : f32[16]
  %42 = linear(%39, %40, %41) : f32[T, 16]
  %43 = add(%32, %42) : f32[T, 16]
  %44 = weight {name="transformer.ln_f.weight"} : f32[16]
  %45 = weight {name="transformer.ln_f.bias"} : f32[16]
  %46 = layer_norm(%43, %44, %45) {eps=1e-05} : f32[T, 16]
  %47 = input {name="logit_rows"} : i32[R]
  %48 = gather_rows(%46, %47) : f32[R, 16]
  %49 = linear(%48, %0) : f32[R, 32]
  return logits=%49
}
)";

TEST(Bloom, TinyModelIsThisGraph) {
  const ModelDefinition model = build_model(config_of(kConfig));
  EXPECT_EQ(print(model.graph), kGraph);
  EXPECT_EQ(model.info.max_positions, 2048);
}

TEST(Bloom, OtherNamesOfTheSameFields) {
  const Json config = config_of(kConfig, R"({"n_embed": null, "hidden_size": 16,
    "num_attention_heads": null, "n_head": 2, "seq_length": 77})");
  const ModelDefinition model = build_model(config);
  EXPECT_EQ(print(model.graph), kGraph);
  EXPECT_EQ(model.info.max_positions, 77);
}

TEST(Bloom, NamesMayLackThePrefix) {
  std::map<std::string, WeightInfo> bare;
  for (const auto& [name, info] : tensors_of(build_model(config_of(kConfig)).graph))
    bare[name.substr(std::string("transformer.").size())] = info;
  EXPECT_EQ(tensors_of(build_model(config_of(kConfig), lookup_in(bare)).graph).size(), bare.size());
}

TEST(Bloom, ResidualsMayStartAfterTheNorm) {
  const Json config = config_of(kConfig, R"({"apply_residual_connection_post_layernorm": true})");
  const Graph graph = build_model(config).graph;
  EXPECT_EQ(count(graph, "add"), 2);
  for (const Node& node : graph.nodes()) {
    if (node.op != "add") continue;
    EXPECT_EQ(graph.producer(node.inputs[0]).op, "layer_norm");
  }
}

TEST(Bloom, GgufStacksQkv) {
  const Graph graph = build_model(config_of(kConfig, R"({"gguf": true})")).graph;
  EXPECT_EQ(count(graph, "reshape") + count(graph, "concat"), 0);
}

TEST(Bloom, HeadsMustDivideTheHiddenSize) {
  EXPECT_EQ(error_of([] { build_model(config_of(kConfig, R"({"num_attention_heads": 3})")); }),
            "[config.json] hidden_size must be a multiple of num_attention_heads 3, got 16");
  EXPECT_EQ(error_of([] { build_model(config_of(kConfig, R"({"head_dim": 4})")); }),
            "[config.json] head_dim must be hidden_size / num_attention_heads = 16 / 2, got 4");
}

}  // namespace
}  // namespace brayton
