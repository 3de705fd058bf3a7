// GPT-2: learned positions, LayerNorm, one product for q, k and v, weights stored [in, out].
#include <cmath>

#include "models/blocks/attention.h"
#include "models/blocks/config.h"
#include "models/blocks/projection.h"

namespace brayton {
namespace {

struct Gpt2Config {
  ModelInfo info;
  AttentionOptions attention;
  bool scale_by_layer;  // scores of layer i are also divided by i + 1
  int64_t width;
  ActivationKind activation;
  double eps;
  bool transposed;  // weights are [in, out]
  bool tied;
};

Gpt2Config read_config(const JsonReader& json, const WeightLookup& weights) {
  Gpt2Config c;
  c.info = read_model_info(json, "gpt2", 1024, weights, "wte.weight");
  c.attention = multi_head_attention(json, c.info);
  const bool scaled = json.get_bool({"scale_attn_weights"}, true);
  c.attention.scale = scaled ? 1.0 / std::sqrt(static_cast<double>(c.info.head_dim)) : 1.0;
  c.scale_by_layer = json.get_bool({"scale_attn_by_inverse_layer_idx"}, false);
  c.width = json.get_int({"n_inner", "intermediate_size"}, 1, kMaxIntermediateSize,
                         4 * c.info.hidden_size);
  c.activation = read_activation(json, "activation_function", "gelu_new");
  c.eps = read_eps(json, {"layer_norm_epsilon", "layer_norm_eps"}, 1e-5);
  c.transposed = !is_gguf(json);
  const bool has_head = is_gguf(json) && weights && weights("lm_head.weight");
  c.tied = json.get_bool({"tie_word_embeddings"}, !has_head);
  return c;
}

Value weight(GraphBuilder& g, const Gpt2Config& c, const Scope& w, int64_t in, int64_t out) {
  return c.transposed ? g.transpose(g.weight(w / "weight", {in, out}))
                      : g.weight(w / "weight", {out, in});
}

Value conv1d(GraphBuilder& g, const Gpt2Config& c, const Scope& w, Value x, int64_t out) {
  const Value stored = weight(g, c, w, x.type().dims.back().size, out);
  return g.linear(x, stored, g.weight(w / "bias", {out}));
}

Value attention(GraphBuilder& g, const Gpt2Config& c, const Scope& w, Value x, int64_t index) {
  const int64_t size = c.info.hidden_size;
  const Value stored = weight(g, c, w / "c_attn", size, 3 * size);
  const Qkv qkv = fused_qkv(g, x, stored, g.weight(w / "c_attn" / "bias", {3 * size}));
  AttentionOptions options = c.attention;
  if (c.scale_by_layer) options.scale /= static_cast<double>(index + 1);
  return conv1d(g, c, w / "c_proj", g.attention(qkv.q, qkv.k, qkv.v, options), size);
}

Value mlp(GraphBuilder& g, const Gpt2Config& c, const Scope& w, Value x) {
  const Value hidden = g.activation(conv1d(g, c, w / "c_fc", x, c.width), c.activation);
  return conv1d(g, c, w / "c_proj", hidden, c.info.hidden_size);
}

Value layer(GraphBuilder& g, const Gpt2Config& c, const Scope& w, Value x, int64_t index) {
  x = x + attention(g, c, w / "attn", layer_norm(g, w / "ln_1", x, c.eps), index);
  return x + mlp(g, c, w / "mlp", layer_norm(g, w / "ln_2", x, c.eps));
}

ModelDefinition build_gpt2(const JsonReader& json, DType dtype, const WeightLookup& weights) {
  const Gpt2Config c = read_config(json, weights);
  const ModelInfo& info = c.info;
  GraphBuilder g(info.family, dtype, weights);
  // Checkpoints of the bare model lack the prefix.
  const Scope root, prefixed("transformer");
  const Scope model = g.has_weight(prefixed / "wte" / "weight") ? prefixed : root;
  const Value tokens = g.weight(model / "wte" / "weight", {info.vocab_size, info.hidden_size});
  const Value places = g.weight(model / "wpe" / "weight", {info.max_positions, info.hidden_size});
  Value x = g.embedding(g.token_ids(), tokens);
  x = x + g.embedding(g.positions(), places);
  for (int64_t i = 0; i < info.layers; ++i) x = layer(g, c, model / "h" / i, x, i);
  x = layer_norm(g, model / "ln_f", x, c.eps);
  const Value head =
      c.tied ? tokens : g.weight(root / "lm_head" / "weight", {info.vocab_size, info.hidden_size});
  return {info, g.finish(lm_head(g, x, head))};
}

}  // namespace

Family gpt2_family() {
  const std::string block = "blk.*.", layer = "h.*.";
  return {"gpt2",
          {"GPT2LMHeadModel", "gpt2"},
          "gpt2",
          {{"token_embd", "wte"},
           {"position_embd", "wpe"},
           {"output_norm", "ln_f"},
           {"output", "lm_head"},
           {block + "attn_norm", layer + "ln_1"},
           {block + "attn_qkv", layer + "attn.c_attn"},
           {block + "attn_output", layer + "attn.c_proj"},
           {block + "ffn_norm", layer + "ln_2"},
           {block + "ffn_up", layer + "mlp.c_fc"},
           {block + "ffn_down", layer + "mlp.c_proj"}},
          build_gpt2};
}

}  // namespace brayton
