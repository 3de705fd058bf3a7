// GGUF metadata becomes the config that the same model's config.json would be, and GGUF's tensor
// names the family's.
#include <gtest/gtest.h>

#include "testing/build_model.h"

namespace brayton {
namespace {

using testing::build_model;
using testing::error_of;

// That of SmolLM2-135M-Instruct, with 2 layers.
const char* kMetadata = R"({
  "general.architecture": "llama", "llama.block_count": 2, "llama.context_length": 8192,
  "llama.embedding_length": 576, "llama.feed_forward_length": 1536,
  "llama.attention.head_count": 9, "llama.attention.head_count_kv": 3,
  "llama.rope.freq_base": 100000.0, "llama.attention.layer_norm_rms_epsilon": 1e-05,
  "llama.vocab_size": 49152, "llama.rope.dimension_count": 64
})";

Json metadata(const char* changes = "{}") {
  Json json = parse_json(kMetadata, "x.gguf");
  json.merge_patch(parse_json(changes, "changes"));
  return json;
}

TEST(GgufConfig, MetadataUnderTheNamesOfConfigJson) {
  const Json config = config_from_gguf(metadata(), "x.gguf");
  EXPECT_EQ(config, parse_json(R"({"gguf": true, "model_type": "llama", "vocab_size": 49152,
    "max_position_embeddings": 8192, "hidden_size": 576, "num_hidden_layers": 2,
    "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3,
    "rms_norm_eps": 1e-05, "rope_theta": 100000.0, "rotary_dim": 64})",
                               "expected"));
  const ModelDefinition model = build_model(config);
  EXPECT_EQ(model.info.family, "llama");
  EXPECT_EQ(model.info.head_dim, 64);
  EXPECT_EQ(model.info.max_positions, 8192);
}

TEST(GgufConfig, ScalingKeys) {
  const Json config = config_from_gguf(
      metadata(R"({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0,
        "llama.rope.scaling.original_context_length": 2048})"),
      "x.gguf");
  EXPECT_EQ(config["rope_scaling"], parse_json(R"({"rope_type": "yarn", "factor": 4.0,
    "original_max_position_embeddings": 2048})",
                                               "expected"));
  EXPECT_EQ(build_model(config).info.max_positions, 8192);
  EXPECT_FALSE(config_from_gguf(metadata(R"({"llama.rope.scaling.type": "none"})"), "x.gguf")
                   .contains("rope_scaling"));
}

TEST(GgufConfig, EveryArchitectureBuilds) {
  const Json llama = metadata(R"({"llama.attention.layer_norm_epsilon": 0.5})");
  for (const std::string architecture : {"llama", "gpt2", "gptneox", "bloom"}) {
    SCOPED_TRACE(architecture);
    Json json = Json::object();
    for (const auto& [name, value] : llama.items())
      json[name.starts_with("llama.") ? architecture + name.substr(5) : name] = value;
    json["general.architecture"] = architecture;
    const ModelDefinition model = build_model(config_from_gguf(json, "x.gguf"));
    EXPECT_EQ(model.info.layers, 2);
    if (architecture == "llama") continue;
    EXPECT_EQ(testing::first(model.graph, "layer_norm").attributes.get_double("eps"), 0.5);
  }
}

TEST(GgufConfig, UnknownArchitecturesAndShapesAreRefused) {
  const auto error = [](const char* changes) {
    return error_of([&] { config_from_gguf(metadata(changes), "x"); });
  };
  EXPECT_EQ(error(R"({"general.architecture": "llama5"})"),
            "[x] general.architecture must be of one of the families llama, mistral, gpt2, "
            "gpt_neox, bloom; got 'llama5', the nearest known name is 'llama'");
  EXPECT_EQ(error(R"({"llama.expert_count": 8})"), "[x] 'llama.expert_count' must be 0, got 8");
  EXPECT_EQ(error(R"({"llama.attention.key_length": 64, "llama.attention.value_length": 32})"),
            "[x] 'llama.attention.value_length' must be 64 as llama.attention.key_length is, "
            "got 32");
}

TEST(GgufConfig, TensorNames) {
  const auto name = [](const char* architecture, const char* gguf) {
    return name_from_gguf(find_gguf_family(architecture, "x"), gguf);
  };
  EXPECT_EQ(name("llama", "token_embd.weight"), "model.embed_tokens.weight");
  EXPECT_EQ(name("llama", "output.weight"), "lm_head.weight");
  EXPECT_EQ(name("llama", "blk.12.attn_q.bias"), "model.layers.12.self_attn.q_proj.bias");
  EXPECT_EQ(name("llama", "rope_freqs.weight"), "rope_freqs.weight");
  EXPECT_EQ(name("gpt2", "blk.0.attn_qkv.weight"), "h.0.attn.c_attn.weight");
  EXPECT_EQ(name("gpt2", "position_embd.weight"), "wpe.weight");
  EXPECT_EQ(name("gptneox", "blk.3.ffn_up.bias"), "gpt_neox.layers.3.mlp.dense_h_to_4h.bias");
  EXPECT_EQ(name("bloom", "token_embd_norm.weight"), "word_embeddings_layernorm.weight");
  for (const char* odd : {"", "weight", "blk", "blk.", "blk.weight", "blk.1.weight", "blk.1.x.y.z"})
    EXPECT_EQ(name("llama", odd), odd);
}

}  // namespace
}  // namespace brayton
