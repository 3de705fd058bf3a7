#include "models/blocks/config.h"

namespace brayton {
namespace {

int64_t read_vocab_size(const JsonReader& config, const WeightLookup& weights,
                        const std::string& embedding) {
  if (!config.has("vocab_size") && is_gguf(config) && weights) {
    const std::optional<WeightInfo> table = weights(embedding);
    if (table && table->shape.rank() == 2) return table->shape[0];
  }
  return config.get_int({"vocab_size"}, 1, kMaxVocabSize);
}

}  // namespace

ModelInfo read_model_info(const JsonReader& config, const std::string& family,
                          int64_t default_positions, const WeightLookup& weights,
                          const std::string& embedding) {
  ModelInfo info;
  info.family = family;
  info.vocab_size = read_vocab_size(config, weights, embedding);
  info.hidden_size = config.get_int({"hidden_size", "n_embd", "n_embed"}, 1, kMaxHiddenSize);
  info.layers = config.get_int({"num_hidden_layers", "n_layer"}, 1, kMaxLayers);
  info.heads = config.get_int({"num_attention_heads", "n_head"}, 1, kMaxHeads);
  info.kv_heads = info.heads;
  if (!config.has("head_dim") && info.hidden_size % info.heads != 0)
    config_error(config, "hidden_size must be a multiple of num_attention_heads {}, got {}",
                 info.heads, info.hidden_size);
  info.head_dim = config.get_int({"head_dim"}, 1, kMaxHeadDim, info.hidden_size / info.heads);
  info.max_positions =
      config.get_int({"max_position_embeddings", "n_positions", "n_ctx", "seq_length"}, 1,
                     kMaxPositions, default_positions);
  return info;
}

double read_eps(const JsonReader& config, JsonReader::Names fields, double otherwise) {
  const double eps = config.get_double(fields, otherwise);
  if (eps < 0.0 || eps > 1.0)
    config_error(config, "field '{}' must be in [0, 1], got {}", fmt::join(fields, "' or '"), eps);
  return eps;
}

ActivationKind read_activation(const JsonReader& config, const std::string& field,
                               const std::string& otherwise) {
  return activation_from_name(config.get_string({field}, otherwise),
                              format("[{}] field '{}'", config.where(), field));
}

}  // namespace brayton
