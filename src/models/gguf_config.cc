// GGUF metadata under the names of config.json, and GGUF tensor names under those of a family.
// Source of the keys: github.com/ggml-org/ggml, docs/gguf.md, and llama.cpp's converter.
#include <algorithm>

#include "core/format.h"
#include "models/families.h"

namespace brayton {
namespace {

struct Renamed {
  std::string_view gguf;  // after "{arch}."
  std::string_view config;
};

constexpr Renamed kFields[] = {
    {"vocab_size", "vocab_size"},
    {"context_length", "max_position_embeddings"},
    {"embedding_length", "hidden_size"},
    {"block_count", "num_hidden_layers"},
    {"feed_forward_length", "intermediate_size"},
    {"use_parallel_residual", "use_parallel_residual"},
    {"attention.head_count", "num_attention_heads"},
    {"attention.head_count_kv", "num_key_value_heads"},
    {"attention.key_length", "head_dim"},
    {"attention.layer_norm_epsilon", "layer_norm_eps"},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps"},
    {"attention.sliding_window", "sliding_window"},
    {"rope.freq_base", "rope_theta"},
    {"rope.dimension_count", "rotary_dim"},
};

constexpr Renamed kScalingFields[] = {
    {"rope.scaling.type", "rope_type"},
    {"rope.scaling.factor", "factor"},
    {"rope.scaling.original_context_length", "original_max_position_embeddings"},
    {"rope.scaling.yarn_attn_factor", "attention_factor"},
    {"rope.scaling.yarn_beta_fast", "beta_fast"},
    {"rope.scaling.yarn_beta_slow", "beta_slow"},
};

std::string shown(const Json& value) {
  return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60);
}

// Dimensions that this form of the config cannot say.
void check_plain(const JsonReader& metadata, const std::string& prefix) {
  const auto reject = [&](const std::string& field, const std::string& expected) {
    throw_error(ErrorCode::kUnsupported, "[{}] '{}' must be {}, got {}", metadata.where(), field,
                expected, shown(metadata.json()[field]));
  };
  const std::string experts = prefix + "expert_count";
  if (metadata.get_int({experts}, 0, INT32_MAX, 0) > 0) reject(experts, "0");
  const std::string key = prefix + "attention.key_length";
  const std::string value = prefix + "attention.value_length";
  if (metadata.has(key) && metadata.has(value) && metadata.json()[key] != metadata.json()[value])
    reject(value, format("{} as {} is", shown(metadata.json()[key]), key));
}

}  // namespace

Json config_from_gguf(const Json& metadata, const std::string& where) {
  const JsonReader reader(metadata, where);
  const std::string architecture = reader.get_string({"general.architecture"});
  Json config = Json::object();
  config["gguf"] = true;
  config["model_type"] = find_gguf_family(architecture, where).name;
  const std::string prefix = architecture + ".";
  check_plain(reader, prefix);
  const auto copy = [&](const Renamed& field, Json& target) {
    const std::string key = prefix + std::string(field.gguf);
    if (reader.has(key)) target[std::string(field.config)] = metadata[key];
  };
  for (const Renamed& field : kFields) copy(field, config);
  Json scaling = Json::object();
  for (const Renamed& field : kScalingFields) copy(field, scaling);
  if (scaling.contains("rope_type") && scaling["rope_type"] != "none")
    config["rope_scaling"] = std::move(scaling);
  return config;
}

std::string name_from_gguf(const Family& family, const std::string& gguf_name) {
  const size_t dot = gguf_name.rfind('.');
  if (dot == std::string::npos) return gguf_name;
  std::string stem = gguf_name.substr(0, dot);
  std::string layer;
  const std::string_view block = "blk.";
  if (stem.starts_with(block)) {
    const size_t end = stem.find('.', block.size());
    if (end == std::string::npos) return gguf_name;
    layer = stem.substr(block.size(), end - block.size());
    stem = format("{}*{}", block, stem.substr(end));
  }
  for (const auto& [from, to] : family.gguf_names) {
    if (from != stem) continue;
    std::string name = to;
    const size_t star = name.find('*');
    if (star != std::string::npos) name.replace(star, 1, layer);
    return name + gguf_name.substr(dot);
  }
  return gguf_name;
}

}  // namespace brayton
