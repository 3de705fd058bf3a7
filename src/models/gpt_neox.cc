// GPT-NeoX (Pythia, RedPajama-INCITE): rotary positions on a part of each head, attention and MLP
// side by side or one after the other, q, k and v interleaved by head.
#include "models/blocks/attention.h"
#include "models/blocks/config.h"
#include "models/blocks/projection.h"
#include "models/blocks/rotary.h"

namespace brayton {
namespace {

struct GptNeoxConfig {
  ModelInfo info;
  AttentionOptions attention;
  Bias attention_bias;
  RopeOptions rope;
  int64_t width;
  ActivationKind activation;
  double eps;
  bool parallel_residual;
  bool interleaved_qkv;
  bool tied;
};

GptNeoxConfig read_config(const JsonReader& json, const WeightLookup& weights) {
  GptNeoxConfig c;
  c.info = read_model_info(json, "gpt_neox", 2048, weights, "gpt_neox.embed_in.weight");
  c.attention = multi_head_attention(json, c.info);
  c.attention_bias = json.get_bool({"attention_bias"}, true) ? Bias::kPresent : Bias::kNone;
  const Rotary rotary = read_rotary(json, c.info.head_dim, c.info.max_positions, 0.25);
  c.info.max_positions = rotary.max_positions;
  c.rope = rotary.options;
  c.width = json.get_int({"intermediate_size"}, 1, kMaxIntermediateSize);
  c.activation = read_activation(json, "hidden_act", "gelu");
  c.eps = read_eps(json, {"layer_norm_eps"}, 1e-5);
  c.parallel_residual = json.get_bool({"use_parallel_residual"}, true);
  c.interleaved_qkv = !is_gguf(json);
  c.tied = json.get_bool({"tie_word_embeddings"}, false);
  return c;
}

Value attention(GraphBuilder& g, const GptNeoxConfig& c, const Scope& w, Value x) {
  const int64_t size = c.info.hidden_size;
  const auto rows = [&](Value fused) {
    return fused && c.interleaved_qkv ? stack_qkv_rows(g, fused, c.info.heads) : fused;
  };
  const Scope fused = w / "query_key_value";
  const Value weight = rows(g.weight(fused / "weight", {3 * size, size}));
  const Value bias = rows(bias_of(g, fused, 3 * size, c.attention_bias));
  const Qkv qkv = fused_qkv(g, x, weight, bias);
  const Value q = g.rope(qkv.q, g.positions(), c.info.head_dim, c.rope);
  const Value k = g.rope(qkv.k, g.positions(), c.info.head_dim, c.rope);
  const Value y = g.attention(q, k, qkv.v, c.attention);
  return project(g, w / "dense", y, size, c.attention_bias);
}

Value mlp(GraphBuilder& g, const GptNeoxConfig& c, const Scope& w, Value x) {
  const Value hidden = project(g, w / "dense_h_to_4h", x, c.width, Bias::kPresent);
  return project(g, w / "dense_4h_to_h", g.activation(hidden, c.activation), c.info.hidden_size,
                 Bias::kPresent);
}

Value layer(GraphBuilder& g, const GptNeoxConfig& c, const Scope& w, Value x) {
  const Value a = layer_norm(g, w / "input_layernorm", x, c.eps);
  const Value y = x + attention(g, c, w / "attention", a);
  const Value b = layer_norm(g, w / "post_attention_layernorm", c.parallel_residual ? x : y, c.eps);
  return y + mlp(g, c, w / "mlp", b);
}

ModelDefinition build_gpt_neox(const JsonReader& json, DType dtype, const WeightLookup& weights) {
  const GptNeoxConfig c = read_config(json, weights);
  GraphBuilder g(c.info.family, dtype, weights);
  const Scope root, model = root / "gpt_neox";
  const Shape table = {c.info.vocab_size, c.info.hidden_size};
  const Value embedding = g.weight(model / "embed_in" / "weight", table);
  Value x = g.embedding(g.token_ids(), embedding);
  for (int64_t i = 0; i < c.info.layers; ++i) x = layer(g, c, model / "layers" / i, x);
  x = layer_norm(g, model / "final_layer_norm", x, c.eps);
  const Value head = c.tied ? embedding : g.weight(root / "embed_out" / "weight", table);
  return {c.info, g.finish(lm_head(g, x, head))};
}

}  // namespace

Family gpt_neox_family() {
  const std::string block = "blk.*.", layer = "gpt_neox.layers.*.";
  return {"gpt_neox",
          {"GPTNeoXForCausalLM", "gpt_neox"},
          "gptneox",
          {{"token_embd", "gpt_neox.embed_in"},
           {"output_norm", "gpt_neox.final_layer_norm"},
           {"output", "embed_out"},
           {block + "attn_norm", layer + "input_layernorm"},
           {block + "attn_qkv", layer + "attention.query_key_value"},
           {block + "attn_output", layer + "attention.dense"},
           {block + "ffn_norm", layer + "post_attention_layernorm"},
           {block + "ffn_up", layer + "mlp.dense_h_to_4h"},
           {block + "ffn_down", layer + "mlp.dense_4h_to_h"}},
          build_gpt_neox};
}

}  // namespace brayton
