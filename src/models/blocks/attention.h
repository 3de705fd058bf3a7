// Attention weights that hold q, k and v in one tensor.
#pragma once

#include "graph/graph_builder.h"
#include "models/families.h"

namespace brayton {

struct Qkv {
  Value q, k, v;
};

// One product with rows q | k | v, each [hidden, K], then its three parts.
Qkv fused_qkv(GraphBuilder& g, Value x, Value w, Value bias);

// Rows [heads, 3, head_dim] of a weight [3 * hidden, K] or bias [3 * hidden] as rows q | k | v.
// GGUF stores them so already.
Value stack_qkv_rows(GraphBuilder& g, Value fused, int64_t heads);

// As many key as query heads, which must make up hidden_size: throws Error(kInvalidModel).
AttentionOptions multi_head_attention(const JsonReader& config, const ModelInfo& info);

}  // namespace brayton
