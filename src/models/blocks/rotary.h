// Rotary positions: the frequencies that a config asks for, every scaling rule included.
#pragma once

#include "core/json.h"
#include "graph/graph_builder.h"

namespace brayton {

struct Rotary {
  RopeOptions options;
  int64_t max_positions = 0;  // what the scaling extends the model to
};

// Reads rope_parameters, or rope_scaling beside rope_theta: types default, linear, dynamic, llama3,
// yarn. `max_positions` is max_position_embeddings; `fraction` the part of a head that turns when
// the config is silent. "rope_divisors", a list with a number a pair, divides the frequencies: the
// llama3 rule as GGUF holds it, in a tensor.
// Throws Error(kInvalidModel), or Error(kUnsupported) for other scaling types.
Rotary read_rotary(const JsonReader& config, int64_t head_dim, int64_t max_positions,
                   double fraction = 1.0);

}  // namespace brayton
