// Linear layers as checkpoints name them: {weight, bias} below a scope.
#pragma once

#include "core/json.h"
#include "graph/graph_builder.h"

namespace brayton {

enum class Bias { kNone, kPresent, kIfInCheckpoint };

// By a flag of the config; where the config is silent, by what the checkpoint holds.
Bias read_bias(const JsonReader& config, std::string_view field);

Value bias_of(GraphBuilder& g, const Scope& w, int64_t size, Bias bias);

// x [T, K] -> [T, out] with w / "weight" [out, K] and perhaps w / "bias" [out].
Value project(GraphBuilder& g, const Scope& w, Value x, int64_t out, Bias bias);

// x [T, D] -> [T, D] with w / "weight" and w / "bias" [D].
Value layer_norm(GraphBuilder& g, const Scope& w, Value x, double eps);

// Logits of the rows that are asked for: x [T, D] -> [R, V].
Value lm_head(GraphBuilder& g, Value x, Value table);

}  // namespace brayton
