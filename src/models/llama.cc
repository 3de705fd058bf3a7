// LLaMA 1 to 3 and Mistral: RMSNorm, rotary positions, grouped-query attention, gated MLP.
#include "models/blocks/config.h"
#include "models/blocks/mlp.h"
#include "models/blocks/rotary.h"

namespace brayton {
namespace {

struct LlamaConfig {
  ModelInfo info;
  AttentionOptions attention;
  Bias attention_bias;
  RopeOptions rope;
  GatedMlpOptions mlp;
  double eps;
  bool tied;
};

LlamaConfig read_config(const JsonReader& json, const WeightLookup& weights) {
  LlamaConfig c;
  ModelInfo& info = c.info;
  info = read_model_info(json, "llama", 2048, weights, "model.embed_tokens.weight");
  info.kv_heads = json.get_int({"num_key_value_heads"}, 1, info.heads, info.heads);
  if (info.heads % info.kv_heads != 0)
    config_error(json, "num_attention_heads must be a multiple of num_key_value_heads {}, got {}",
                 info.kv_heads, info.heads);

  // GGUF holds the llama3 rule as a tensor of divisors, which the config must bring along.
  const bool gguf = is_gguf(json);
  if (gguf && weights && weights("rope_freqs.weight") && !json.has("rope_divisors"))
    config_error(json, "field 'rope_divisors' must hold the values of tensor rope_freqs.weight");
  Rotary rotary = read_rotary(json, info.head_dim, info.max_positions);
  rotary.options.interleaved = gguf;  // GGUF permutes the rows of q and k to neighbouring pairs
  info.max_positions = rotary.max_positions;
  c.rope = rotary.options;
  c.attention = {.heads = info.heads, .kv_heads = info.kv_heads, .head_dim = info.head_dim};
  c.attention_bias = read_bias(json, "attention_bias");
  c.mlp = {.width = json.get_int({"intermediate_size"}, 1, kMaxIntermediateSize),
           .activation = read_activation(json, "hidden_act", "silu"),
           .bias = read_bias(json, "mlp_bias")};
  c.eps = read_eps(json, {"rms_norm_eps"}, 1e-6);
  // A GGUF file says that the head is tied by having none.
  c.tied = json.get_bool({"tie_word_embeddings"}, gguf && weights && !weights("lm_head.weight"));
  return c;
}

Value norm(GraphBuilder& g, const LlamaConfig& c, const Scope& w, Value x) {
  return g.rms_norm(x, g.weight(w / "weight", {c.info.hidden_size}), c.eps);
}

Value attention(GraphBuilder& g, const LlamaConfig& c, const Scope& w, Value x) {
  const int64_t q_size = c.info.heads * c.info.head_dim;
  const int64_t kv_size = c.info.kv_heads * c.info.head_dim;
  const Value q = project(g, w / "q_proj", x, q_size, c.attention_bias);
  const Value k = project(g, w / "k_proj", x, kv_size, c.attention_bias);
  const Value v = project(g, w / "v_proj", x, kv_size, c.attention_bias);
  const Value turned_q = g.rope(q, g.positions(), c.info.head_dim, c.rope);
  const Value turned_k = g.rope(k, g.positions(), c.info.head_dim, c.rope);
  const Value y = g.attention(turned_q, turned_k, v, c.attention);
  return project(g, w / "o_proj", y, c.info.hidden_size, c.attention_bias);
}

Value layer(GraphBuilder& g, const LlamaConfig& c, const Scope& w, Value x) {
  x = x + attention(g, c, w / "self_attn", norm(g, c, w / "input_layernorm", x));
  return x + gated_mlp(g, w / "mlp", norm(g, c, w / "post_attention_layernorm", x), c.mlp);
}

ModelDefinition build(const LlamaConfig& c, DType dtype, const WeightLookup& weights) {
  GraphBuilder g(c.info.family, dtype, weights);
  const Scope root, model = root / "model";
  const Shape table = {c.info.vocab_size, c.info.hidden_size};
  const Value embedding = g.weight(model / "embed_tokens" / "weight", table);
  Value x = g.embedding(g.token_ids(), embedding);
  for (int64_t i = 0; i < c.info.layers; ++i) x = layer(g, c, model / "layers" / i, x);
  const Value head = c.tied ? embedding : g.weight(root / "lm_head" / "weight", table);
  return {c.info, g.finish(lm_head(g, norm(g, c, model / "norm", x), head))};
}

ModelDefinition build_llama(const JsonReader& json, DType dtype, const WeightLookup& weights) {
  LlamaConfig c = read_config(json, weights);
  // Llama's own configs may carry a window that it does not use; GGUF has one name for both.
  if (is_gguf(json)) c.attention.window = json.get_int({"sliding_window"}, 0, kMaxPositions, 0);
  return build(c, dtype, weights);
}

ModelDefinition build_mistral(const JsonReader& json, DType dtype, const WeightLookup& weights) {
  LlamaConfig c = read_config(json, weights);
  c.info.family = "mistral";
  c.attention.window = json.get_int({"sliding_window"}, 0, kMaxPositions, 0);
  return build(c, dtype, weights);
}

}  // namespace

Family llama_family() {
  const std::string block = "blk.*.", layer = "model.layers.*.";
  return {"llama",
          {"LlamaForCausalLM", "LLaMAForCausalLM", "llama"},
          "llama",
          {{"token_embd", "model.embed_tokens"},
           {"output_norm", "model.norm"},
           {"output", "lm_head"},
           {block + "attn_norm", layer + "input_layernorm"},
           {block + "attn_q", layer + "self_attn.q_proj"},
           {block + "attn_k", layer + "self_attn.k_proj"},
           {block + "attn_v", layer + "self_attn.v_proj"},
           {block + "attn_output", layer + "self_attn.o_proj"},
           {block + "ffn_norm", layer + "post_attention_layernorm"},
           {block + "ffn_gate", layer + "mlp.gate_proj"},
           {block + "ffn_up", layer + "mlp.up_proj"},
           {block + "ffn_down", layer + "mlp.down_proj"}},
          build_llama};
}

Family mistral_family() {
  return {"mistral", {"MistralForCausalLM", "mistral"}, "", {}, build_mistral};
}

}  // namespace brayton
