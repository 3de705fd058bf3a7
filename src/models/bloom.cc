// BLOOM: ALiBi instead of positions, a LayerNorm after the embedding, q, k and v interleaved by
// head, the tanh form of gelu.
#include "models/blocks/alibi.h"
#include "models/blocks/attention.h"
#include "models/blocks/config.h"
#include "models/blocks/projection.h"

namespace brayton {
namespace {

struct BloomConfig {
  ModelInfo info;
  AttentionOptions attention;
  double eps;
  bool residual_after_norm;
  bool interleaved_qkv;
  bool tied;
};

BloomConfig read_config(const JsonReader& json, const WeightLookup& weights) {
  BloomConfig c;
  c.info = read_model_info(json, "bloom", 2048, weights, "word_embeddings.weight");
  c.attention = multi_head_attention(json, c.info);
  c.attention.slopes = alibi_slopes(c.info.heads);
  c.eps = read_eps(json, {"layer_norm_epsilon", "layer_norm_eps"}, 1e-5);
  c.residual_after_norm = json.get_bool({"apply_residual_connection_post_layernorm"}, false);
  c.interleaved_qkv = !is_gguf(json);
  const bool has_head = is_gguf(json) && weights && weights("lm_head.weight");
  c.tied = json.get_bool({"tie_word_embeddings"}, !has_head);
  return c;
}

Value attention(GraphBuilder& g, const BloomConfig& c, const Scope& w, Value x) {
  const int64_t size = c.info.hidden_size;
  const auto rows = [&](Value fused) {
    return c.interleaved_qkv ? stack_qkv_rows(g, fused, c.info.heads) : fused;
  };
  const Scope fused = w / "query_key_value";
  const Value weight = rows(g.weight(fused / "weight", {3 * size, size}));
  const Qkv qkv = fused_qkv(g, x, weight, rows(g.weight(fused / "bias", {3 * size})));
  const Value y = g.attention(qkv.q, qkv.k, qkv.v, c.attention);
  return project(g, w / "dense", y, size, Bias::kPresent);
}

Value mlp(GraphBuilder& g, const Scope& w, Value x, int64_t size) {
  const Value hidden = project(g, w / "dense_h_to_4h", x, 4 * size, Bias::kPresent);
  return project(g, w / "dense_4h_to_h", g.activation(hidden, ActivationKind::kGeluTanh), size,
                 Bias::kPresent);
}

Value layer(GraphBuilder& g, const BloomConfig& c, const Scope& w, Value x) {
  const Value a = layer_norm(g, w / "input_layernorm", x, c.eps);
  x = (c.residual_after_norm ? a : x) + attention(g, c, w / "self_attention", a);
  const Value b = layer_norm(g, w / "post_attention_layernorm", x, c.eps);
  return (c.residual_after_norm ? b : x) + mlp(g, w / "mlp", b, c.info.hidden_size);
}

ModelDefinition build_bloom(const JsonReader& json, DType dtype, const WeightLookup& weights) {
  const BloomConfig c = read_config(json, weights);
  GraphBuilder g(c.info.family, dtype, weights);
  // Checkpoints of the bare model lack the prefix.
  const Scope root, prefixed("transformer");
  const Scope model = g.has_weight(prefixed / "word_embeddings" / "weight") ? prefixed : root;
  const Shape table = {c.info.vocab_size, c.info.hidden_size};
  const Value embedding = g.weight(model / "word_embeddings" / "weight", table);
  Value x = g.embedding(g.token_ids(), embedding);
  x = layer_norm(g, model / "word_embeddings_layernorm", x, c.eps);
  for (int64_t i = 0; i < c.info.layers; ++i) x = layer(g, c, model / "h" / i, x);
  x = layer_norm(g, model / "ln_f", x, c.eps);
  const Value head = c.tied ? embedding : g.weight(root / "lm_head" / "weight", table);
  return {c.info, g.finish(lm_head(g, x, head))};
}

}  // namespace

Family bloom_family() {
  const std::string block = "blk.*.", layer = "h.*.";
  return {"bloom",
          {"BloomForCausalLM", "bloom"},
          "bloom",
          {{"token_embd", "word_embeddings"},
           {"token_embd_norm", "word_embeddings_layernorm"},
           {"output_norm", "ln_f"},
           {"output", "lm_head"},
           {block + "attn_norm", layer + "input_layernorm"},
           {block + "attn_qkv", layer + "self_attention.query_key_value"},
           {block + "attn_output", layer + "self_attention.dense"},
           {block + "ffn_norm", layer + "post_attention_layernorm"},
           {block + "ffn_up", layer + "mlp.dense_h_to_4h"},
           {block + "ffn_down", layer + "mlp.dense_4h_to_h"}},
          build_bloom};
}

}  // namespace brayton
