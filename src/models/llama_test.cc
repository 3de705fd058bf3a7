// LLaMA and Mistral become the graph of their formula; what a config, checkpoint or GGUF file
// varies changes exactly the nodes it should.
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
  "architectures": ["LlamaForCausalLM"], "vocab_size": 32, "hidden_size": 16,
  "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
  "intermediate_size": 24, "rms_norm_eps": 1e-05
})";

const char* kGraph = R"(graph llama {
  %0 = weight {name="model.embed_tokens.weight"} : f32[32, 16]
  %1 = input {name="token_ids"} : i32[T]
  %2 = embedding(%1, %0) {dtype="f32"} : f32[T, 16]
  %3 = weight {name="model.layers.0.input_layernorm.weight"} : f32[16]
  %4 = rms_norm(%2, %3) {eps=1e-05} : f32[T, 16]
  %5 = weight {name="model.layers.0.self_attn.q_proj.weight"} : f32[16, 16]
  %6 = linear(%4, %5) : f32[T, 16]
  %7 = weight {name="model.layers.0.self_attn.k_proj.weight"} : f32[8, 16]
  %8 = linear(%4, %7) : f32[T, 8]
  %9 = weight {name="model.layers.0.self_attn.v_proj.weight"} : f32[8, 16]
  %10 = linear(%4, %9) : f32[T, 8]
  %11 = input {name="positions"} : i32[T]
  %12 = constant {values=[1.0, 0.01]} : f32[2]
  %13 = rope(%6, %11, %12) {head_dim=4, interleaved=false, scale=1.0} : f32[T, 16]
  %14 = rope(%8, %11, %12) {head_dim=4, interleaved=false, scale=1.0} : f32[T, 8]
  %15 = attention(%13, %14, %10) {head_dim=4, heads=4, kv_heads=2, layer=0, scale=0.5, softcap=0.0, window=0} : f32[T, 16]
  %16 = weight {name="model.layers.0.self_attn.o_proj.weight"} : f32[16, 16]
  %17 = linear(%15, %16) : f32[T, 16]
  %18 = add(%2, %17) : f32[T, 16]
  %19 = weight {name="model.layers.0.post_attention_layernorm.weight"} : f32[16]
  %20 = rms_norm(%18, %19) {eps=1e-05} : f32[T, 16]
  %21 = weight {name="model.layers.0.mlp.gate_proj.weight"} : f32[24, 16]
  %22 = linear(%20, %21) : f32[T, 24]
  %23 = weight {name="model.layers.0.mlp.up_proj.weight"} : f32[24, 16]
  %24 = linear(%20, %23) : f32[T, 24]
  %25 = activation(%22) {kind="silu"} : f32[T, 24]
  %26 = mul(%25, %24) : f32[T, 24]
  %27 = weight {name="model.layers.0.mlp.down_proj.weight"} : f32[16, 24]
  %28 = linear(%26, %27) : f32[T, 16]
  %29 = add(%18, %28) : f32[T, 16]
  %30 = weight {name="lm_head.weight"} : f32[32, 16]
  %31 = weight {name="model.norm.weight"} : f32[16]
  %32 = rms_norm(%29, %31) {eps=1e-05} : f32[T, 16]
  %33 = input {name="logit_rows"} : i32[R]
  %34 = gather_rows(%32, %33) : f32[R, 16]
  %35 = linear(%34, %30) : f32[R, 32]
  return logits=%35
}
)";

TEST(Llama, TinyModelIsThisGraph) {
  const ModelDefinition model = build_model(config_of(kConfig));
  EXPECT_EQ(print(model.graph), kGraph);
  EXPECT_EQ(model.info.family, "llama");
  EXPECT_EQ(model.info.vocab_size, 32);
  EXPECT_EQ(model.info.hidden_size, 16);
  EXPECT_EQ(model.info.layers, 1);
  EXPECT_EQ(model.info.heads, 4);
  EXPECT_EQ(model.info.kv_heads, 2);
  EXPECT_EQ(model.info.head_dim, 4);
  EXPECT_EQ(model.info.max_positions, 2048);
}

TEST(Llama, HeadDimMayBeGiven) {
  const Graph graph = build_model(config_of(kConfig, R"({"head_dim": 8})")).graph;
  const auto tensors = tensors_of(graph);
  EXPECT_EQ(tensors.at("model.layers.0.self_attn.q_proj.weight").shape, Shape({32, 16}));
  EXPECT_EQ(tensors.at("model.layers.0.self_attn.k_proj.weight").shape, Shape({16, 16}));
  EXPECT_EQ(tensors.at("model.layers.0.self_attn.o_proj.weight").shape, Shape({16, 32}));
}

TEST(Llama, HeadCountsDefaultToMultiHead) {
  const ModelDefinition model = build_model(config_of(kConfig, R"({"num_key_value_heads": null})"));
  EXPECT_EQ(model.info.kv_heads, 4);
}

TEST(Llama, ATiedHeadIsTheEmbedding) {
  const Json config = config_of(kConfig, R"({"tie_word_embeddings": true})");
  const Graph graph = build_model(config).graph;
  EXPECT_FALSE(tensors_of(graph).contains("lm_head.weight"));
  EXPECT_EQ(graph.producer(graph.outputs()[0].second).inputs[1],
            first(graph, "embedding").inputs[1]);
  // Even if the checkpoint has a head of its own.
  auto tensors = tensors_of(graph);
  tensors["lm_head.weight"] = {DType::kF32, {32, 16}};
  EXPECT_EQ(print(build_model(config, lookup_in(tensors)).graph), print(graph));
}

TEST(Llama, AnUntiedHeadThatIsMissingIsNamed) {
  auto tensors = tensors_of(build_model(config_of(kConfig)).graph);
  tensors.erase("lm_head.weight");
  tensors["model.norm.weight"].shape = {15};
  EXPECT_EQ(error_of([&] { build_model(config_of(kConfig), lookup_in(tensors)); }),
            "[llama] 2 tensors of the checkpoint must fit its configuration:\n"
            "  'lm_head.weight' must be [32, 16], but is missing\n"
            "  'model.norm.weight' must be [16], got [15]");
}

TEST(Llama, BiasesAreThereByConfigOrElseByPresence) {
  const auto biases = [](const char* changes, const WeightLookup& weights) {
    std::string names;
    const auto tensors = tensors_of(build_model(config_of(kConfig, changes), weights).graph);
    for (const auto& [name, info] : tensors)
      if (name.ends_with("_proj.bias")) names += name.substr(name.find("0.") + 2) + " ";
    return names;
  };
  EXPECT_EQ(biases("{}", {}), "");
  EXPECT_EQ(biases(R"({"mlp_bias": true})", {}),
            "mlp.down_proj.bias mlp.gate_proj.bias mlp.up_proj.bias ");
  EXPECT_EQ(biases(R"({"attention_bias": true})", {}),
            "self_attn.k_proj.bias self_attn.o_proj.bias self_attn.q_proj.bias "
            "self_attn.v_proj.bias ");
  auto tensors = tensors_of(build_model(config_of(kConfig)).graph);
  tensors["model.layers.0.self_attn.q_proj.bias"] = {DType::kF32, {16}};
  EXPECT_EQ(biases("{}", lookup_in(tensors)), "self_attn.q_proj.bias ");
  EXPECT_EQ(biases(R"({"attention_bias": false})", lookup_in(tensors)), "");
}

TEST(Llama, OnlyMistralSlidesItsWindow) {
  const auto window = [](const char* changes) {
    const ModelDefinition model = build_model(config_of(kConfig, changes));
    return first(model.graph, "attention").attributes.get_int("window");
  };
  EXPECT_EQ(window(R"({"architectures": ["MistralForCausalLM"], "sliding_window": 32})"), 32);
  EXPECT_EQ(window(R"({"architectures": ["MistralForCausalLM"], "sliding_window": null})"), 0);
  EXPECT_EQ(window(R"({"sliding_window": 32})"), 0);
  const Json mistral = config_of(kConfig, R"({"architectures": ["MistralForCausalLM"]})");
  EXPECT_EQ(build_model(mistral).info.family, "mistral");
}

TEST(Llama, GgufPairsNeighboursAndTiesByAbsence) {
  const Json config = config_of(kConfig, R"({"gguf": true, "vocab_size": null})");
  auto tensors = tensors_of(build_model(config_of(kConfig)).graph);
  const ModelDefinition untied = build_model(config, lookup_in(tensors));
  EXPECT_TRUE(first(untied.graph, "rope").attributes.get_bool("interleaved"));
  EXPECT_TRUE(tensors_of(untied.graph).contains("lm_head.weight"));
  EXPECT_EQ(untied.info.vocab_size, 32);  // the embedding's rows
  tensors.erase("lm_head.weight");
  const ModelDefinition tied = build_model(config, lookup_in(tensors));
  EXPECT_FALSE(tensors_of(tied.graph).contains("lm_head.weight"));
}

TEST(Llama, GgufBringsItsFrequencyDivisors) {
  auto tensors = tensors_of(build_model(config_of(kConfig)).graph);
  tensors["rope_freqs.weight"] = {DType::kF32, {2}};
  const Json without = config_of(kConfig, R"({"gguf": true})");
  EXPECT_EQ(error_of([&] { build_model(without, lookup_in(tensors)); }),
            "[config.json] field 'rope_divisors' must hold the values of tensor rope_freqs.weight");
  const Json with = config_of(kConfig, R"({"gguf": true, "rope_divisors": [1, 8]})");
  const Graph graph = build_model(with, lookup_in(tensors)).graph;
  EXPECT_EQ(first(graph, "constant").attributes.get_doubles("values"),
            (std::vector<double>{1.0, 0.01 / 8}));
}

TEST(Llama, ConfigErrorsNameTheField) {
  const auto error = [](const char* changes) {
    return error_of([&] { build_model(config_of(kConfig, changes)); });
  };
  EXPECT_EQ(error(R"({"num_key_value_heads": 3})"),
            "[config.json] num_attention_heads must be a multiple of num_key_value_heads 3, got 4");
  EXPECT_EQ(error(R"({"hidden_size": 18})"),
            "[config.json] hidden_size must be a multiple of num_attention_heads 4, got 18");
  EXPECT_EQ(error(R"({"num_hidden_layers": 1000000000})"),
            "[config.json] field 'num_hidden_layers' or 'n_layer' must be an integer in [1, 1024], "
            "got 1000000000");
  EXPECT_EQ(error(R"({"intermediate_size": null})"),
            "[config.json] field 'intermediate_size' is missing");
  EXPECT_EQ(error(R"({"rms_norm_eps": -1})"),
            "[config.json] field 'rms_norm_eps' must be in [0, 1], got -1");
  EXPECT_EQ(error(R"({"hidden_act": "mish"})"),
            "[config.json] field 'hidden_act' must be one of silu, gelu, gelu_tanh, relu, swish, "
            "gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh, got \"mish\"");
  EXPECT_EQ(error(R"({"head_dim": 3})"),
            "[config.json] the rotary part of a head of 3 must be an even number of at least 2, "
            "got 3");
}

}  // namespace
}  // namespace brayton
