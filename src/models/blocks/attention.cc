#include "models/blocks/attention.h"

#include "core/check.h"
#include "models/blocks/config.h"

namespace brayton {

Qkv fused_qkv(GraphBuilder& g, Value x, Value w, Value bias) {
  const Value qkv = g.linear(x, w, bias);
  const int64_t size = qkv.type().dims.back().size / 3;
  return {g.slice(qkv, 1, 0, size), g.slice(qkv, 1, size, 2 * size),
          g.slice(qkv, 1, 2 * size, 3 * size)};
}

Value stack_qkv_rows(GraphBuilder& g, Value fused, int64_t heads) {
  const Shape shape = fused.type().shape();
  BRAYTON_CHECK_EQ(shape[0] % (3 * heads), 0);
  Shape grouped = {heads, 3, shape[0] / (3 * heads)};
  for (int i = 1; i < shape.rank(); ++i) grouped.push_back(shape[i]);
  const Value rows = g.reshape(fused, grouped);
  return g.reshape(
      g.concat({g.slice(rows, 1, 0, 1), g.slice(rows, 1, 1, 2), g.slice(rows, 1, 2, 3)}, 0), shape);
}

AttentionOptions multi_head_attention(const JsonReader& config, const ModelInfo& info) {
  if (info.heads * info.head_dim != info.hidden_size)
    config_error(config, "head_dim must be hidden_size / num_attention_heads = {} / {}, got {}",
                 info.hidden_size, info.heads, info.head_dim);
  return {.heads = info.heads, .kv_heads = info.kv_heads, .head_dim = info.head_dim};
}

}  // namespace brayton
